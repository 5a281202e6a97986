use super::{Became, Lock, SettledLock, Stock, StockEvent, TicketType};
use crate::ids::{LockId, Quantity};

// Saturating, so that not even a ledger written by hand can make a reader panic; what `decide`
// allows never comes near.
impl Stock {
    pub(super) fn evolve(&mut self, event: StockEvent) {
        match event {
            StockEvent::TicketTypePutOnSale { ticket_type_id, show_id, name, price, capacity } => {
                self.on_sale = Some(TicketType { ticket_type_id, show_id, name, price });
                self.capacity = capacity;
                self.available = capacity;
            }
            StockEvent::CapacityChanged { delta } => {
                self.capacity = shifted(self.capacity, delta);
                self.available = shifted(self.available, delta);
            }
            StockEvent::StockLocked { lock_id, order_id, quantity, expires_at } => {
                move_tickets(quantity, &mut self.available, &mut self.locked);
                self.locks.insert(lock_id, Lock { order_id, quantity, expires_at, secured: false });
            }
            StockEvent::StockLockRenewed { lock_id, expires_at } => {
                if let Some(lock) = self.locks.get_mut(&lock_id) {
                    lock.expires_at = expires_at;
                }
            }
            StockEvent::StockLockSecured { lock_id } => {
                if let Some(lock) = self.locks.get_mut(&lock_id) {
                    lock.secured = true;
                }
            }
            StockEvent::StockDeducted { lock_id, quantity, .. } => {
                move_tickets(quantity, &mut self.locked, &mut self.sold);
                self.settle(lock_id, Became::Deducted, Some(quantity));
            }
            StockEvent::StockReleased { lock_id, quantity, .. } => {
                move_tickets(quantity, &mut self.locked, &mut self.available);
                self.settle(lock_id, Became::Released, Some(quantity));
            }
            StockEvent::StockLockLapsed { lock_id, quantity, .. } => {
                move_tickets(quantity, &mut self.locked, &mut self.available);
                self.settle(lock_id, Became::Lapsed, Some(quantity));
            }
            StockEvent::StockRollbackRemembered { lock_id, .. } => {
                self.settle(lock_id, Became::RolledBack, None);
            }
            StockEvent::StockReturned { lock_id, quantity, .. } => {
                move_tickets(quantity, &mut self.sold, &mut self.available);
                self.settle(lock_id, Became::Returned, Some(quantity));
            }
        }
    }

    fn settle(&mut self, lock_id: LockId, became: Became, quantity: Option<Quantity>) {
        self.locks.remove(&lock_id);
        self.settled.remember(lock_id, SettledLock { became, quantity });
    }
}

fn move_tickets(quantity: Quantity, from: &mut u32, to: &mut u32) {
    *from = from.saturating_sub(quantity.get());
    *to = to.saturating_add(quantity.get());
}

fn shifted(tickets: u32, delta: i64) -> u32 {
    let shifted = i64::from(tickets).saturating_add(delta);
    u32::try_from(shifted.clamp(0, i64::from(u32::MAX))).unwrap_or(u32::MAX)
}
