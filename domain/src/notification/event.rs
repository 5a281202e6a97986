use serde::{Deserialize, Serialize};

use super::Channel;
use crate::ids::{NotificationId, OrderId, UserId};

/// What happened to a notification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum NotificationEvent {
    NotificationRequested {
        notification_id: NotificationId,
        user_id: UserId,
        order_id: OrderId,
        template: String,
        title: String,
        body: String,
    },
    NotificationDispatched {
        channels: Vec<Channel>,
    },
    NotificationSent {
        channel: Channel,
        provider_reference: String,
    },
    NotificationFailed {
        channel: Channel,
        reason: String,
    },
}

events!(NotificationEvent {
    NotificationRequested: 1,
    NotificationDispatched: 1,
    NotificationSent: 1,
    NotificationFailed: 1,
});
