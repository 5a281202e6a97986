use super::FulfilmentStep;
use crate::ids::{LockId, PaymentId};

/// A rule of the saga that a command would break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FulfilmentRejection {
    #[error("the fulfilment has not begun")]
    NotBegun,
    #[error("the fulfilment did not ask for lock {lock_id}")]
    UnknownLock { lock_id: LockId },
    #[error("the fulfilment is at {step}: it takes no answer to a lock request")]
    LockNotRequested { step: FulfilmentStep },
    #[error("the fulfilment is at {step}: it does not lock again")]
    NotRelockable { step: FulfilmentStep },
    #[error("the fulfilment is at {step}: no tickets are held for a payment")]
    NoTicketsHeld { step: FulfilmentStep },
    #[error("the fulfilment is at {step}: its tickets are not paid for")]
    NotCaptured { step: FulfilmentStep },
    #[error("no refund of payment {payment_id} is owed")]
    RefundNotOwed { payment_id: PaymentId },
    #[error("the fulfilment is at {step}: no compensation hangs")]
    NothingToResolve { step: FulfilmentStep },
}

impl FulfilmentRejection {
    /// A stable name of the rule, for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotBegun => "fulfilment_not_begun",
            Self::UnknownLock { .. } => "fulfilment_unknown_lock",
            Self::LockNotRequested { .. } => "lock_not_requested",
            Self::NotRelockable { .. } => "not_relockable",
            Self::NoTicketsHeld { .. } => "no_tickets_held",
            Self::NotCaptured { .. } => "fulfilment_not_captured",
            Self::RefundNotOwed { .. } => "refund_not_owed",
            Self::NothingToResolve { .. } => "nothing_to_resolve",
        }
    }
}
