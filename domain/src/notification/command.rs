use super::Channel;
use crate::ids::{NotificationId, OrderId, UserId};

/// What can be asked of a notification. What it knows already has no second effect.
#[derive(Clone, Debug, PartialEq)]
pub enum NotificationCommand {
    Request {
        notification_id: NotificationId,
        user_id: UserId,
        order_id: OrderId,
        template: String,
        title: String,
        body: String,
    },
    /// Sends it over these channels; none if the user wants none.
    Dispatch {
        channels: Vec<Channel>,
    },
    RecordSent {
        channel: Channel,
        provider_reference: String,
    },
    /// Does nothing once it was sent over that channel.
    RecordFailed {
        channel: Channel,
        reason: String,
    },
}
