use std::fmt;
use std::future::Future;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use domain::fulfilment::BegunFulfilment;
use domain::order::PlacedOrder;
use domain::{Fulfilment, FulfilmentCommand, LockId, OrderId, Stock, StockCommand, TicketTypeId};
use event_store::{CommandError, Committed, Deadline, Ledger, Refusal, UnitOfWork};
use messaging::message::StockRollback;

use super::deadline_kind::LOCK_LAPSE;
use super::effects::{change_fulfilment, change_stock, clear_lock_lapse};
use super::{Origin, measured};
use crate::deadlines::BadDeadlineKey;

/// Which lock lapses. As text, `<ticketTypeId>/<orderId>/<lockId>`, it is the deadline's key, so that acting on one
/// needs no look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockLapseKey {
    pub ticket_type_id: TicketTypeId,
    pub order_id: OrderId,
    pub lock_id: LockId,
}

/// Puts the tickets of a lock back on sale whose time was over at `due_at`. The order stays as it is and may lock again
/// when it is paid. A lock that was renewed, secured or ended meanwhile stays as it is.
pub fn lapse_lock(
    ledger: &Ledger,
    origin: Origin,
    key: LockLapseKey,
    due_at: DateTime<Utc>,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let command =
        origin.command().cached::<Stock>(&key.ticket_type_id.to_string()).read::<Fulfilment>(key.order_id.as_str());
    let lapsing = ledger.submit(command, move |uow| lapse(uow, &key, due_at));
    measured("lapse_lock", mode, lapsing)
}

fn lapse(uow: &mut UnitOfWork<'_>, key: &LockLapseKey, due_at: DateTime<Utc>) -> Result<(), Refusal> {
    let lapse = StockCommand::Lapse { lock_id: key.lock_id.clone(), due_at };
    if !change_stock(uow, key.ticket_type_id, lapse)?.is_empty() {
        change_fulfilment(uow, &key.order_id, FulfilmentCommand::LapseLock { lock_id: key.lock_id.clone() })?;
    }
    let stock = uow.state::<Stock>(&key.ticket_type_id.to_string())?;
    let live = stock.locks.get(&key.lock_id).filter(|lock| !lock.secured).map(|lock| lock.expires_at);
    match live {
        // Renewed: it has a deadline for as long as it lives.
        Some(due_at) => uow.set_deadline(Deadline { kind: LOCK_LAPSE, key: key.to_string(), due_at }),
        None => clear_lock_lapse(uow, key),
    }
    Ok(())
}

impl LockLapseKey {
    pub(super) fn of(order: &PlacedOrder, lock_id: &LockId) -> Self {
        Self { ticket_type_id: order.ticket_type_id, order_id: order.order_id.clone(), lock_id: lock_id.clone() }
    }

    /// The lock that counts in this saga.
    pub fn of_saga(saga: &BegunFulfilment) -> Self {
        Self { ticket_type_id: saga.ticket_type_id, order_id: saga.order_id.clone(), lock_id: saga.lock_id.clone() }
    }

    pub(super) fn of_rollback(message: &StockRollback) -> Self {
        Self {
            ticket_type_id: message.ticket_type_id,
            order_id: message.order_id.clone(),
            lock_id: message.lock_id.clone(),
        }
    }
}

impl fmt::Display for LockLapseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.ticket_type_id, self.order_id, self.lock_id)
    }
}

impl FromStr for LockLapseKey {
    type Err = BadDeadlineKey;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        let mut parts = key.splitn(3, '/');
        let (Some(ticket_type_id), Some(order_id), Some(lock_id)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadDeadlineKey::new(key));
        };
        Ok(Self {
            ticket_type_id: TicketTypeId::parse(ticket_type_id).map_err(|_| BadDeadlineKey::new(key))?,
            order_id: OrderId::parse(order_id).map_err(|_| BadDeadlineKey::new(key))?,
            lock_id: LockId::parse(lock_id).map_err(|_| BadDeadlineKey::new(key))?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_key_reads_back_and_anything_else_is_refused() {
        let text = "2001/ORD202312250001/LOCK202312250001";
        assert_eq!(text.parse::<LockLapseKey>().unwrap().to_string(), text);
        for bad in ["", "2001", "2001/ORD202312250001", "0/ORD202312250001/LOCK202312250001", "a/b/c"] {
            assert!(bad.parse::<LockLapseKey>().is_err(), "{bad}");
        }
    }
}
