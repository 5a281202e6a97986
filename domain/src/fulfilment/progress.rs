use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BegunFulfilment, Fulfilment, RefundFailure, Tickets};
use crate::ids::PaymentId;

/// How far a saga has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FulfilmentStep {
    LockingStock,
    AwaitingPayment,
    /// The lock lapsed: the payment must lock again.
    LockLapsed,
    DeductingStock,
    Completed,
    LockRefused,
    ReleasingStock,
    Refunding,
    Refunded,
    Compensated,
}

impl FulfilmentStep {
    /// Every step, those under way first.
    pub const ALL: [Self; 10] = [
        Self::LockingStock,
        Self::AwaitingPayment,
        Self::LockLapsed,
        Self::DeductingStock,
        Self::ReleasingStock,
        Self::Refunding,
        Self::Completed,
        Self::LockRefused,
        Self::Refunded,
        Self::Compensated,
    ];

    /// The step spelt like this, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }

    /// The step as metrics, REST and SQL spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LockingStock => "LOCKING_STOCK",
            Self::AwaitingPayment => "AWAITING_PAYMENT",
            Self::LockLapsed => "LOCK_LAPSED",
            Self::DeductingStock => "DEDUCTING_STOCK",
            Self::Completed => "COMPLETED",
            Self::LockRefused => "LOCK_REFUSED",
            Self::ReleasingStock => "RELEASING_STOCK",
            Self::Refunding => "REFUNDING",
            Self::Refunded => "REFUNDED",
            Self::Compensated => "COMPENSATED",
        }
    }

    /// Whether nothing remains to be done.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::LockRefused | Self::Refunded | Self::Compensated)
    }
}

impl fmt::Display for FulfilmentStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Fulfilment {
    /// How far it has come; `None` before it is begun.
    pub fn step(&self) -> Option<FulfilmentStep> {
        self.begun.as_ref().map(BegunFulfilment::step)
    }

    /// What is still to be done, in order.
    pub fn remaining(&self) -> Vec<&'static str> {
        self.begun.as_ref().map(BegunFulfilment::remaining).unwrap_or_default()
    }
}

impl BegunFulfilment {
    /// Whether something that was done is to be undone.
    pub fn is_compensating(&self) -> bool {
        self.tickets == Tickets::Releasing || !self.refunds_owed.is_empty()
    }

    /// Whether a compensation was given up until a person has decided.
    pub fn is_handed_over(&self) -> bool {
        self.refund_failures.iter().any(|failure| failure.handed_over)
    }

    /// What is known of this payment's refund having failed.
    pub fn refund_failure(&self, payment_id: &PaymentId) -> Option<&RefundFailure> {
        self.refund_failures.iter().find(|failure| failure.payment_id == *payment_id)
    }

    /// How far it has come.
    pub fn step(&self) -> FulfilmentStep {
        match self.tickets {
            Tickets::Releasing => FulfilmentStep::ReleasingStock,
            Tickets::Held if self.captured.is_some() => FulfilmentStep::DeductingStock,
            _ if !self.refunds_owed.is_empty() => FulfilmentStep::Refunding,
            Tickets::Deducted => FulfilmentStep::Completed,
            Tickets::Refused => FulfilmentStep::LockRefused,
            // With tickets still held, the end of the order has not come here yet.
            Tickets::Held => FulfilmentStep::AwaitingPayment,
            _ if !self.refunded.is_empty() && self.captured.is_none() => FulfilmentStep::Refunded,
            Tickets::Released => FulfilmentStep::Compensated,
            Tickets::Requested => FulfilmentStep::LockingStock,
            Tickets::Lapsed => FulfilmentStep::LockLapsed,
        }
    }

    /// What is still to be done, in order.
    pub fn remaining(&self) -> Vec<&'static str> {
        let mut remaining: Vec<&'static str> = match self.step() {
            FulfilmentStep::LockingStock | FulfilmentStep::LockLapsed => {
                vec!["lock_stock", "capture_payment", "deduct_stock", "confirm_order"]
            }
            FulfilmentStep::AwaitingPayment => {
                vec!["capture_payment", "deduct_stock", "confirm_order"]
            }
            FulfilmentStep::DeductingStock => vec!["deduct_stock", "confirm_order"],
            FulfilmentStep::ReleasingStock => vec!["release_stock"],
            _ => vec![],
        };
        remaining.extend(self.refunds_owed.iter().map(|_| "refund_payment"));
        remaining
    }
}
