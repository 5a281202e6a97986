use super::{
    Channel, DeliveryStatus, Notification, NotificationCommand, NotificationEvent, NotificationRejection,
    RequestedNotification,
};

type Decision = Result<Vec<NotificationEvent>, NotificationRejection>;

pub(super) fn decide(state: &Notification, command: NotificationCommand) -> Decision {
    let notification = state.requested.as_ref().ok_or(NotificationRejection::NotFound);
    match command {
        NotificationCommand::Request { notification_id, user_id, order_id, template, title, body } => {
            if notification.is_ok() {
                return Ok(vec![]);
            }
            Ok(vec![NotificationEvent::NotificationRequested {
                notification_id,
                user_id,
                order_id,
                template,
                title,
                body,
            }])
        }
        NotificationCommand::Dispatch { channels } => Ok(notification?.dispatch(channels)),
        NotificationCommand::RecordSent { channel, provider_reference } => {
            notification?.record_sent(channel, provider_reference)
        }
        NotificationCommand::RecordFailed { channel, reason } => notification?.record_failed(channel, reason),
    }
}

impl RequestedNotification {
    fn dispatch(&self, mut channels: Vec<Channel>) -> Vec<NotificationEvent> {
        if self.deliveries.is_some() {
            return vec![];
        }
        channels.sort_unstable();
        channels.dedup();
        vec![NotificationEvent::NotificationDispatched { channels }]
    }

    fn record_sent(&self, channel: Channel, provider_reference: String) -> Decision {
        match self.delivery(channel) {
            None => Err(NotificationRejection::NotDispatched { channel }),
            Some(DeliveryStatus::Sent) => Ok(vec![]),
            Some(DeliveryStatus::Dispatched | DeliveryStatus::Failed) => {
                Ok(vec![NotificationEvent::NotificationSent { channel, provider_reference }])
            }
        }
    }

    fn record_failed(&self, channel: Channel, reason: String) -> Decision {
        match self.delivery(channel) {
            None => Err(NotificationRejection::NotDispatched { channel }),
            Some(DeliveryStatus::Sent | DeliveryStatus::Failed) => Ok(vec![]),
            Some(DeliveryStatus::Dispatched) => Ok(vec![NotificationEvent::NotificationFailed { channel, reason }]),
        }
    }
}
