use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Mode, OrderStatus};
use crate::ids::{LockId, OrderId, PaymentId, Quantity, ShowId, TicketTypeId, UserId};
use crate::money::Money;

/// What happened to an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum OrderEvent {
    OrderPlaced {
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
    OrderStockHeld {
        lock_id: LockId,
        lock_expires_at: DateTime<Utc>,
    },
    OrderRejected {
        reason: String,
    },
    OrderPaymentStarted {
        payment_id: PaymentId,
        payment_method: String,
        lock_id: LockId,
    },
    OrderPaymentFailed {
        payment_id: PaymentId,
        reason: String,
    },
    OrderPaid {
        payment_id: PaymentId,
        amount: Money,
        lock_id: LockId,
    },
    OrderConfirmed {
        lock_id: LockId,
    },
    OrderCancelled {
        reason: String,
    },
    OrderExpired {},
    /// `status` is the order's afterwards: giving a second payment back leaves a paid order paid.
    OrderRefundStarted {
        payment_id: PaymentId,
        amount: Money,
        reason: String,
        status: OrderStatus,
    },
    OrderRefunded {
        payment_id: PaymentId,
        status: OrderStatus,
    },
}

impl OrderEvent {
    /// The order's status after this event, so that a reader needs no other.
    pub const fn status(&self) -> OrderStatus {
        match self {
            Self::OrderPlaced { .. } => OrderStatus::Pending,
            Self::OrderStockHeld { .. } | Self::OrderPaymentFailed { .. } => OrderStatus::AwaitingPayment,
            Self::OrderRejected { .. } => OrderStatus::Rejected,
            Self::OrderPaymentStarted { .. } => OrderStatus::Paying,
            Self::OrderPaid { .. } => OrderStatus::Paid,
            Self::OrderConfirmed { .. } => OrderStatus::Confirmed,
            Self::OrderCancelled { .. } => OrderStatus::Cancelled,
            Self::OrderExpired {} => OrderStatus::Expired,
            Self::OrderRefundStarted { status, .. } | Self::OrderRefunded { status, .. } => *status,
        }
    }

    /// Brings up to date why the order is in its status: a status that needs no reason has none.
    pub fn explain(&self, reason: &mut Option<String>) {
        match self {
            Self::OrderRejected { reason: new }
            | Self::OrderPaymentFailed { reason: new, .. }
            | Self::OrderCancelled { reason: new }
            | Self::OrderRefundStarted { reason: new, status: OrderStatus::Refunding, .. } => {
                *reason = Some(new.clone())
            }
            Self::OrderRefundStarted { .. } | Self::OrderRefunded { .. } => {}
            _ => *reason = None,
        }
    }
}

events!(OrderEvent {
    OrderPlaced: 2,
    OrderStockHeld: 1,
    OrderRejected: 1,
    OrderPaymentStarted: 1,
    OrderPaymentFailed: 1,
    OrderPaid: 1,
    OrderConfirmed: 1,
    OrderCancelled: 1,
    OrderExpired: 1,
    OrderRefundStarted: 1,
    OrderRefunded: 1,
});
