//! The metrics of outbox and relay, there from the start: counters at 0, what is not known yet NaN.

use std::time::Duration;

use messaging::{SendError, Topic};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::circuit::CircuitState;
use crate::consumer_lag::ConsumerLag;
use crate::lag::OutboxLag;

const PENDING: &str = "ledger_outbox_pending_messages";
const OLDEST_UNSENT_AGE: &str = "ledger_outbox_oldest_unsent_age_seconds";
const PARKED: &str = "ledger_outbox_parked_messages";
const LEASE_HELD: &str = "ledger_relay_lease_held";
const SENT: &str = "ledger_relay_sent_total";
const SEND_FAILURES: &str = "ledger_relay_send_failures_total";
const SEND_DURATION: &str = "ledger_relay_send_duration_seconds";
const CIRCUIT_STATE: &str = "ledger_circuit_state";
const CONSUMER_LAG_MESSAGES: &str = "ledger_consumer_lag_messages";
const CONSUMER_LAG_SECONDS: &str = "ledger_consumer_lag_seconds";

const FAILURE_REASONS: [&str; 4] = ["unavailable", "unknown_topic", "too_large", "rejected"];

/// Registers every series of outbox and relay. The relay calls it; so does any process that should show them.
pub fn init() {
    describe_gauge!(PENDING, "Outbox rows that the broker has not confirmed");
    describe_gauge!(OLDEST_UNSENT_AGE, "Seconds since the oldest of them was recorded; 0 when there is none");
    describe_gauge!(PARKED, "Outbox rows that can't be sent, and those behind them");
    describe_gauge!(LEASE_HELD, "1 while a relay is active, this one or another");
    describe_counter!(SENT, "Messages the broker confirmed");
    describe_counter!(SEND_FAILURES, "Sends that failed, by reason");
    describe_histogram!(SEND_DURATION, "Seconds until the broker confirmed or refused a batch");
    describe_gauge!(CIRCUIT_STATE, "0 closed, 1 half open, 2 open");
    for topic in Topic::ALL {
        gauge!(PENDING, "topic" => topic.name()).set(f64::NAN);
        counter!(SENT, "topic" => topic.name()).increment(0);
        for reason in FAILURE_REASONS {
            counter!(SEND_FAILURES, "topic" => topic.name(), "reason" => reason).increment(0);
        }
        drop(histogram!(SEND_DURATION, "topic" => topic.name()));
    }
    for name in [OLDEST_UNSENT_AGE, PARKED, LEASE_HELD] {
        gauge!(name).set(f64::NAN);
    }
    circuit(None);
}

pub(crate) fn sent(topic: Topic, messages: usize, took: Duration, failure: Option<&SendError>) {
    histogram!(SEND_DURATION, "topic" => topic.name()).record(took.as_secs_f64());
    match failure {
        None => counter!(SENT, "topic" => topic.name()).increment(messages as u64),
        Some(failure) => {
            counter!(SEND_FAILURES, "topic" => topic.name(), "reason" => reason(failure)).increment(1);
        }
    }
}

fn reason(failure: &SendError) -> &'static str {
    match failure {
        SendError::Unavailable(_) => "unavailable",
        SendError::UnknownTopic(_) => "unknown_topic",
        SendError::TooLarge { .. } => "too_large",
        SendError::Rejected(_) => "rejected",
    }
}

/// `None`: this relay does not send, so it can't tell.
pub(crate) fn circuit(state: Option<CircuitState>) {
    let value = match state {
        Some(CircuitState::Closed) => 0.0,
        Some(CircuitState::HalfOpen) => 1.0,
        Some(CircuitState::Open) => 2.0,
        None => f64::NAN,
    };
    gauge!(CIRCUIT_STATE, "dependency" => "broker").set(value);
}

/// Shows a measured lag; `None` says that it could not be measured.
pub fn lag(lag: Option<&OutboxLag>) {
    for topic in Topic::ALL {
        let pending = lag.map_or(f64::NAN, |lag| lag.pending_of(topic) as f64);
        gauge!(PENDING, "topic" => topic.name()).set(pending);
    }
    let age_ms = lag.map_or(f64::NAN, |lag| lag.oldest_unsent_age_ms.unwrap_or(0) as f64);
    gauge!(OLDEST_UNSENT_AGE).set(age_ms / 1_000.0);
    gauge!(PARKED).set(lag.map_or(f64::NAN, |lag| lag.parked_messages as f64));
    gauge!(LEASE_HELD).set(lag.map_or(f64::NAN, |lag| f64::from(u8::from(lag.lease_owner.is_some()))));
}

/// Registers the lag of a consumer group, not known yet.
pub fn init_consumer_lag(group: &str, topics: &[Topic]) {
    describe_gauge!(CONSUMER_LAG_MESSAGES, "Messages the group has not acknowledged");
    describe_gauge!(CONSUMER_LAG_SECONDS, Unit::Seconds, "Age of the oldest message not acknowledged");
    for topic in topics {
        consumer_lag(group, *topic, ConsumerLag::default());
    }
}

pub(crate) fn consumer_lag(group: &str, topic: Topic, lag: ConsumerLag) {
    let messages = lag.messages.map_or(f64::NAN, |messages| messages as f64);
    let seconds = lag.oldest_age_ms.map_or(f64::NAN, |age_ms| age_ms as f64 / 1_000.0);
    gauge!(CONSUMER_LAG_MESSAGES, "group" => group.to_owned(), "topic" => topic.name()).set(messages);
    gauge!(CONSUMER_LAG_SECONDS, "group" => group.to_owned(), "topic" => topic.name()).set(seconds);
}
