use std::future::Future;

use domain::{Fulfilment, FulfilmentCommand, Order, OrderCommand, Stock, StockCommand};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};
use messaging::message::StockDeduct;

use super::effects::{change_fulfilment, change_order, change_stock};
use super::steps::Step;
use super::{Origin, measured};

/// Takes paid tickets out of the stock; with it the order is confirmed. Before its lock it is refused, to be tried again.
pub fn deduct_stock(
    ledger: &Ledger,
    origin: Origin,
    message: StockDeduct,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let order_id = message.order_id.as_str();
    let command = origin
        .command()
        .cached::<Stock>(&message.ticket_type_id.to_string())
        .read::<Order>(order_id)
        .read::<Fulfilment>(order_id);
    let deducting = ledger.submit(command, move |uow| message.take(uow));
    measured("deduct_stock", mode, deducting)
}

impl Step for StockDeduct {
    fn take(&self, uow: &mut UnitOfWork<'_>) -> Result<(), Refusal> {
        change_stock(uow, self.ticket_type_id, StockCommand::Deduct { lock_id: self.lock_id.clone() })?;
        change_order(uow, &self.order_id, OrderCommand::Confirm { lock_id: self.lock_id.clone() })?;
        change_fulfilment(uow, &self.order_id, FulfilmentCommand::Complete {})
    }
}
