use chrono::{DateTime, Utc};

use super::{Became, Lock, Stock, StockCommand, StockEvent, StockRejection};
use crate::ids::{LockId, OrderId, Quantity};

type Decision = Result<Vec<StockEvent>, StockRejection>;

pub(super) fn decide(stock: &Stock, command: StockCommand) -> Decision {
    let is_on_sale = stock.on_sale.is_some();
    match command {
        StockCommand::PutOnSale { ticket_type_id, show_id, name, price, capacity } => {
            if is_on_sale {
                return Err(StockRejection::AlreadyOnSale);
            }
            Ok(vec![StockEvent::TicketTypePutOnSale { ticket_type_id, show_id, name, price, capacity }])
        }
        _ if !is_on_sale => Err(StockRejection::NotOnSale),
        StockCommand::ChangeCapacity { delta } => stock.change_capacity(delta),
        StockCommand::Lock { lock_id, order_id, quantity, expires_at } => {
            stock.lock(lock_id, order_id, quantity, expires_at)
        }
        StockCommand::Renew { lock_id, expires_at } => stock.renew(lock_id, expires_at),
        StockCommand::Secure { lock_id } => stock.secure(lock_id),
        StockCommand::Deduct { lock_id } => stock.deduct(lock_id),
        StockCommand::Release { lock_id, reason } => stock.release(lock_id, reason),
        StockCommand::Lapse { lock_id, due_at } => Ok(stock.lapse(lock_id, due_at)),
        StockCommand::Return { lock_id, order_id, quantity, reason } => {
            stock.take_back(lock_id, order_id, quantity, reason)
        }
    }
}

impl Stock {
    fn change_capacity(&self, delta: i64) -> Decision {
        if delta == 0 {
            return Ok(vec![]);
        }
        let withdrawn = delta.unsigned_abs();
        if delta < 0 && withdrawn > u64::from(self.available) {
            return Err(StockRejection::WithdrawsTooMany { requested: withdrawn, available: self.available });
        }
        if delta > i64::from(u32::MAX - self.capacity) {
            return Err(StockRejection::CapacityOverflow);
        }
        Ok(vec![StockEvent::CapacityChanged { delta }])
    }

    fn lock(&self, lock_id: LockId, order_id: OrderId, quantity: Quantity, expires_at: DateTime<Utc>) -> Decision {
        if let Some(lock) = self.locks.get(&lock_id) {
            if lock.order_id == order_id && lock.quantity == quantity {
                return Ok(vec![]);
            }
            return Err(StockRejection::LockIdReused { lock_id });
        }
        if let Some(became) = self.became(&lock_id) {
            return Err(ended(became, lock_id));
        }
        if quantity.get() > self.available {
            return Err(StockRejection::InsufficientStock { requested: quantity.get(), available: self.available });
        }
        Ok(vec![StockEvent::StockLocked { lock_id, order_id, quantity, expires_at }])
    }

    fn renew(&self, lock_id: LockId, expires_at: DateTime<Utc>) -> Decision {
        let lock = self.live(&lock_id)?;
        if lock.secured || expires_at <= lock.expires_at {
            return Ok(vec![]);
        }
        Ok(vec![StockEvent::StockLockRenewed { lock_id, expires_at }])
    }

    fn secure(&self, lock_id: LockId) -> Decision {
        // What was sold had been paid for.
        if let Some(Became::Deducted | Became::Returned) = self.became(&lock_id) {
            return Ok(vec![]);
        }
        if self.live(&lock_id)?.secured {
            return Ok(vec![]);
        }
        Ok(vec![StockEvent::StockLockSecured { lock_id }])
    }

    fn deduct(&self, lock_id: LockId) -> Decision {
        if let Some(Became::Deducted | Became::Returned) = self.became(&lock_id) {
            return Ok(vec![]);
        }
        let Lock { order_id, quantity, .. } = self.live(&lock_id)?.clone();
        Ok(vec![StockEvent::StockDeducted { lock_id, order_id, quantity }])
    }

    fn release(&self, lock_id: LockId, reason: String) -> Decision {
        if let Some(lock) = self.locks.get(&lock_id) {
            if lock.secured {
                return Err(StockRejection::LockSecured { lock_id });
            }
            return Ok(vec![StockEvent::StockReleased {
                lock_id,
                order_id: lock.order_id.clone(),
                quantity: lock.quantity,
                reason,
            }]);
        }
        match self.became(&lock_id) {
            Some(Became::Deducted) => Err(StockRejection::LockDeducted { lock_id }),
            Some(_) => Ok(vec![]),
            None => Ok(vec![StockEvent::StockRollbackRemembered { lock_id, reason }]),
        }
    }

    fn lapse(&self, lock_id: LockId, due_at: DateTime<Utc>) -> Vec<StockEvent> {
        let Some(lock) = self.locks.get(&lock_id) else {
            return vec![];
        };
        // Milliseconds: a deadline's time comes back from storage with fewer digits than it went in.
        let was_renewed = lock.expires_at.timestamp_millis() > due_at.timestamp_millis();
        if lock.secured || was_renewed {
            return vec![];
        }
        vec![StockEvent::StockLockLapsed { lock_id, order_id: lock.order_id.clone(), quantity: lock.quantity }]
    }

    fn take_back(&self, lock_id: LockId, order_id: OrderId, quantity: Quantity, reason: String) -> Decision {
        if self.locks.contains_key(&lock_id) {
            return Err(StockRejection::NotSold { lock_id });
        }
        match self.settled.get(&lock_id) {
            Some(settled) => match settled.became {
                Became::Returned => return Ok(vec![]),
                Became::Deducted if settled.quantity != Some(quantity) => {
                    return Err(StockRejection::LockIdReused { lock_id });
                }
                Became::Deducted => {}
                _ => return Err(StockRejection::NotSold { lock_id }),
            },
            None if !self.settled.may_have_forgotten() => {
                return Err(StockRejection::UnknownLock { lock_id });
            }
            None => {}
        }
        if quantity.get() > self.sold {
            return Err(StockRejection::NotSold { lock_id });
        }
        Ok(vec![StockEvent::StockReturned { lock_id, order_id, quantity, reason }])
    }

    fn live(&self, lock_id: &LockId) -> Result<&Lock, StockRejection> {
        self.locks.get(lock_id).ok_or_else(|| match self.became(lock_id) {
            Some(became) => ended(became, lock_id.clone()),
            None => StockRejection::UnknownLock { lock_id: lock_id.clone() },
        })
    }

    fn became(&self, lock_id: &LockId) -> Option<Became> {
        self.settled.get(lock_id).map(|settled| settled.became)
    }
}

const fn ended(became: Became, lock_id: LockId) -> StockRejection {
    match became {
        Became::Deducted => StockRejection::LockDeducted { lock_id },
        Became::Released => StockRejection::LockReleased { lock_id },
        Became::Lapsed => StockRejection::LockLapsed { lock_id },
        Became::RolledBack => StockRejection::RollbackRemembered { lock_id },
        Became::Returned => StockRejection::LockReturned { lock_id },
    }
}
