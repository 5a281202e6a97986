//! Each series is there before the first message, so that nothing is missing from a dashboard.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::sync::Mutex;

use messaging::{Topic, metric};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

#[derive(Default)]
struct Series(Mutex<BTreeSet<String>>);

impl Series {
    fn note(&self, key: &Key) {
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        self.0.lock().unwrap().insert(format!("{}{{{}}}", key.name(), labels.join(",")));
    }
}

impl Recorder for Series {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.note(key);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.note(key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.note(key);
        Histogram::noop()
    }
}

#[test]
fn every_series_of_a_group_is_there_from_the_start() {
    let series = Series::default();
    metrics::with_local_recorder(&series, || metric::init("ticket-consumer-group-order", &[Topic::OrderCreate]));
    let group = "group=ticket-consumer-group-order";
    let expected: BTreeSet<String> = ["applied", "duplicate", "retried", "dead_lettered"]
        .map(|outcome| format!("ledger_consumer_messages_total{{{group},topic=order-create,outcome={outcome}}}"))
        .into_iter()
        .chain([
            format!("ledger_consumer_process_duration_seconds{{{group},topic=order-create}}"),
            format!("ledger_consumer_up{{{group}}}"),
            format!("ledger_dead_letters{{{group}}}"),
        ])
        .collect();
    assert_eq!(series.0.into_inner().unwrap(), expected);
}
