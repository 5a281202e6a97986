//! What looks after the running system: for messages that got lost, and for invariants that do not hold.

use serde::{Deserialize, Serialize};

use super::bounds::{TEN_YEARS_SECONDS, between};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchSection {
    /// Between two counts of what was sent against what was accounted for, by `relay`. 0: never.
    pub missing_interval_seconds: u64,
    /// A message without a trace is missing when it still has none so long after it was first noticed.
    pub missing_confirm_after_seconds: u64,
    /// Between two checks of the invariants that are cheap, by `project`. 0: never.
    pub invariants_interval_seconds: u64,
    /// Rows of each read model that such a check folds again.
    pub invariants_sampled_rows: u32,
}

impl Default for WatchSection {
    fn default() -> Self {
        Self {
            missing_interval_seconds: 10,
            missing_confirm_after_seconds: 30,
            invariants_interval_seconds: 300,
            invariants_sampled_rows: 50,
        }
    }
}

impl WatchSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        for (key, value, max) in [
            ("watch.missing_interval_seconds", self.missing_interval_seconds, TEN_YEARS_SECONDS),
            ("watch.missing_confirm_after_seconds", self.missing_confirm_after_seconds, TEN_YEARS_SECONDS),
            ("watch.invariants_interval_seconds", self.invariants_interval_seconds, TEN_YEARS_SECONDS),
            ("watch.invariants_sampled_rows", self.invariants_sampled_rows.into(), 10_000),
        ] {
            between(key, value, 0, max)?;
        }
        Ok(())
    }
}
