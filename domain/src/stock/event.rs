use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{LockId, OrderId, Quantity, ShowId, TicketTypeId};
use crate::money::Money;

/// What happened to a ticket type's stock. Each event says how many tickets it moved, so that a
/// reader that only counts needs to know no lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum StockEvent {
    TicketTypePutOnSale {
        ticket_type_id: TicketTypeId,
        show_id: ShowId,
        name: String,
        price: Money,
        capacity: u32,
    },
    CapacityChanged {
        delta: i64,
    },
    /// available → locked
    StockLocked {
        lock_id: LockId,
        order_id: OrderId,
        quantity: Quantity,
        expires_at: DateTime<Utc>,
    },
    StockLockRenewed {
        lock_id: LockId,
        expires_at: DateTime<Utc>,
    },
    StockLockSecured {
        lock_id: LockId,
    },
    /// locked → sold
    StockDeducted {
        lock_id: LockId,
        order_id: OrderId,
        quantity: Quantity,
    },
    /// locked → available
    StockReleased {
        lock_id: LockId,
        order_id: OrderId,
        quantity: Quantity,
        reason: String,
    },
    /// locked → available
    StockLockLapsed {
        lock_id: LockId,
        order_id: OrderId,
        quantity: Quantity,
    },
    /// A release came before its lock.
    StockRollbackRemembered {
        lock_id: LockId,
        reason: String,
    },
    /// sold → available
    StockReturned {
        lock_id: LockId,
        order_id: OrderId,
        quantity: Quantity,
        reason: String,
    },
}

events!(StockEvent {
    TicketTypePutOnSale: 1,
    CapacityChanged: 1,
    StockLocked: 1,
    StockLockRenewed: 1,
    StockLockSecured: 1,
    StockDeducted: 1,
    StockReleased: 1,
    StockLockLapsed: 1,
    StockRollbackRemembered: 1,
    StockReturned: 1,
});
