use super::{Channel, Delivery, DeliveryStatus, Notification, NotificationEvent, RequestedNotification};

impl Notification {
    pub(super) fn evolve(&mut self, event: NotificationEvent) {
        match event {
            NotificationEvent::NotificationRequested { notification_id, user_id, order_id, template, title, body } => {
                self.requested = Some(RequestedNotification {
                    notification_id,
                    user_id,
                    order_id,
                    template,
                    title,
                    body,
                    deliveries: None,
                });
            }
            event => {
                if let Some(notification) = &mut self.requested {
                    notification.evolve(event);
                }
            }
        }
    }
}

impl RequestedNotification {
    fn evolve(&mut self, event: NotificationEvent) {
        match event {
            NotificationEvent::NotificationRequested { .. } => {}
            NotificationEvent::NotificationDispatched { channels } => {
                let dispatched = |channel| Delivery { channel, status: DeliveryStatus::Dispatched };
                self.deliveries = Some(channels.into_iter().map(dispatched).collect());
            }
            NotificationEvent::NotificationSent { channel, .. } => {
                self.settle(channel, DeliveryStatus::Sent);
            }
            NotificationEvent::NotificationFailed { channel, .. } => {
                self.settle(channel, DeliveryStatus::Failed);
            }
        }
    }

    fn settle(&mut self, channel: Channel, status: DeliveryStatus) {
        for delivery in self.deliveries.iter_mut().flatten() {
            if delivery.channel == channel {
                delivery.status = status;
            }
        }
    }
}
