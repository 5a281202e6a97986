use event_store::StoreError;

/// Why a step could not be finished. Nothing is lost by it: the next step begins at the durable cursors.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Postgres answered with an error, or did not answer.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The lease could not be read or written.
    #[error("lease: {0}")]
    Lease(#[from] StoreError),
    /// A send panicked.
    #[error("a send panicked: {0}")]
    Panicked(String),
}
