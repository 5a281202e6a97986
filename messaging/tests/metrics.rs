//! Each series is there before the first message, so that nothing is missing from a dashboard; and what nobody can tell just now
//! is unknown.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use messaging::{Topic, dead_letter, metric};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusBuilder;
use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;

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

#[tokio::test]
async fn while_postgres_hangs_the_number_of_dead_letters_is_unknown() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _shown = metrics::set_default_local_recorder(&recorder);
    let until_shown = async |value: &str| {
        let line = format!("ledger_dead_letters{{group=\"ticket-consumer-group-order\"}} {value}\n");
        let shown = async {
            while !recorder.handle().render().contains(&line) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), shown).await.unwrap_or_else(|_| panic!("{line}"));
    };
    let pool = PgPool::connect(&embedded_postgres::testing::database().url).await.unwrap();
    event_store::migrate(&pool).await.unwrap();
    let consumers = vec![("order", "ticket-consumer-group-order".to_owned())];
    let report = dead_letter::report(pool.clone(), consumers, Duration::from_millis(50));
    let _reporting = AbortOnDropHandle::new(tokio::spawn(report));
    until_shown("0").await;
    let mut hanging = pool.begin().await.unwrap();
    sqlx::query("lock table messaging.dead_letter in access exclusive mode").execute(&mut *hanging).await.unwrap();
    until_shown("NaN").await;
    hanging.rollback().await.unwrap();
    until_shown("0").await;
}
