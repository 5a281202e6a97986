use chrono::{DateTime, Utc};

use crate::ids::{LockId, OrderId, Quantity, ShowId, TicketTypeId};
use crate::money::Money;

/// What can be asked of a ticket type's stock.
#[derive(Clone, Debug, PartialEq)]
pub enum StockCommand {
    PutOnSale {
        ticket_type_id: TicketTypeId,
        show_id: ShowId,
        name: String,
        price: Money,
        capacity: u32,
    },
    /// Adds tickets, or withdraws some that are available.
    ChangeCapacity {
        delta: i64,
    },
    /// Sets tickets aside. A lock id is used once.
    Lock {
        lock_id: LockId,
        order_id: OrderId,
        quantity: Quantity,
        expires_at: DateTime<Utc>,
    },
    /// Keeps a live lock for longer; never shortens it.
    Renew {
        lock_id: LockId,
        expires_at: DateTime<Utc>,
    },
    /// The tickets are paid for: from here the lock can neither lapse nor be released.
    Secure {
        lock_id: LockId,
    },
    /// Takes the locked tickets out of the stock for good.
    Deduct {
        lock_id: LockId,
    },
    /// Puts locked tickets back on sale. Before its lock it is remembered, and the lock refused.
    Release {
        lock_id: LockId,
        reason: String,
    },
    /// The lock's time was over at `due_at`. Does nothing to a lock renewed, secured or ended meanwhile.
    Lapse {
        lock_id: LockId,
        due_at: DateTime<Utc>,
    },
    /// Puts sold tickets back on sale. What was sold is given, because old locks are forgotten.
    Return {
        lock_id: LockId,
        order_id: OrderId,
        quantity: Quantity,
        reason: String,
    },
}
