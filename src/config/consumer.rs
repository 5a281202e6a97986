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
    /// Keys of one redrive that `process` works on side by side; each holds a connection of a pool for redrives alone.
    pub redrive_keys_at_once: usize,
    /// How often what RocketMQ itself gave up for our groups (`%DLQ%…`) is looked for.
    pub given_up_interval_ms: u64,
}

impl Default for ConsumerSection {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            dead_letter_retention_seconds: 30 * 24 * 3_600,
            redrive_keys_at_once: 4,
            given_up_interval_ms: 30_000,
        }
    }
}

impl ConsumerSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        positive(1_000_000, &[("consumer.max_attempts", self.max_attempts.into())])?;
        positive(100, &[("consumer.redrive_keys_at_once", self.redrive_keys_at_once as u64)])?;
        positive(86_400_000, &[("consumer.given_up_interval_ms", self.given_up_interval_ms)])?;
        positive(TEN_YEARS_SECONDS, &[("consumer.dead_letter_retention_seconds", self.dead_letter_retention_seconds)])
    }
}
