use super::PaymentStatus;
use crate::money::Money;

/// A rule of payments that a command would break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRejection {
    #[error("there is no such payment")]
    NotFound,
    #[error("the payment has been requested before")]
    AlreadyRequested,
    #[error("the payment is for {expected}, not {received}")]
    WrongAmount { expected: Money, received: Money },
    #[error("the payment is {status}: there is nothing to refund")]
    NotCaptured { status: PaymentStatus },
    #[error("the payment is {status}: no refund was started")]
    RefundNotStarted { status: PaymentStatus },
}

impl PaymentRejection {
    /// A stable name of the rule, for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "payment_not_found",
            Self::AlreadyRequested => "payment_already_requested",
            Self::WrongAmount { .. } => "wrong_amount",
            Self::NotCaptured { .. } => "payment_not_captured",
            Self::RefundNotStarted { .. } => "refund_not_started",
        }
    }
}
