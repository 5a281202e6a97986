//! One order, from placed to confirmed, or to one of the ends without tickets.

mod command;
mod decide;
mod event;
mod evolve;
mod rejection;
mod status;
mod upcast;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::decider::Decider;
use crate::ids::{LockId, OrderId, PaymentId, Quantity, ShowId, TicketTypeId, UserId};
use crate::money::Money;
use crate::schema::{EventSchema, UpcastError};

pub use command::OrderCommand;
pub use event::OrderEvent;
pub use rejection::OrderRejection;
pub use status::{Mode, OrderStatus};

/// An order: nothing until it is placed. Read by everyone, changed by its events alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub placed: Option<PlacedOrder>,
}

/// What is known of an order once it is placed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedOrder {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub show_id: ShowId,
    pub ticket_type_id: TicketTypeId,
    pub quantity: Quantity,
    pub total_amount: Money,
    pub order_time: DateTime<Utc>,
    pub expire_time: DateTime<Utc>,
    pub mode: Mode,
    pub status: OrderStatus,
    /// Why it is where it is, when someone or something gave a reason.
    pub reason: Option<String>,
    /// The lock that held its tickets last; whether it is still live is for the stock to say.
    pub lock_id: Option<LockId>,
    /// Every attempt to pay, oldest first; the last one is the current one.
    pub payments: Vec<PaymentAttempt>,
}

/// One attempt to pay for the order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentAttempt {
    pub payment_id: PaymentId,
    pub outcome: AttemptOutcome,
}

/// What became of an attempt to pay, as far as the order knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttemptOutcome {
    Started,
    Failed,
    Captured,
    Refunding,
    Refunded,
}

impl Order {
    /// Where the order is; `None` before it is placed.
    pub fn status(&self) -> Option<OrderStatus> {
        self.placed.as_ref().map(|order| order.status)
    }

    /// Whether the order is over and has no tickets, so that none may be locked for it.
    pub fn has_ended_without_tickets(&self) -> bool {
        self.status().is_some_and(OrderStatus::has_ended_without_tickets)
    }

    /// Whether tickets are to be held for this payment when it is captured; otherwise it is refunded.
    pub fn capture_wants_tickets(&self, payment_id: &PaymentId) -> bool {
        self.placed.as_ref().is_some_and(|order| order.capture_wants_tickets(payment_id))
    }
}

impl PlacedOrder {
    /// The attempt to pay that came last.
    pub fn current_payment(&self) -> Option<&PaymentAttempt> {
        self.payments.last()
    }

    /// Whether it is over and no payment is on its way that could still change that: a late capture, or a refund.
    pub fn is_settled(&self) -> bool {
        let is_on_its_way =
            |attempt: &PaymentAttempt| matches!(attempt.outcome, AttemptOutcome::Started | AttemptOutcome::Refunding);
        self.status.is_terminal() && !self.payments.iter().any(is_on_its_way)
    }

    /// Whether this is the payment whose outcome the order waits for.
    pub fn is_paying_by(&self, payment_id: &PaymentId) -> bool {
        self.status == OrderStatus::Paying
            && self.current_payment().is_some_and(|current| current.payment_id == *payment_id)
    }

    fn payment(&self, payment_id: &PaymentId) -> Option<&PaymentAttempt> {
        self.payments.iter().find(|attempt| attempt.payment_id == *payment_id)
    }

    fn capture_wants_tickets(&self, payment_id: &PaymentId) -> bool {
        let is_open = self.payment(payment_id).is_some_and(|attempt| attempt.outcome.is_open());
        // An expired order may still be saved by a late capture; a cancelled one may not.
        is_open && matches!(self.status, OrderStatus::AwaitingPayment | OrderStatus::Paying | OrderStatus::Expired)
    }
}

impl AttemptOutcome {
    /// Whether a capture may still come; it may after a failure too.
    const fn is_open(self) -> bool {
        matches!(self, Self::Started | Self::Failed)
    }
}

impl Decider for Order {
    const CATEGORY: &'static str = "order";
    const SCHEMAS: &'static [EventSchema] = OrderEvent::SCHEMAS;

    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderRejection> {
        decide::decide(self, command)
    }

    fn upcast(event_type: &str, schema_version: u16, payload: String) -> Result<String, UpcastError> {
        upcast::upcast(event_type, schema_version, payload)
    }
}

aggregate!(Order, OrderCommand, OrderEvent, OrderRejection);
