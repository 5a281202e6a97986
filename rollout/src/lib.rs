//! Which orders go through the broker, and which are decided in the request: the policy, when it is overridden, and what the
//! difference is worth.
//!
//! - [`RolloutPolicy`]: mode, percentage, groups, fallback; kept in Postgres by [`store`].
//! - [`Rollout`]: the policy as it is in force in this process, read without a query; a [`Watcher`] keeps it so.
//! - [`Ramp`]: raises the percentage in steps while its guards hold.
//! - [`report`]: async against sync, cohort by cohort.

mod bucket;
mod cohort;
mod error;
mod fallback;
mod in_force;
mod metric;
mod policy;
pub mod ramp;
pub mod report;
mod samples;
pub mod store;
mod watcher;

pub use bucket::bucket_of;
pub use cohort::{Assignment, Cause, InstanceMode};
pub use error::RolloutError;
pub use fallback::{FallbackState, Health, Thresholds};
pub use in_force::{InForce, Rollout};
pub use metric::register_metrics;
pub use policy::{Fallback, InvalidPolicy, RolloutPolicy};
pub use ramp::{Guard, Ramp};
pub use samples::{SampleConfig, Samples, forget_older_than};
pub use watcher::{RolloutConfig, Watcher, start};
