//! How this instance follows the rollout's policy.

use serde::{Deserialize, Serialize};

use super::bounds::{TEN_YEARS_SECONDS, between, positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutSection {
    /// `policy`: orders are taken as the stored policy says. `async`, `sync`: this instance takes all of them so.
    pub instance_mode: InstanceMode,
    /// The longest a change of the policy, or the loss of the broker, goes unnoticed.
    pub poll_interval_ms: u64,
    /// New orders go around the broker while the outbox is older.
    pub outbox_age_limit_seconds: u64,
    /// How long all must be well before they go through it again.
    pub recover_after_seconds: u64,
    /// Orders of one mode noted for the report in half a second; of more, chance keeps so many.
    pub max_sampled_orders: usize,
    pub sample_retention_seconds: u64,
}

impl Default for RolloutSection {
    fn default() -> Self {
        Self {
            instance_mode: InstanceMode::Policy,
            poll_interval_ms: 250,
            outbox_age_limit_seconds: 30,
            recover_after_seconds: 10,
            max_sampled_orders: 250,
            sample_retention_seconds: 7 * 24 * 3_600,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceMode {
    Policy,
    Async,
    Sync,
}

impl RolloutSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        // A change must be in force within a second.
        between("rollout.poll_interval_ms", self.poll_interval_ms, 10, 500)?;
        between("rollout.max_sampled_orders", self.max_sampled_orders as u64, 0, 10_000)?;
        between("rollout.recover_after_seconds", self.recover_after_seconds, 0, TEN_YEARS_SECONDS)?;
        positive(
            TEN_YEARS_SECONDS,
            &[
                ("rollout.outbox_age_limit_seconds", self.outbox_age_limit_seconds),
                ("rollout.sample_retention_seconds", self.sample_retention_seconds),
            ],
        )
    }
}
