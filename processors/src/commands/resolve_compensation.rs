use domain::fulfilment::{BegunFulfilment, ResolveAction, Tickets};
use domain::stock::Became;
use domain::{Fulfilment, FulfilmentCommand, Order, Payment, PaymentId, Stock, StockCommand};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};

use super::effects::{ask_for_tickets_back, change_fulfilment, change_stock, clear_lock_lapse};
use super::lapse_lock::LockLapseKey;
use super::payment_key::PaymentKey;
use super::refund::{self, set_refund_due};
use super::{Origin, measured};

/// Carries out what a person decided about a compensation that hangs. `saga` may be old: it only says what is concerned.
///
/// Retried, everything that is to be undone is asked for again. Skipped, it counts as done, and the ledger says so in
/// events of its own: the tickets are back, and each refund is complete under the reference `manual:<reason>`.
pub async fn resolve_compensation(
    ledger: &Ledger,
    origin: Origin,
    saga: &BegunFulfilment,
    action: ResolveAction,
    reason: String,
) -> Result<Committed<()>, CommandError> {
    let mode = origin.mode();
    let id = saga.order_id.as_str();
    let mut command =
        origin.command().read::<Fulfilment>(id).read::<Order>(id).cached::<Stock>(&saga.ticket_type_id.to_string());
    for payment_id in &saga.refunds_owed {
        command = command.read::<Payment>(payment_id.as_str());
    }
    let concerned = saga.clone();
    let resolving = ledger.submit(command, move |uow| resolve(uow, &concerned, action, &reason));
    measured("resolve_compensation", mode, resolving).await
}

fn resolve(
    uow: &mut UnitOfWork<'_>,
    concerned: &BegunFulfilment,
    action: ResolveAction,
    reason: &str,
) -> Result<(), Refusal> {
    let decided = FulfilmentCommand::Resolve { action, reason: reason.to_owned() };
    change_fulfilment(uow, &concerned.order_id, decided)?;
    let Some(saga) = uow.state::<Fulfilment>(concerned.order_id.as_str())?.begun.clone() else { return Ok(()) };
    if saga.tickets == Tickets::Releasing {
        match action {
            ResolveAction::Retry => ask_for_tickets_back(uow, &saga, reason)?,
            ResolveAction::Skip => take_tickets_back(uow, &saga, reason)?,
        }
    }
    // A refund that came to be owed meanwhile is none that the person has seen.
    for payment_id in saga.refunds_owed.iter().filter(|owed| concerned.refunds_owed.contains(owed)) {
        resolve_refund(uow, &saga, payment_id, action, reason)?;
    }
    Ok(())
}

fn resolve_refund(
    uow: &mut UnitOfWork<'_>,
    saga: &BegunFulfilment,
    payment_id: &PaymentId,
    action: ResolveAction,
    reason: &str,
) -> Result<(), Refusal> {
    let key = PaymentKey { order_id: saga.order_id.clone(), payment_id: payment_id.clone() };
    match action {
        ResolveAction::Retry => {
            set_refund_due(uow, &key);
            Ok(())
        }
        ResolveAction::Skip => refund::complete(uow, &key, &format!("manual:{reason}")),
    }
}

/// Whatever became of the lock, its tickets are on sale afterwards, if there are any.
fn take_tickets_back(uow: &mut UnitOfWork<'_>, saga: &BegunFulfilment, reason: &str) -> Result<(), Refusal> {
    let stock = uow.state::<Stock>(&saga.ticket_type_id.to_string())?;
    let is_on_sale = stock.on_sale.is_some();
    let is_secured = stock.locks.get(&saga.lock_id).is_some_and(|lock| lock.secured);
    let is_sold = stock.settled.get(&saga.lock_id).is_some_and(|settled| settled.became == Became::Deducted);
    let lock_id = || saga.lock_id.clone();
    if is_secured {
        change_stock(uow, saga.ticket_type_id, StockCommand::Deduct { lock_id: lock_id() })?;
    }
    if is_secured || is_sold {
        let give_back = StockCommand::Return {
            lock_id: lock_id(),
            order_id: saga.order_id.clone(),
            quantity: saga.quantity,
            reason: reason.to_owned(),
        };
        change_stock(uow, saga.ticket_type_id, give_back)?;
    } else if is_on_sale {
        let release = StockCommand::Release { lock_id: lock_id(), reason: reason.to_owned() };
        change_stock(uow, saga.ticket_type_id, release)?;
    }
    clear_lock_lapse(uow, &LockLapseKey::of_saga(saga));
    change_fulfilment(uow, &saga.order_id, FulfilmentCommand::RecordCompensated { lock_id: lock_id() })
}
