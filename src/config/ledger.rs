//! The ledger's group commit, and how long it remembers keys.

use serde::{Deserialize, Serialize};

use super::bounds::{TEN_YEARS_SECONDS, positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSection {
    pub max_batch_commands: usize,
    pub max_queue_commands: usize,
    pub snapshot_every_events: u64,
    /// How long an idempotency key is kept.
    pub idempotency_retention_seconds: u64,
    /// How long a consumer remembers a message: longer than any redelivery.
    pub inbox_retention_seconds: u64,
}

impl Default for LedgerSection {
    fn default() -> Self {
        Self {
            max_batch_commands: 512,
            max_queue_commands: 8_192,
            snapshot_every_events: 1_000,
            idempotency_retention_seconds: 24 * 3_600,
            inbox_retention_seconds: 14 * 24 * 3_600,
        }
    }
}

impl LedgerSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        positive(
            1_000_000,
            &[
                ("ledger.max_batch_commands", self.max_batch_commands as u64),
                ("ledger.max_queue_commands", self.max_queue_commands as u64),
            ],
        )?;
        positive(
            TEN_YEARS_SECONDS,
            &[
                ("ledger.idempotency_retention_seconds", self.idempotency_retention_seconds),
                ("ledger.inbox_retention_seconds", self.inbox_retention_seconds),
            ],
        )
    }
}
