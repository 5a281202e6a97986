use chrono::{DateTime, Utc};

use super::Mode;
use crate::ids::{LockId, OrderId, PaymentId, Quantity, ShowId, TicketTypeId, UserId};
use crate::money::Money;

/// What can be asked of an order.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderCommand {
    Place {
        order_id: OrderId,
        user_id: UserId,
        show_id: ShowId,
        ticket_type_id: TicketTypeId,
        quantity: Quantity,
        total_amount: Money,
        order_time: DateTime<Utc>,
        expire_time: DateTime<Utc>,
        mode: Mode,
    },
    /// The stock granted the lock.
    HoldStock {
        lock_id: LockId,
        lock_expires_at: DateTime<Utc>,
    },
    /// The stock could not give the tickets.
    Reject {
        reason: String,
    },
    /// The user pays; `lock_id` is the live lock, a new one if the old one lapsed.
    StartPayment {
        payment_id: PaymentId,
        payment_method: String,
        lock_id: LockId,
    },
    FailPayment {
        payment_id: PaymentId,
        reason: String,
    },
    /// The money was taken. Without a lock that holds the tickets it will be given back; see
    /// [`Order::capture_wants_tickets`](super::Order::capture_wants_tickets).
    CapturePayment {
        payment_id: PaymentId,
        amount: Money,
        lock_id: Option<LockId>,
    },
    /// The tickets left the stock for good.
    Confirm {
        lock_id: LockId,
    },
    Cancel {
        reason: String,
    },
    /// `expire_time` has come. Does nothing to an order that is paid or over.
    Expire,
    /// Gives captured money back although the tickets were held or given.
    StartRefund {
        payment_id: PaymentId,
        reason: String,
    },
    CompleteRefund {
        payment_id: PaymentId,
    },
}
