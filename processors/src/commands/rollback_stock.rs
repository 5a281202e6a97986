use std::future::Future;

use domain::{Fulfilment, FulfilmentCommand, Stock, StockCommand, StockEvent};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};
use messaging::message::StockRollback;

use super::effects::{change_fulfilment, change_stock, clear_lock_lapse};
use super::lapse_lock::LockLapseKey;
use super::{Origin, measured};

/// Puts an ended order's tickets back on sale. Before its lock it is remembered, and the lock refused.
pub fn rollback_stock(
    ledger: &Ledger,
    origin: Origin,
    message: StockRollback,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let command = origin
        .command()
        .cached::<Stock>(&message.ticket_type_id.to_string())
        .read::<Fulfilment>(message.order_id.as_str());
    let rolling_back = ledger.submit(command, move |uow| rollback(uow, &message));
    measured("rollback_stock", mode, rolling_back)
}

fn rollback(uow: &mut UnitOfWork<'_>, message: &StockRollback) -> Result<(), Refusal> {
    let release = StockCommand::Release { lock_id: message.lock_id.clone(), reason: message.reason.clone() };
    let events = change_stock(uow, message.ticket_type_id, release)?;
    if events.iter().any(|event| matches!(event, StockEvent::StockReleased { .. })) {
        clear_lock_lapse(uow, &LockLapseKey::of_rollback(message));
    }
    change_fulfilment(uow, &message.order_id, FulfilmentCommand::RecordCompensated { lock_id: message.lock_id.clone() })
}
