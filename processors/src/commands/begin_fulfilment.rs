use std::future::Future;

use chrono::Utc;
use domain::{Fulfilment, FulfilmentCommand, LockId, Order, OrderStatus};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};
use messaging::message::{OrderCreate, StockLock};

use super::effects::placed;
use super::steps::hand_on;
use super::{Origin, measured};
use crate::ids;
use crate::policy::Policy;

/// Begins the saga of a new order by asking for its tickets. An order that has ended meanwhile gets none.
pub fn begin_fulfilment(
    ledger: &Ledger,
    policy: &Policy,
    origin: Origin,
    message: OrderCreate,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let lock_id = ids::lock_id(Utc::now());
    let policy = policy.clone();
    let mode = origin.mode();
    let id = message.order_id.to_string();
    let command = origin.command().read::<Order>(&id).begin::<Fulfilment>(&id);
    let beginning = ledger.submit(command, move |uow| begin(uow, &policy, &message, &lock_id));
    measured("begin_fulfilment", mode, beginning)
}

pub(super) fn begin(
    uow: &mut UnitOfWork<'_>,
    policy: &Policy,
    message: &OrderCreate,
    lock_id: &LockId,
) -> Result<(), Refusal> {
    if placed(uow, &message.order_id)?.status != OrderStatus::Pending {
        return Ok(());
    }
    let begin = FulfilmentCommand::Begin {
        order_id: message.order_id.clone(),
        ticket_type_id: message.ticket_type_id,
        quantity: message.quantity,
        lock_id: lock_id.clone(),
    };
    if uow.handle::<Fulfilment>(message.order_id.as_str(), begin)?.is_empty() {
        return Ok(());
    }
    let ask = StockLock {
        lock_id: lock_id.clone(),
        order_id: message.order_id.clone(),
        ticket_type_id: message.ticket_type_id,
        quantity: message.quantity,
        lock_time_seconds: i64::from(policy.lock_time_seconds),
        expire_time: policy.lock_expires_at(uow.now()).timestamp_millis(),
    };
    hand_on(uow, &message.order_id, &ask)
}
