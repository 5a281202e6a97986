use std::fmt;
use std::future::Future;
use std::str::FromStr;

use chrono::TimeDelta;
use domain::{Fulfilment, FulfilmentCommand, Order, OrderCommand, OrderId, Payment, PaymentCommand, PaymentId};
use event_store::{Command, CommandError, Committed, Deadline, Ledger, Metadata, Refusal, UnitOfWork};

use super::deadline_kind::REFUND;
use super::effects::{change_fulfilment, change_order};
use super::{Origin, measured};
use crate::deadlines::BadDeadlineKey;

/// Which payment is to be given back. As text, `<orderId>/<paymentId>`, it is the deadline's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundKey {
    pub order_id: OrderId,
    pub payment_id: PaymentId,
}

/// Writes down that the provider gave the money back.
pub fn complete_refund(
    ledger: &Ledger,
    origin: Origin,
    key: RefundKey,
    provider_reference: String,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let command = origin
        .command()
        .read::<Payment>(key.payment_id.as_str())
        .read::<Order>(key.order_id.as_str())
        .read::<Fulfilment>(key.order_id.as_str());
    let completing = ledger.submit(command, move |uow| complete(uow, &key, &provider_reference));
    measured("complete_refund", mode, completing)
}

/// Leaves a deadline alone for a while: it could not be acted on.
pub fn postpone_deadline(
    ledger: &Ledger,
    kind: &'static str,
    key: String,
    pause: TimeDelta,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    ledger.submit(Command::new(Metadata::default()), move |uow| {
        let due_at = uow.now() + pause;
        uow.set_deadline(Deadline { kind, key: key.clone(), due_at });
        Ok(())
    })
}

fn complete(uow: &mut UnitOfWork<'_>, key: &RefundKey, provider_reference: &str) -> Result<(), Refusal> {
    uow.clear_deadline(REFUND, &key.to_string());
    let complete = PaymentCommand::CompleteRefund { provider_reference: provider_reference.to_owned() };
    if uow.handle::<Payment>(key.payment_id.as_str(), complete)?.is_empty() {
        return Ok(());
    }
    change_order(uow, &key.order_id, OrderCommand::CompleteRefund { payment_id: key.payment_id.clone() })?;
    change_fulfilment(uow, &key.order_id, FulfilmentCommand::RecordRefund { payment_id: key.payment_id.clone() })
}

impl fmt::Display for RefundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.order_id, self.payment_id)
    }
}

impl FromStr for RefundKey {
    type Err = BadDeadlineKey;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        let (order_id, payment_id) = key.split_once('/').ok_or_else(|| BadDeadlineKey::new(key))?;
        Ok(Self {
            order_id: OrderId::parse(order_id).map_err(|_| BadDeadlineKey::new(key))?,
            payment_id: PaymentId::parse(payment_id).map_err(|_| BadDeadlineKey::new(key))?,
        })
    }
}
