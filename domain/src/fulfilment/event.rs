use serde::{Deserialize, Serialize};

use crate::ids::{LockId, OrderId, PaymentId, Quantity, TicketTypeId};

/// What happened in a saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum FulfilmentEvent {
    FulfilmentBegun { order_id: OrderId, ticket_type_id: TicketTypeId, quantity: Quantity, lock_id: LockId },
    LockGranted { lock_id: LockId },
    LockRefused { lock_id: LockId, reason: String },
    FulfilmentLockLapsed { lock_id: LockId },
    Relocked { lock_id: LockId },
    CaptureRecorded { payment_id: PaymentId, refund_owed: bool },
    FulfilmentCompleted {},
    CompensationStarted { reason: String },
    CompensationCompleted { lock_id: LockId },
    RefundRecorded { payment_id: PaymentId },
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
});
