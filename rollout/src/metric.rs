use domain::Mode;
use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::cohort::{Assignment, Cause};
use crate::in_force::InForce;

const ASYNC_PERCENT: &str = "ledger_rollout_async_percent";
const FALLBACK: &str = "ledger_rollout_fallback_active";
const ORDERS: &str = "ledger_rollout_orders_total";

/// Has the series there from the start.
pub fn register_metrics() {
    describe_gauge!(ASYNC_PERCENT, "Users whose new orders go through the broker, of a hundred; 0 during a fallback");
    describe_gauge!(FALLBACK, "1 while new orders go around the broker because it is away");
    describe_counter!(ORDERS, "Orders by the mode they were taken in and what chose it");
    gauge!(ASYNC_PERCENT).set(f64::NAN);
    gauge!(FALLBACK).set(f64::NAN);
    for mode in [Mode::Async, Mode::Sync] {
        for cause in Cause::ALL {
            counter!(ORDERS, "mode" => mode.as_str(), "cause" => cause.as_str()).increment(0);
        }
    }
}

pub(crate) fn show(in_force: &InForce) {
    let is_falling_back = in_force.is_falling_back();
    let percent = if is_falling_back { 0 } else { in_force.policy.effective_percent() };
    gauge!(ASYNC_PERCENT).set(f64::from(percent));
    gauge!(FALLBACK).set(if is_falling_back { 1.0 } else { 0.0 });
}

pub(crate) fn order(assignment: Assignment) {
    counter!(ORDERS, "mode" => assignment.mode.as_str(), "cause" => assignment.cause.as_str()).increment(1);
}
