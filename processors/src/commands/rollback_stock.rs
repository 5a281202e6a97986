use std::future::Future;

use domain::{Fulfilment, FulfilmentCommand, Stock, StockCommand, StockEvent};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};
use messaging::message::StockRollback;

use super::effects::{change_fulfilment, change_stock, clear_lock_lapse};
use super::lapse_lock::LockLapseKey;
use super::steps::Step;
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
    let rolling_back = ledger.submit(command, move |uow| message.take(uow));
    measured("rollback_stock", mode, rolling_back)
}

impl Step for StockRollback {
    fn take(&self, uow: &mut UnitOfWork<'_>) -> Result<(), Refusal> {
        let release = StockCommand::Release { lock_id: self.lock_id.clone(), reason: self.reason.clone() };
        let events = change_stock(uow, self.ticket_type_id, release)?;
        if events.iter().any(|event| matches!(event, StockEvent::StockReleased { .. })) {
            clear_lock_lapse(uow, &LockLapseKey::of_rollback(self));
        }
        change_fulfilment(uow, &self.order_id, FulfilmentCommand::RecordCompensated { lock_id: self.lock_id.clone() })
    }
}
