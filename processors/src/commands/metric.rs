//! Every command is counted and timed here, whoever asked for it.

use std::future::Future;
use std::time::Instant;

use domain::Mode;
use event_store::{CommandError, Committed};
use metrics::{counter, describe_counter, describe_histogram, histogram};

const COMMANDS: &str = "ledger_commands_total";
const DURATION: &str = "ledger_command_duration_seconds";

const NAMES: [&str; 21] = [
    "place_order",
    "begin_fulfilment",
    "lock_stock",
    "start_payment",
    "settle_payment",
    "give_up_payment",
    "deduct_stock",
    "cancel_order",
    "compensate_cancelled",
    "expire_order",
    "rollback_stock",
    "lapse_lock",
    "complete_refund",
    "record_refund_failure",
    "resolve_compensation",
    "put_ticket_type_on_sale",
    "change_capacity",
    "request_notification",
    "dispatch_notification",
    "record_delivery",
    "record_handled",
];

const OUTCOMES: [&str; 8] =
    ["accepted", "rejected", "duplicate", "contended", "overloaded", "unavailable", "invalid", "bug"];

/// Has the series of all commands there from the start.
pub fn register_metrics() {
    describe_counter!(COMMANDS, "Commands by outcome and mode");
    describe_histogram!(DURATION, "Seconds from the request to the durable answer");
    for name in NAMES {
        for outcome in OUTCOMES {
            for mode in [Mode::Async, Mode::Sync] {
                counter!(COMMANDS, "command" => name, "outcome" => outcome, "mode" => mode.as_str()).increment(0);
            }
        }
        drop(histogram!(DURATION, "command" => name));
    }
}

/// Counts and times a command by its name. The command is under way before the future is first polled.
pub(super) fn measured<T: Send>(
    name: &'static str,
    mode: &'static str,
    outcome: impl Future<Output = Result<Committed<T>, CommandError>> + Send,
) -> impl Future<Output = Result<Committed<T>, CommandError>> + Send {
    let started = Instant::now();
    async move {
        let result = outcome.await;
        counter!(COMMANDS, "command" => name, "outcome" => outcome_of(&result), "mode" => mode).increment(1);
        histogram!(DURATION, "command" => name).record(started.elapsed().as_secs_f64());
        result
    }
}

fn outcome_of<T>(result: &Result<Committed<T>, CommandError>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(CommandError::Rejected(_)) => "rejected",
        Err(CommandError::Duplicate(_)) => "duplicate",
        Err(CommandError::Contended) => "contended",
        Err(CommandError::Overloaded) => "overloaded",
        Err(CommandError::Unavailable(_)) => "unavailable",
        Err(CommandError::Invalid { .. }) => "invalid",
        Err(CommandError::Bug(_)) => "bug",
    }
}
