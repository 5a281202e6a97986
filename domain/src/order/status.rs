use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an order is. A failed payment is not a place: the order goes back to `AwaitingPayment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    Pending,
    AwaitingPayment,
    Paying,
    Paid,
    Confirmed,
    Rejected,
    Cancelled,
    Expired,
    Refunding,
    Refunded,
}

impl OrderStatus {
    /// Every status, in the order of an order's life.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::AwaitingPayment,
        Self::Paying,
        Self::Paid,
        Self::Confirmed,
        Self::Rejected,
        Self::Cancelled,
        Self::Expired,
        Self::Refunding,
        Self::Refunded,
    ];

    /// The status as messages, REST and SQL spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::AwaitingPayment => "AWAITING_PAYMENT",
            Self::Paying => "PAYING",
            Self::Paid => "PAID",
            Self::Confirmed => "CONFIRMED",
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
            Self::Refunding => "REFUNDING",
            Self::Refunded => "REFUNDED",
        }
    }

    /// The status spelt like this, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether nothing more is expected to happen (a late capture or a refund still may).
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Confirmed | Self::Rejected | Self::Cancelled | Self::Expired | Self::Refunded)
    }

    /// Whether the order is over and has no tickets.
    pub const fn has_ended_without_tickets(self) -> bool {
        matches!(self, Self::Rejected | Self::Cancelled | Self::Expired | Self::Refunding | Self::Refunded)
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an order was taken: through the broker, or in the request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Async,
    Sync,
}

impl Mode {
    /// The mode as messages, REST and SQL spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Sync => "sync",
        }
    }

    /// The mode spelt like this, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Async, Self::Sync].into_iter().find(|mode| mode.as_str() == text)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
