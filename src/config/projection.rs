//! How projections follow the ledger, and how they are rebuilt.

use serde::{Deserialize, Serialize};

use super::bounds::{between, positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectionSection {
    pub poll_interval_ms: u64,
    pub max_batch_events: usize,
    /// `project` rebuilds by itself, when it starts, what another version of the program built; otherwise it only says so.
    pub rebuild_automatically: bool,
    /// How often `project` looks for rebuilds that were asked for or left behind.
    pub rebuild_poll_interval_ms: u64,
    /// How long a rebuild may be silent before another process goes on with it.
    pub rebuild_lease_ttl_ms: u64,
    /// Ledger positions read, folded and written in one transaction.
    pub rebuild_max_range_events: usize,
    /// Ranges of different read models worked on at once by one process.
    pub rebuild_max_ranges_at_once: usize,
    /// How much of the time they are; the rest of it is left to those who read and order. The default keeps p99 of reads under
    /// 1.5 times what it was on two processors that are busy already (docs/measurements.md).
    pub rebuild_max_busy_percent: u32,
}

impl Default for ProjectionSection {
    fn default() -> Self {
        Self {
            poll_interval_ms: 250,
            max_batch_events: 5_000,
            rebuild_automatically: false,
            rebuild_poll_interval_ms: 1_000,
            rebuild_lease_ttl_ms: 10_000,
            rebuild_max_range_events: 5_000,
            rebuild_max_ranges_at_once: 1,
            rebuild_max_busy_percent: 15,
        }
    }
}

impl ProjectionSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        positive(60_000, &[("projection.poll_interval_ms", self.poll_interval_ms)])?;
        positive(1_000_000, &[("projection.max_batch_events", self.max_batch_events as u64)])?;
        positive(60_000, &[("projection.rebuild_poll_interval_ms", self.rebuild_poll_interval_ms)])?;
        between("projection.rebuild_lease_ttl_ms", self.rebuild_lease_ttl_ms, 500, 600_000)?;
        positive(1_000_000, &[("projection.rebuild_max_range_events", self.rebuild_max_range_events as u64)])?;
        positive(16, &[("projection.rebuild_max_ranges_at_once", self.rebuild_max_ranges_at_once as u64)])?;
        positive(100, &[("projection.rebuild_max_busy_percent", self.rebuild_max_busy_percent.into())])
    }
}
