use crate::policy::InvalidPolicy;

/// Why a rollout could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Invalid(#[from] InvalidPolicy),
    /// Somebody changed it since it was read.
    #[error("the policy is at version {actual}, not {expected}")]
    Changed { expected: i64, actual: i64 },
    /// What is stored is not what this version of the program writes.
    #[error("the stored policy cannot be read: {0}")]
    Unreadable(String),
}
