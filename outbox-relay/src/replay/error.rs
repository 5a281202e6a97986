use event_store::StoreError;
use messaging::{BrokerError, SendError};

/// Why a replay did not begin, or stopped. What it had done is kept: it can be resumed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Somebody replays this topic to this target already.
    #[error("{0} is being replayed to this target already")]
    Running(String),
    /// There is no such replay.
    #[error("there is no replay {0}")]
    Unknown(i64),
    /// It has nothing left to do.
    #[error("replay {0} has ended")]
    Ended(i64),
    /// The target is not on the broker.
    #[error("there is no topic {0} on the broker")]
    NoSuchTopic(String),
    /// Another process took the replay over.
    #[error("another process has taken this replay over")]
    LeaseLost,
    /// The broker was silent for longer than a replay waits.
    #[error("the broker took no messages for {waited_ms} ms: {last}")]
    BrokerAway { waited_ms: u64, last: String },
    /// A message that the broker will not take.
    #[error("the broker refuses a message: {0}")]
    Refused(SendError),
    /// The clean-up was faster.
    #[error("{missing} messages were taken out of the outbox before they were sent")]
    Overtaken { missing: i64 },
    /// The broker did not say what is asked of it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Postgres answered with an error, or did not answer.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The lease could not be read or written.
    #[error("lease: {0}")]
    Lease(#[from] StoreError),
}
