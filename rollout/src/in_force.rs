use std::sync::Arc;

use domain::{Mode, UserId};
use tokio::sync::watch;

use crate::cohort::{Assignment, InstanceMode};
use crate::policy::{Fallback, RolloutPolicy};
use crate::samples::Samples;

/// The policy as one process follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    pub policy: RolloutPolicy,
    pub version: i64,
    /// The broker, or the way to it, was found to be bad.
    pub is_fallback_active: bool,
}

impl InForce {
    /// Whether new orders go around the broker just now.
    pub fn is_falling_back(&self) -> bool {
        self.is_fallback_active && self.policy.fallback == Fallback::Sync
    }
}

/// What requests ask; cheap to clone, and asking costs no query.
#[derive(Clone)]
pub struct Rollout {
    in_force: watch::Receiver<Arc<InForce>>,
    instance: InstanceMode,
    samples: Arc<Samples>,
}

impl Rollout {
    pub(crate) fn new(in_force: watch::Receiver<Arc<InForce>>, instance: InstanceMode, samples: Arc<Samples>) -> Self {
        Self { in_force, instance, samples }
    }

    /// The policy as it is followed here and now.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.borrow().clone()
    }

    /// How an order of this user is taken.
    pub fn assign(&self, pin: Option<Mode>, user_id: UserId, groups: &[String]) -> Assignment {
        self.in_force.borrow().assign(self.instance, pin, user_id, groups)
    }

    /// Where orders are noted for the report.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }
}
