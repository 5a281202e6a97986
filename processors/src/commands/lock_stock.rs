use std::future::Future;

use domain::{
    Fulfilment, FulfilmentCommand, FulfilmentStep, Order, OrderCommand, OrderStatus, Rejection, Stock, StockCommand,
    StockRejection,
};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};
use messaging::message::StockLock;

use super::effects::{change_fulfilment, change_order, change_stock, clear_order_expiry, placed, set_lock_lapse};
use super::steps::Step;
use super::{Origin, measured};
use crate::policy;

/// Grants a lock, and with it the order awaits payment; or refuses it, and with it the order is rejected.
pub fn lock_stock(
    ledger: &Ledger,
    origin: Origin,
    message: StockLock,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let order_id = message.order_id.as_str();
    let command = origin
        .command()
        .cached::<Stock>(&message.ticket_type_id.to_string())
        .read::<Order>(order_id)
        .read::<Fulfilment>(order_id);
    let locking = ledger.submit(command, move |uow| message.take(uow));
    measured("lock_stock", mode, locking)
}

impl Step for StockLock {
    fn take(&self, uow: &mut UnitOfWork<'_>) -> Result<(), Refusal> {
        decide(uow, self)
    }
}

fn decide(uow: &mut UnitOfWork<'_>, message: &StockLock) -> Result<(), Refusal> {
    let order = placed(uow, &message.order_id)?;
    if order.status.has_ended_without_tickets() {
        return refuse(uow, message, "order_ended");
    }
    if order.status != OrderStatus::Pending {
        // Granted before, by an earlier message with this lock or another.
        return Ok(());
    }
    match grant(uow, message) {
        // Another order's lock: nobody's to decide, so it becomes a dead letter.
        Err(Refusal::Rejected(Rejection::Stock(reused @ StockRejection::LockIdReused { .. }))) => Err(reused.into()),
        Err(Refusal::Rejected(Rejection::Stock(short))) => reject(uow, message, short.code()),
        outcome => outcome,
    }
}

fn grant(uow: &mut UnitOfWork<'_>, message: &StockLock) -> Result<(), Refusal> {
    let expires_at = policy::lock_expires_at(uow.now(), message.lock_time_seconds)
        .ok_or_else(|| Refusal::Fault(format!("a lock cannot last {} s", message.lock_time_seconds)))?;
    let lock = StockCommand::Lock {
        lock_id: message.lock_id.clone(),
        order_id: message.order_id.clone(),
        quantity: message.quantity,
        expires_at,
    };
    change_stock(uow, message.ticket_type_id, lock)?;
    let hold = OrderCommand::HoldStock { lock_id: message.lock_id.clone(), lock_expires_at: expires_at };
    change_order(uow, &message.order_id, hold)?;
    change_fulfilment(uow, &message.order_id, FulfilmentCommand::GrantLock { lock_id: message.lock_id.clone() })?;
    let order = placed(uow, &message.order_id)?.clone();
    set_lock_lapse(uow, &order, &message.lock_id)
}

fn reject(uow: &mut UnitOfWork<'_>, message: &StockLock, reason: &str) -> Result<(), Refusal> {
    change_order(uow, &message.order_id, OrderCommand::Reject { reason: reason.to_owned() })?;
    clear_order_expiry(uow, &message.order_id)?;
    refuse(uow, message, reason)
}

/// The saga learns that there is no lock, if it still waits for this one.
fn refuse(uow: &mut UnitOfWork<'_>, message: &StockLock, reason: &str) -> Result<(), Refusal> {
    let fulfilment = uow.state::<Fulfilment>(message.order_id.as_str())?;
    let is_waiting = fulfilment.step() == Some(FulfilmentStep::LockingStock)
        && fulfilment.begun.as_ref().is_some_and(|begun| begun.lock_id == message.lock_id);
    if !is_waiting {
        return Ok(());
    }
    let refuse = FulfilmentCommand::RefuseLock { lock_id: message.lock_id.clone(), reason: reason.to_owned() };
    change_fulfilment(uow, &message.order_id, refuse)
}
