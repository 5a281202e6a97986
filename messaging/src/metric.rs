//! The metrics of consumers, there from the start: counters at 0, what is not known yet NaN.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::topic::Topic;

const MESSAGES: &str = "ledger_consumer_messages_total";
const PROCESS_DURATION: &str = "ledger_consumer_process_duration_seconds";
const UP: &str = "ledger_consumer_up";
const DEAD_LETTERS: &str = "ledger_dead_letters";

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    Duplicate,
    Retried,
    DeadLettered,
}

impl Outcome {
    const ALL: [Outcome; 4] = [Outcome::Applied, Outcome::Duplicate, Outcome::Retried, Outcome::DeadLettered];

    const fn label(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Duplicate => "duplicate",
            Outcome::Retried => "retried",
            Outcome::DeadLettered => "dead_lettered",
        }
    }
}

/// Registers every series of a consumer group. [`crate::ConsumerRuntime::new`] calls it; so does any process that should
/// show groups that run elsewhere.
pub fn init(group: &str, topics: &[Topic]) {
    describe_counter!(MESSAGES, "Deliveries by what became of them");
    describe_histogram!(PROCESS_DURATION, "Seconds from handing a batch to the handler until all of it has an outcome");
    describe_gauge!(UP, "1 while a member lives and reaches the broker");
    describe_gauge!(DEAD_LETTERS, "Dead letters and the messages that wait behind them");
    for topic in topics {
        for outcome in Outcome::ALL {
            messages(group, *topic, outcome).increment(0);
        }
        drop(process_duration(group, *topic));
    }
    for name in [UP, DEAD_LETTERS] {
        gauge!(name, "group" => group.to_owned()).set(f64::NAN);
    }
}

pub(crate) fn count(group: &str, topic: Topic, outcome: Outcome) {
    messages(group, topic, outcome).increment(1);
}

pub(crate) fn processed(group: &str, topic: Topic, took: Duration) {
    process_duration(group, topic).record(took.as_secs_f64());
}

pub(crate) fn up(group: &str, is_up: bool) {
    group_up(group, Some(is_up));
}

pub(crate) fn group_up(group: &str, is_up: Option<bool>) {
    gauge!(UP, "group" => group.to_owned()).set(is_up.map_or(f64::NAN, |is_up| f64::from(u8::from(is_up))));
}

/// `None`: it could not be told.
pub(crate) fn dead_letters(group: &str, undelivered: Option<i64>) {
    gauge!(DEAD_LETTERS, "group" => group.to_owned()).set(undelivered.map_or(f64::NAN, |count| count as f64));
}

fn messages(group: &str, topic: Topic, outcome: Outcome) -> metrics::Counter {
    counter!(MESSAGES, "group" => group.to_owned(), "topic" => topic.name(), "outcome" => outcome.label())
}

fn process_duration(group: &str, topic: Topic) -> metrics::Histogram {
    histogram!(PROCESS_DURATION, "group" => group.to_owned(), "topic" => topic.name())
}
