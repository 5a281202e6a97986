//! One attempt to pay for an order, and the refund of it.

mod command;
mod decide;
mod event;
mod evolve;
mod rejection;

use serde::{Deserialize, Serialize};

use crate::decider::Decider;
use crate::ids::{OrderId, PaymentId, UserId};
use crate::money::Money;
use crate::schema::EventSchema;

pub use command::PaymentCommand;
pub use event::PaymentEvent;
pub use rejection::PaymentRejection;

/// A payment: nothing until it is requested. Read by everyone, changed by its events alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    pub requested: Option<RequestedPayment>,
}

/// What is known of a payment once it is requested. `refunded` never exceeds `captured`, and
/// `captured` never exceeds `amount`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestedPayment {
    pub payment_id: PaymentId,
    pub order_id: OrderId,
    pub user_id: UserId,
    pub payment_method: String,
    pub amount: Money,
    pub callback_url: Option<String>,
    pub status: PaymentStatus,
    pub captured: Money,
    pub refunded: Money,
    /// The provider's own name for what it did last.
    pub provider_reference: Option<String>,
    /// Why it failed or is refunded.
    pub reason: Option<String>,
}

/// Where a payment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PaymentStatus {
    Requested,
    Succeeded,
    /// Not an end: the provider may still say that it succeeded.
    Failed,
    Refunding,
    Refunded,
}

impl PaymentStatus {
    /// The status as messages, REST and SQL spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Refunding => "REFUNDING",
            Self::Refunded => "REFUNDED",
        }
    }
}

impl std::fmt::Display for PaymentStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Payment {
    /// Where the payment is; `None` before it is requested.
    pub fn status(&self) -> Option<PaymentStatus> {
        self.requested.as_ref().map(|payment| payment.status)
    }
}

impl RequestedPayment {
    /// What was captured and not refunded.
    pub fn held(&self) -> Money {
        self.captured.checked_sub(self.refunded).unwrap_or_default()
    }
}

impl Decider for Payment {
    const CATEGORY: &'static str = "payment";
    const SCHEMAS: &'static [EventSchema] = PaymentEvent::SCHEMAS;

    fn decide(&self, command: PaymentCommand) -> Result<Vec<PaymentEvent>, PaymentRejection> {
        decide::decide(self, command)
    }
}

aggregate!(Payment, PaymentCommand, PaymentEvent, PaymentRejection);
