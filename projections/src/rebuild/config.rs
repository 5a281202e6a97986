use std::time::Duration;

use crate::pace::Pace;

/// Bounds and intervals of rebuilding.
#[derive(Debug, Clone)]
pub struct RebuildConfig {
    /// Between two looks for rebuilds that somebody asked for or left behind.
    pub poll_interval: Duration,
    /// How long one may be silent before another process goes on with it. It is renewed after a third of it.
    pub lease_ttl: Duration,
    /// Ledger positions read, folded and written in one transaction. A row is written once for each range that has events of
    /// it, so that large ones are cheaper; they are held in memory.
    pub max_range_events: i64,
    /// Ranges of different read models worked on at once in this process.
    pub max_ranges_at_once: usize,
    /// How much of the time they are; the rest of it is left to those who read and order. The default keeps p99 of reads under
    /// 1.5 times what it was on two processors that are busy already (docs/measurements.md).
    pub max_busy_percent: u32,
    /// How long the swap waits for queries under way before it lets the others pass, and tries again.
    pub swap_lock_timeout: Duration,
    pub max_swap_attempts: u32,
    /// Streams folded once more, at most, where rows differ; where more do, the whole ledger is.
    pub max_streams_refolded: i64,
}

impl RebuildConfig {
    pub(crate) fn pace(&self) -> Pace {
        Pace::new(self.max_range_events, self.max_busy_percent)
    }
}

impl Default for RebuildConfig {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            lease_ttl: Duration::from_secs(10),
            max_range_events: 5_000,
            max_ranges_at_once: 1,
            max_busy_percent: 15,
            swap_lock_timeout: Duration::from_millis(100),
            max_swap_attempts: 600,
            max_streams_refolded: 10_000,
        }
    }
}
