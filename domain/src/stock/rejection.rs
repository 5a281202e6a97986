use crate::ids::LockId;

/// A rule of stock that a command would break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StockRejection {
    #[error("the ticket type is not on sale")]
    NotOnSale,
    #[error("the ticket type is on sale already")]
    AlreadyOnSale,
    #[error("{requested} tickets are wanted and {available} are available")]
    InsufficientStock { requested: u32, available: u32 },
    #[error("a stock holds at most {} tickets", u32::MAX)]
    CapacityOverflow,
    #[error("{requested} tickets were to be withdrawn and {available} are available")]
    WithdrawsTooMany { requested: u64, available: u32 },
    #[error("lock {lock_id} was used for another order or quantity")]
    LockIdReused { lock_id: LockId },
    #[error("there is no lock {lock_id}")]
    UnknownLock { lock_id: LockId },
    #[error("lock {lock_id} was deducted: its tickets are sold")]
    LockDeducted { lock_id: LockId },
    #[error("lock {lock_id} was released")]
    LockReleased { lock_id: LockId },
    #[error("lock {lock_id} has lapsed")]
    LockLapsed { lock_id: LockId },
    #[error("lock {lock_id} was rolled back before it was granted")]
    RollbackRemembered { lock_id: LockId },
    #[error("the tickets of lock {lock_id} were sold and returned")]
    LockReturned { lock_id: LockId },
    #[error("lock {lock_id} is paid for")]
    LockSecured { lock_id: LockId },
    #[error("the tickets of lock {lock_id} are not sold")]
    NotSold { lock_id: LockId },
}

impl StockRejection {
    /// A stable name of the rule, for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotOnSale => "not_on_sale",
            Self::AlreadyOnSale => "already_on_sale",
            Self::InsufficientStock { .. } => "insufficient_stock",
            Self::CapacityOverflow => "capacity_overflow",
            Self::WithdrawsTooMany { .. } => "withdraws_too_many",
            Self::LockIdReused { .. } => "lock_id_reused",
            Self::UnknownLock { .. } => "unknown_lock",
            Self::LockDeducted { .. } => "lock_deducted",
            Self::LockReleased { .. } => "lock_released",
            Self::LockLapsed { .. } => "lock_lapsed",
            Self::RollbackRemembered { .. } => "rollback_remembered",
            Self::LockReturned { .. } => "lock_returned",
            Self::LockSecured { .. } => "lock_secured",
            Self::NotSold { .. } => "not_sold",
        }
    }
}
