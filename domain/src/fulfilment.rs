//! The saga of one order: lock stock → await payment → capture → deduct → confirm, and what undoes it.
//!
//! It decides nothing for the others; it remembers how far they came, so that "what remains" and
//! "why is it stuck" are questions to its stream.

mod command;
mod decide;
mod event;
mod evolve;
mod progress;
mod rejection;

use serde::{Deserialize, Serialize};

use crate::decider::Decider;
use crate::ids::{LockId, OrderId, PaymentId, Quantity, TicketTypeId};
use crate::schema::EventSchema;

pub use command::FulfilmentCommand;
pub use event::FulfilmentEvent;
pub use progress::FulfilmentStep;
pub use rejection::FulfilmentRejection;

/// A saga: nothing until it is begun. Read by everyone, changed by its events alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fulfilment {
    pub begun: Option<BegunFulfilment>,
}

/// What is known of a saga once it is begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BegunFulfilment {
    pub order_id: OrderId,
    pub ticket_type_id: TicketTypeId,
    pub quantity: Quantity,
    /// The lock asked for last.
    pub lock_id: LockId,
    pub tickets: Tickets,
    /// The payment that pays for the tickets.
    pub captured: Option<PaymentId>,
    pub refunds_owed: Vec<PaymentId>,
    pub refunded: Vec<PaymentId>,
    /// Refunds that the provider refused so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refund_failures: Vec<RefundFailure>,
    /// Why it was refused or undone.
    pub reason: Option<String>,
}

/// A refund that the provider refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundFailure {
    pub payment_id: PaymentId,
    pub attempts: u32,
    /// What the provider said last.
    pub reason: String,
    /// It is asked no more until a person has decided.
    pub handed_over: bool,
}

/// What a person decides about a compensation that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResolveAction {
    /// It is tried again.
    Retry,
    /// It counts as done: the person has seen to it, or takes the loss.
    Skip,
}

/// Where the order's tickets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Tickets {
    Requested,
    Held,
    /// The lock's time was over; a payment may lock again.
    Lapsed,
    Refused,
    Deducted,
    /// On their way back into the stock.
    Releasing,
    Released,
}

impl Decider for Fulfilment {
    const CATEGORY: &'static str = "fulfilment";
    const SCHEMAS: &'static [EventSchema] = FulfilmentEvent::SCHEMAS;

    fn decide(&self, command: FulfilmentCommand) -> Result<Vec<FulfilmentEvent>, FulfilmentRejection> {
        decide::decide(self, command)
    }
}

aggregate!(Fulfilment, FulfilmentCommand, FulfilmentEvent, FulfilmentRejection);
