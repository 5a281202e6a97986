//! One notification to one user, over the channels they chose.

mod command;
mod decide;
mod event;
mod evolve;
mod rejection;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::decider::Decider;
use crate::ids::{NotificationId, OrderId, UserId};
use crate::schema::EventSchema;

pub use command::NotificationCommand;
pub use event::NotificationEvent;
pub use rejection::NotificationRejection;

/// A notification: nothing until it is requested. Read by everyone, changed by its events alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    pub requested: Option<RequestedNotification>,
}

/// What is known of a notification once it is requested. Phone and e-mail never are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestedNotification {
    pub notification_id: NotificationId,
    pub user_id: UserId,
    pub order_id: OrderId,
    pub template: String,
    pub title: String,
    pub body: String,
    /// One a channel; `None` until it is dispatched.
    pub deliveries: Option<Vec<Delivery>>,
}

/// The notification over one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub channel: Channel,
    pub status: DeliveryStatus,
}

/// How far the notification is over one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryStatus {
    Dispatched,
    Sent,
    /// Not an end: it may be sent again.
    Failed,
}

/// A way to reach a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Channel {
    Sms,
    Email,
}

impl Channel {
    /// The channel as messages, REST and SQL spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sms => "SMS",
            Self::Email => "EMAIL",
        }
    }

    /// The channel spelt like this, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Sms, Self::Email].into_iter().find(|channel| channel.as_str() == text)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl RequestedNotification {
    /// How far it is over this channel; `None` if it was not dispatched over it.
    pub fn delivery(&self, channel: Channel) -> Option<DeliveryStatus> {
        self.deliveries.iter().flatten().find(|delivery| delivery.channel == channel).map(|delivery| delivery.status)
    }
}

impl Decider for Notification {
    const CATEGORY: &'static str = "notification";
    const SCHEMAS: &'static [EventSchema] = NotificationEvent::SCHEMAS;

    fn decide(&self, command: NotificationCommand) -> Result<Vec<NotificationEvent>, NotificationRejection> {
        decide::decide(self, command)
    }
}

aggregate!(Notification, NotificationCommand, NotificationEvent, NotificationRejection);
