use super::ResolveAction;
use crate::ids::{LockId, OrderId, PaymentId, Quantity, TicketTypeId};

/// What can be told to a saga. What it knows already has no second effect.
#[derive(Clone, Debug, PartialEq)]
pub enum FulfilmentCommand {
    /// A lock is asked for.
    Begin {
        order_id: OrderId,
        ticket_type_id: TicketTypeId,
        quantity: Quantity,
        lock_id: LockId,
    },
    GrantLock {
        lock_id: LockId,
    },
    RefuseLock {
        lock_id: LockId,
        reason: String,
    },
    /// The lock's tickets went back on sale. Does nothing once the lock is no longer the one that counts.
    LapseLock {
        lock_id: LockId,
    },
    /// The tickets are held again, for a payment or a late capture.
    Relock {
        lock_id: LockId,
    },
    /// Money was taken: for tickets that are held, or else it is owed back.
    RecordCapture {
        payment_id: PaymentId,
        refund_owed: bool,
    },
    /// The tickets are deducted and the order is confirmed.
    Complete {},
    /// The order is over: its tickets go back, and so does the money that paid for them.
    /// Does nothing where nothing was begun.
    Compensate {
        reason: String,
    },
    /// The tickets of that lock are back. Does nothing once another lock counts.
    RecordCompensated {
        lock_id: LockId,
    },
    RecordRefund {
        payment_id: PaymentId,
    },
    /// The provider refused to give the money back; after `max_attempts` a person must decide.
    RecordRefundFailure {
        payment_id: PaymentId,
        reason: String,
        max_attempts: u32,
    },
    /// A person decides about a compensation that hangs.
    Resolve {
        action: ResolveAction,
        reason: String,
    },
}
