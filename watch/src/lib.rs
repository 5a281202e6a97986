//! Watching it run: how far everything is behind, how it was lately, what got lost on the way, and whether it adds up.
//!
//! - [`lag`]: outbox, relay, consumer groups, projections and critical time in one measurement, shared by all who ask.
//! - [`history`]: one such measurement every few seconds, kept for a day.
//! - [`missing`]: messages that were sent, are waited for by nobody, and left no trace: found by counting.
//! - [`invariants`]: the cheap ones of `verify`, checked from time to time; [`verification`]: what checks found.
//!
//! It reads what others wrote and changes nothing of theirs. What can't be known is `None`, never 0.

pub mod history;
pub mod invariants;
pub mod lag;
mod leading;
pub mod metric;
pub mod missing;
pub mod verification;

use event_store::StoreError;
use messaging::Topic;
use projections::ProjectionError;

pub use history::{History, HistoryConfig};
pub use invariants::{InvariantReport, InvariantWatch, InvariantWatchConfig};
pub use lag::{LagMonitor, LagReport};
pub use missing::{MissingConfig, MissingWatch};

/// A consumer of messages, wherever it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    pub name: &'static str,
    /// What it is called on the broker.
    pub group: String,
    pub topics: &'static [Topic],
}

/// Why something could not be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Projection(#[from] ProjectionError),
    #[error("{0} took longer than {1} s")]
    TooSlow(&'static str, u64),
}
