use std::future::Future;

use domain::{Fulfilment, Order, OrderCommand, OrderId};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};

use super::effects::{change_order, clear_order_expiry, compensate};
use super::{Origin, measured};

/// Ends an order whose time is over; one that is paid or over only loses its deadline. Whether the time is over is the
/// deadline's to say, by the database's clock.
pub fn expire_order(
    ledger: &Ledger,
    origin: Origin,
    order_id: OrderId,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let command = origin.command().read::<Order>(order_id.as_str()).read::<Fulfilment>(order_id.as_str());
    let expiring = ledger.submit(command, move |uow| expire(uow, &order_id));
    measured("expire_order", mode, expiring)
}

fn expire(uow: &mut UnitOfWork<'_>, order_id: &OrderId) -> Result<(), Refusal> {
    clear_order_expiry(uow, order_id);
    if change_order(uow, order_id, OrderCommand::Expire)?.is_empty() {
        return Ok(());
    }
    compensate(uow, order_id, "order_expired")
}
