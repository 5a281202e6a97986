use serde::{Deserialize, Serialize};

use super::ResolveAction;
use crate::ids::{LockId, OrderId, PaymentId, Quantity, TicketTypeId};

/// What happened in a saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum FulfilmentEvent {
    FulfilmentBegun {
        order_id: OrderId,
        ticket_type_id: TicketTypeId,
        quantity: Quantity,
        lock_id: LockId,
    },
    LockGranted {
        lock_id: LockId,
    },
    LockRefused {
        lock_id: LockId,
        reason: String,
    },
    FulfilmentLockLapsed {
        lock_id: LockId,
    },
    Relocked {
        lock_id: LockId,
    },
    CaptureRecorded {
        payment_id: PaymentId,
        refund_owed: bool,
    },
    FulfilmentCompleted {},
    CompensationStarted {
        reason: String,
    },
    CompensationCompleted {
        lock_id: LockId,
    },
    RefundRecorded {
        payment_id: PaymentId,
    },
    /// The provider refused; `handed_over`: it is asked no more until a person has decided.
    RefundFailed {
        payment_id: PaymentId,
        attempt: u32,
        reason: String,
        handed_over: bool,
    },
    /// A person decided; who it was stands in the metadata. What follows from it are the events after it.
    CompensationResolved {
        action: ResolveAction,
        reason: String,
    },
}

events!(FulfilmentEvent {
    FulfilmentBegun: 1,
    LockGranted: 1,
    LockRefused: 1,
    FulfilmentLockLapsed: 1,
    Relocked: 1,
    CaptureRecorded: 1,
    FulfilmentCompleted: 1,
    CompensationStarted: 1,
    CompensationCompleted: 1,
    RefundRecorded: 1,
    RefundFailed: 1,
    CompensationResolved: 1,
});
