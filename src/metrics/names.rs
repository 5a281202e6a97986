//! Every metric by name: counters start at 0, what is not yet known is NaN, never 0.

use messaging::Topic;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// The consumers of the messages, by the name their group ends in.
pub const CONSUMERS: [(&str, &[Topic]); 10] = [
    ("order", &[Topic::OrderCreate, Topic::OrderCancel]),
    ("stock", &[Topic::StockLock, Topic::StockDeduct, Topic::StockRollback]),
    ("payment", &[Topic::OrderPayment]),
    ("notification", &[Topic::OrderStatusUpdate, Topic::UserNotification]),
    ("sms", &[Topic::SmsNotification]),
    ("email", &[Topic::EmailNotification]),
    ("cache", &[Topic::StockSync]),
    ("order-projection", &[Topic::OrderStatusUpdate]),
    ("stock-projection", &[Topic::StockSync]),
    ("notification-projection", &[Topic::UserNotification]),
];
const INVARIANTS: [&str; 9] = ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9"];

pub fn register() {
    describe();
    counter!("ledger_events_appended_total").absolute(0);
    for topic in Topic::ALL {
        counter!("ledger_relay_sent_total", "topic" => topic.name()).absolute(0);
        counter!("ledger_relay_send_failures_total", "topic" => topic.name(), "reason" => "unavailable").absolute(0);
        gauge!("ledger_outbox_pending_messages", "topic" => topic.name()).set(f64::NAN);
    }
    for command in ["place_order", "pay", "cancel_order"] {
        counter!("ledger_commands_total", "command" => command, "outcome" => "accepted", "mode" => "async").absolute(0);
    }
    for (consumer, topics) in CONSUMERS {
        register_consumer(&group(consumer), topics);
    }
    for projection in projections::NAMES {
        gauge!("ledger_projection_lag_events", "projection" => projection).set(f64::NAN);
        gauge!("ledger_projection_lag_seconds", "projection" => projection).set(f64::NAN);
    }
    for invariant in INVARIANTS {
        counter!("ledger_invariant_violations_total", "invariant" => invariant).absolute(0);
    }
    for direction in ["in", "out"] {
        counter!("ledger_broker_network_bytes_total", "direction" => direction).absolute(0);
    }
    for name in ["ledger_broker_cpu_ratio", "ledger_broker_memory_bytes", "ledger_broker_disk_used_ratio"] {
        gauge!(name).set(f64::NAN);
    }
    gauge!("ledger_outbox_oldest_unsent_age_seconds").set(f64::NAN);
    gauge!("ledger_broker_up", "broker" => "default").set(f64::NAN);
    gauge!("ledger_circuit_state", "dependency" => "broker").set(f64::NAN);
    gauge!("ledger_saga_running", "saga" => "fulfilment", "step" => "all").set(f64::NAN);
    gauge!("ledger_saga_stuck").set(f64::NAN);
}

fn register_consumer(group: &str, topics: &[Topic]) {
    for topic in topics {
        let labels = [("group", group.to_owned()), ("topic", topic.name().to_owned())];
        for outcome in ["applied", "duplicate", "retried", "dead_lettered"] {
            let mut labels = labels.to_vec();
            labels.push(("outcome", outcome.to_owned()));
            counter!("ledger_consumer_messages_total", &labels).absolute(0);
        }
        gauge!("ledger_consumer_lag_messages", &labels).set(f64::NAN);
        gauge!("ledger_consumer_lag_seconds", &labels).set(f64::NAN);
    }
    gauge!("ledger_consumer_up", "group" => group.to_owned()).set(f64::NAN);
    gauge!("ledger_dead_letters", "group" => group.to_owned()).set(f64::NAN);
}

pub fn group(consumer: &str) -> String {
    format!("ticket-consumer-group-{consumer}")
}

fn describe() {
    describe_counter!("ledger_commands_total", "Commands by outcome and mode");
    describe_histogram!("ledger_command_duration_seconds", Unit::Seconds, "From the request to the durable answer");
    describe_counter!("ledger_events_appended_total", "Events appended to the ledger");
    describe_gauge!("ledger_outbox_pending_messages", "Outbox rows not yet sent");
    describe_gauge!("ledger_outbox_oldest_unsent_age_seconds", Unit::Seconds, "Age of the oldest unsent outbox row");
    describe_counter!("ledger_relay_sent_total", "Messages the broker acknowledged");
    describe_counter!("ledger_relay_send_failures_total", "Batches that could not be sent");
    describe_histogram!("ledger_relay_send_duration_seconds", Unit::Seconds, "One batch, sent and acknowledged");
    describe_counter!("ledger_consumer_messages_total", "Messages by outcome");
    describe_histogram!("ledger_consumer_process_duration_seconds", Unit::Seconds, "One batch, handled and committed");
    describe_gauge!("ledger_consumer_lag_messages", "Messages the group has not acknowledged");
    describe_gauge!("ledger_consumer_lag_seconds", Unit::Seconds, "Age of the oldest message not acknowledged");
    describe_gauge!("ledger_consumer_up", "1 while the group has a live consumer");
    describe_gauge!("ledger_projection_lag_events", "Events between the head and the checkpoint");
    describe_gauge!("ledger_projection_lag_seconds", Unit::Seconds, "Age of the oldest event not yet applied");
    describe_gauge!("ledger_dead_letters", "Dead letters not yet resolved");
    describe_gauge!("ledger_saga_running", "Fulfilments under way");
    describe_gauge!("ledger_saga_stuck", "Fulfilments past their deadline");
    describe_gauge!("ledger_circuit_state", "0 closed, 1 half open, 2 open");
    describe_gauge!("ledger_broker_up", "1 while the broker answers");
    describe_gauge!("ledger_broker_cpu_ratio", "CPU the broker uses, 1 is one core");
    describe_gauge!("ledger_broker_memory_bytes", Unit::Bytes, "Resident memory of the broker");
    describe_gauge!("ledger_broker_disk_used_ratio", "Used part of the broker's disk");
    describe_counter!("ledger_broker_network_bytes_total", Unit::Bytes, "Bytes to and from the broker");
    describe_counter!("ledger_invariant_violations_total", "Violations that verify has found");
}
