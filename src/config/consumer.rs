//! What consumers do with a message that fails.

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

impl ConsumerSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        positive(1_000_000, &[("consumer.max_attempts", self.max_attempts.into())])?;
        positive(TEN_YEARS_SECONDS, &[("consumer.dead_letter_retention_seconds", self.dead_letter_retention_seconds)])
    }
}
