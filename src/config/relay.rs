//! The relay from the outbox to the broker.

use serde::{Deserialize, Serialize};

use super::bounds::{between, positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelaySection {
    pub lease_ttl_ms: u64,
    pub poll_interval_ms: u64,
    /// Messages in one batch of one lane.
    pub max_batch_messages: usize,
    pub outbox_retention_seconds: u64,
}

impl Default for RelaySection {
    fn default() -> Self {
        Self {
            lease_ttl_ms: 3_000,
            poll_interval_ms: 250,
            max_batch_messages: 500,
            outbox_retention_seconds: 3 * 24 * 3_600,
        }
    }
}

impl RelaySection {
    pub(super) fn validate(&self) -> Result<(), String> {
        between("relay.lease_ttl_ms", self.lease_ttl_ms, 500, 600_000)?;
        positive(60_000, &[("relay.poll_interval_ms", self.poll_interval_ms)])?;
        positive(100_000, &[("relay.max_batch_messages", self.max_batch_messages as u64)])
    }
}
