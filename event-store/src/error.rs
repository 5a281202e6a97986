//! What can go wrong, told apart by what a caller can do about it.

use domain::Rejection;
use thiserror::Error;

/// A read or an administrative call failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Postgres answered with an error, or did not answer.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A migration could not be applied.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A stream holds an event that this version of the program cannot read.
    #[error("stream {stream_id} cannot be read: {reason}")]
    Unreadable {
        /// The stream.
        stream_id: String,
        /// The event and what is wrong with it.
        reason: String,
    },
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Error)]
pub enum CommandError {
    /// The domain refused it, and the state it was judged on was current.
    #[error("rejected: {}", .0.code())]
    Rejected(Rejection),
    /// One of its unique keys was used before; this is what was stored then.
    #[error("duplicate of {}/{}", .0.scope, .0.key)]
    Duplicate(KeyRecord),
    /// Others changed its streams again and again; it was not carried out.
    #[error("gave up after repeated conflicts")]
    Contended,
    /// It waited too long or found the queue full; it was not carried out.
    #[error("overloaded")]
    Overloaded,
    /// Postgres is away. Retry later, with the same unique key: the outcome may be unknown.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Postgres refused its data (SQLSTATE 22 or 23); it was not carried out.
    #[error("invalid data: {message}")]
    Invalid {
        /// The violated constraint, where there is one.
        constraint: Option<String>,
        /// What Postgres said.
        message: String,
    },
    /// The command itself is wrong: it panicked, or used a stream it had not declared.
    #[error("bug: {0}")]
    Bug(String),
}

/// What is stored under a command's unique key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The kind of key, for example a route or a consumer.
    pub scope: String,
    /// The key itself.
    pub key: String,
    /// Hash of the request the key was first used with.
    pub request_hash: Option<Vec<u8>>,
    /// The answer that was given.
    pub response: Option<String>,
    /// Position of that command's last event; none when it had no event.
    pub position: Option<i64>,
}
