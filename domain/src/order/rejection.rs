use super::OrderStatus;
use crate::ids::{LockId, PaymentId};
use crate::money::Money;

/// A rule of orders that a command would break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderRejection {
    #[error("there is no such order")]
    NotFound,
    #[error("the order has been placed before")]
    AlreadyPlaced,
    #[error("an order expires after it is placed")]
    ExpiresTooEarly,
    #[error("the order is {status}: it gets no tickets any more")]
    Ended { status: OrderStatus },
    #[error("the order's tickets are held under another lock already")]
    StockAlreadyHeld,
    #[error("the order's tickets are not held yet")]
    NotPayableYet,
    #[error("another payment of this order is under way")]
    PaymentInProgress,
    #[error("the order is paid")]
    AlreadyPaid,
    #[error("payment {payment_id} was tried before; a new attempt needs a new id")]
    PaymentIdReused { payment_id: PaymentId },
    #[error("the order knows no payment {payment_id}")]
    UnknownPayment { payment_id: PaymentId },
    #[error("the order costs {expected}, not {received}")]
    WrongAmount { expected: Money, received: Money },
    #[error("the order is {status}, not paid")]
    NotPaid { status: OrderStatus },
    #[error("the order's tickets are not under lock {lock_id}")]
    WrongLock { lock_id: LockId },
    #[error("an order that is {status} cannot be cancelled")]
    NotCancellable { status: OrderStatus },
    #[error("payment {payment_id} was not captured")]
    PaymentNotCaptured { payment_id: PaymentId },
    #[error("no refund of payment {payment_id} was started")]
    RefundNotStarted { payment_id: PaymentId },
}

impl OrderRejection {
    /// A stable name of the rule, for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "order_not_found",
            Self::AlreadyPlaced => "order_already_placed",
            Self::ExpiresTooEarly => "expires_too_early",
            Self::Ended { .. } => "order_ended",
            Self::StockAlreadyHeld => "stock_already_held",
            Self::NotPayableYet => "not_payable_yet",
            Self::PaymentInProgress => "payment_in_progress",
            Self::AlreadyPaid => "already_paid",
            Self::PaymentIdReused { .. } => "payment_id_reused",
            Self::UnknownPayment { .. } => "unknown_payment",
            Self::WrongAmount { .. } => "wrong_amount",
            Self::NotPaid { .. } => "not_paid",
            Self::WrongLock { .. } => "wrong_lock",
            Self::NotCancellable { .. } => "not_cancellable",
            Self::PaymentNotCaptured { .. } => "payment_not_captured",
            Self::RefundNotStarted { .. } => "refund_not_started",
        }
    }
}
