//! What consumers do with a message that fails, and how projections follow the ledger.

use serde::{Deserialize, Serialize};

use super::bounds::{TEN_YEARS_SECONDS, positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerSection {
    /// Tries of a message that fails before it becomes a dead letter.
    pub max_attempts: u32,
    /// How long a dead letter is kept after it was redriven or discarded.
    pub dead_letter_retention_seconds: u64,
}

impl Default for ConsumerSection {
    fn default() -> Self {
        Self { max_attempts: 5, dead_letter_retention_seconds: 30 * 24 * 3_600 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectionSection {
    pub poll_interval_ms: u64,
    pub max_batch_events: usize,
}

impl Default for ProjectionSection {
    fn default() -> Self {
        Self { poll_interval_ms: 250, max_batch_events: 5_000 }
    }
}

impl ConsumerSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        positive(1_000_000, &[("consumer.max_attempts", self.max_attempts.into())])?;
        positive(TEN_YEARS_SECONDS, &[("consumer.dead_letter_retention_seconds", self.dead_letter_retention_seconds)])
    }
}

impl ProjectionSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        positive(60_000, &[("projection.poll_interval_ms", self.poll_interval_ms)])?;
        positive(1_000_000, &[("projection.max_batch_events", self.max_batch_events as u64)])
    }
}
