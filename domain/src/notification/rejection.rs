use super::Channel;

/// A rule of notifications that a command would break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotificationRejection {
    #[error("there is no such notification")]
    NotFound,
    #[error("the notification was not dispatched by {channel}")]
    NotDispatched { channel: Channel },
}

impl NotificationRejection {
    /// A stable name of the rule, for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "notification_not_found",
            Self::NotDispatched { .. } => "notification_not_dispatched",
        }
    }
}
