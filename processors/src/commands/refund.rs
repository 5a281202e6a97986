use std::future::Future;

use domain::{Fulfilment, FulfilmentCommand, Order, OrderCommand, Payment, PaymentCommand};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};

use super::deadline_kind::REFUND;
use super::effects::{change_fulfilment, change_order};
use super::payment_key::PaymentKey;
use super::{Origin, measured};

/// Writes down that the provider gave the money back.
pub fn complete_refund(
    ledger: &Ledger,
    origin: Origin,
    key: PaymentKey,
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

fn complete(uow: &mut UnitOfWork<'_>, key: &PaymentKey, provider_reference: &str) -> Result<(), Refusal> {
    uow.clear_deadline(REFUND, &key.to_string());
    let complete = PaymentCommand::CompleteRefund { provider_reference: provider_reference.to_owned() };
    if uow.handle::<Payment>(key.payment_id.as_str(), complete)?.is_empty() {
        return Ok(());
    }
    change_order(uow, &key.order_id, OrderCommand::CompleteRefund { payment_id: key.payment_id.clone() })?;
    change_fulfilment(uow, &key.order_id, FulfilmentCommand::RecordRefund { payment_id: key.payment_id.clone() })
}
