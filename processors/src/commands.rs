//! The use cases: each declares the streams it decides on, decides purely, and commits its events, messages and
//! deadlines in one append. The API calls them for requests, the handlers for messages, the deadline runner for
//! times that have come.

mod begin_fulfilment;
mod cancel_order;
mod deadline;
mod deduct_stock;
mod effects;
mod expire_order;
mod give_up_payment;
mod lapse_lock;
mod lock_stock;
mod metric;
mod notify;
mod payment_key;
mod place_order;
mod refund;
mod resolve_compensation;
mod rollback_stock;
mod settle_payment;
mod start_payment;
mod steps;
mod ticket_type;

use std::future::Future;

use domain::order::PlacedOrder;
use domain::{OrderId, TicketTypeId};
use event_store::{Command, CommandError, CommandKey, Committed, Ledger, Metadata, Refusal, StoreError, UnitOfWork};
use messaging::ReceivedMessage;
use serde::Serialize;
use thiserror::Error;

pub use begin_fulfilment::begin_fulfilment;
pub use cancel_order::{Cancellation, cancel_order, compensate_cancelled};
pub use deadline::clear_deadline;
pub use deduct_stock::deduct_stock;
pub use expire_order::{OrderExpiryKey, expire_order};
pub use give_up_payment::{PROVIDER_SILENT, give_up_payment};
pub use lapse_lock::{LockLapseKey, lapse_lock};
pub use lock_stock::lock_stock;
pub use metric::register_metrics;
pub use notify::{dispatch_notification, record_failed, record_sent, request_notification};
pub use payment_key::{PaymentKey, PaymentResultKey};
pub use place_order::{NewOrder, PlaceOrder, place_order};
pub use refund::{RefundRetries, complete_refund, record_refund_failure};
pub use resolve_compensation::resolve_compensation;
pub use rollback_stock::rollback_stock;
pub use settle_payment::{Settlement, settle_payment};
pub use start_payment::{NewPayment, StartPayment, start_payment};
pub use ticket_type::{PutOnSale, StockLevels, change_capacity, put_ticket_type_on_sale};

use metric::measured;

/// Deadline kinds that the deadline runner acts on.
pub mod deadline_kind {
    /// The key is an [`OrderExpiryKey`](super::OrderExpiryKey).
    pub const ORDER_EXPIRY: &str = "order_expiry";
    /// The key is a [`LockLapseKey`](super::LockLapseKey).
    pub const LOCK_LAPSE: &str = "lock_lapse";
    /// The key is a [`PaymentKey`](super::PaymentKey).
    pub const REFUND: &str = "refund";
    /// The provider has been silent for a while. The key is a [`PaymentKey`](super::PaymentKey).
    pub const PAYMENT_QUERY: &str = "payment_query";
    /// Somebody asked to be told how a payment ended. The key is a [`PaymentResultKey`](super::PaymentResultKey).
    pub const PAYMENT_RESULT: &str = "payment_result";
}

/// Who asks for a use case, and what makes the asking unique.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub metadata: Metadata,
    /// Idempotency keys, webhook ids, inbox ids: written in the same append.
    pub keys: Vec<CommandKey>,
}

impl Origin {
    /// A caller without a key of its own.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata, keys: Vec::new() }
    }

    /// The same caller, with one more key.
    pub fn with_key(mut self, key: CommandKey) -> Self {
        self.keys.push(key);
        self
    }

    /// A message that one consumer works on: its id is the key, so that its effect happens once.
    pub fn of_message(message: &ReceivedMessage, consumer: &'static str) -> Self {
        let mut metadata = message.metadata();
        metadata.actor = Some(consumer.to_owned());
        Self::new(metadata).with_key(message.inbox_key(consumer))
    }

    /// A deadline of an order that has come.
    pub fn of_deadline(order_id: &OrderId) -> Self {
        Self::new(Metadata {
            correlation_id: Some(order_id.to_string()),
            actor: Some("deadlines".to_owned()),
            ..Metadata::default()
        })
    }

    /// A caller who could not know the order's mode, which its events and messages are to name.
    fn in_mode_of(mut self, order: &PlacedOrder) -> Self {
        self.metadata.mode = Some(order.mode);
        self
    }

    fn command(self) -> Command {
        self.keys.into_iter().fold(Command::new(self.metadata), Command::unique)
    }

    fn mode(&self) -> &'static str {
        self.metadata.mode.map_or("none", |mode| mode.as_str())
    }
}

/// Why a use case that a person asked for was not carried out.
#[derive(Debug, Error)]
pub enum UseCaseError {
    #[error("there is no such order")]
    UnknownOrder,
    #[error("there is no such payment")]
    UnknownPayment,
    #[error("the payment belongs to another order")]
    WrongOrder,
    #[error("there is no ticket type {0} for this show")]
    UnknownTicketType(TicketTypeId),
    #[error("the order's lock lapsed and its tickets are gone")]
    StockNoLongerAvailable,
    #[error("the order's amount is beyond what an amount can be")]
    AmountTooLarge,
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UseCaseError {
    /// The stable name of what was refused; `None` where nothing was refused but something is wrong.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::UnknownOrder => Some("order_not_found"),
            Self::UnknownPayment => Some("payment_not_found"),
            Self::WrongOrder => Some("wrong_order"),
            Self::UnknownTicketType(_) => Some("ticket_type_not_found"),
            Self::StockNoLongerAvailable => Some("stock_no_longer_available"),
            Self::AmountTooLarge => Some("amount_too_large"),
            Self::Command(CommandError::Rejected(rejection)) => Some(rejection.code()),
            Self::Command(_) | Self::Store(_) => None,
        }
    }
}

/// Writes down that a message was handled whose effect is outside the ledger.
pub fn record_handled(
    ledger: &Ledger,
    origin: Origin,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    measured("record_handled", mode, ledger.submit(origin.command(), |_| Ok(())))
}

/// Keeps what the caller is told with their key, so that a repeat is told the same.
fn answer(uow: &mut UnitOfWork<'_>, told: &impl Serialize) -> Result<(), Refusal> {
    let json = serde_json::to_string(told).map_err(|error| Refusal::Fault(format!("unwritable answer: {error}")))?;
    uow.respond(json);
    Ok(())
}
