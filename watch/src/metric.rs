//! What the watch shows as metrics, there from the start.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::Consumer;

const MISSING: &str = "ledger_missing_messages";
const VIOLATIONS: &str = "ledger_invariant_violations_total";

/// As ARCHITECTURE.md numbers them.
pub(crate) const INVARIANTS: [&str; 8] = ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8"];

/// Registers every series: violations at 0, what nobody has counted yet NaN. Without consumers where nobody will count.
pub fn init(consumers: &[Consumer]) {
    describe_gauge!(MISSING, "Messages that were sent, and passed by the group without a trace");
    describe_counter!(VIOLATIONS, "Violations found by each check, `verify` included, again as long as they last");
    for consumer in crate::missing::judged(consumers) {
        missing(&consumer.group, None);
    }
    for invariant in INVARIANTS {
        counter!(VIOLATIONS, "invariant" => invariant).absolute(0);
    }
}

pub(crate) fn missing(group: &str, messages: Option<i64>) {
    gauge!(MISSING, "group" => group.to_owned()).set(messages.map_or(f64::NAN, |messages| messages as f64));
}

pub(crate) fn violations(invariant: &'static str, found: usize) {
    counter!(VIOLATIONS, "invariant" => invariant).increment(found as u64);
}
