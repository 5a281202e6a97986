//! What is shown while Postgres hangs, and which brokers are remembered.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use messaging::{Broker, InMemoryBroker, QUEUES_PER_TOPIC, Topic};
use metrics_exporter_prometheus::PrometheusBuilder;
use outbox_relay::consumer_lag::{self, Group};
use outbox_relay::{brokers, lag};
use support::{Ledger, eventually, message};
use tokio_util::task::AbortOnDropHandle;

const GROUP: &str = "shop-consumers-order";
const OFTEN: Duration = Duration::from_millis(50);

fn reporting(report: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(report))
}

#[tokio::test]
async fn while_postgres_hangs_the_outbox_is_unknown() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _shown = metrics::set_default_local_recorder(&recorder);
    let shows = |value: &str| {
        let series = "ledger_outbox_pending_messages{topic=\"order-create\"}";
        recorder.handle().render().contains(&format!("{series} {value}\n"))
    };
    let ledger = Ledger::new().await;
    ledger.append(&[message(Topic::OrderCreate, "ORD1")]).await;
    let _reporting = reporting(lag::report(ledger.pool.clone(), OFTEN));
    eventually("the outbox is measured", async || shows("1")).await;
    let mut hanging = ledger.pool.begin().await.unwrap();
    sqlx::query("lock table relay.cursor in access exclusive mode").execute(&mut *hanging).await.unwrap();
    eventually("it is unknown", async || shows("NaN")).await;
}

async fn broker() -> InMemoryBroker {
    let broker = InMemoryBroker::default();
    broker.create_topics(&[Topic::OrderCreate.name()], QUEUES_PER_TOPIC).await.unwrap();
    broker
}

fn report_groups(ledger: &Ledger, broker: &InMemoryBroker) -> AbortOnDropHandle<()> {
    let groups = vec![Group { name: GROUP.to_owned(), topics: &[Topic::OrderCreate] }];
    reporting(consumer_lag::report(ledger.pool.clone(), Arc::new(broker.clone()), groups, OFTEN))
}

fn lag_series() -> String {
    format!("ledger_consumer_lag_messages{{group=\"{GROUP}\",topic=\"order-create\"}}")
}

#[tokio::test]
async fn while_postgres_hangs_who_is_at_work_is_unknown() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _shown = metrics::set_default_local_recorder(&recorder);
    let shows = |value: &str| {
        recorder.handle().render().contains(&format!("ledger_consumer_up{{group=\"{GROUP}\"}} {value}\n"))
    };
    let (ledger, broker) = (Ledger::new().await, broker().await);
    let _reporting = report_groups(&ledger, &broker);
    eventually("nobody is at work", async || shows("0")).await;
    let mut hanging = ledger.pool.begin().await.unwrap();
    sqlx::query("lock table messaging.member in access exclusive mode").execute(&mut *hanging).await.unwrap();
    eventually("it is unknown", async || shows("NaN")).await;
}

#[tokio::test]
async fn a_broker_that_answered_once_is_remembered_by_those_who_begin_later() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _shown = metrics::set_default_local_recorder(&recorder);
    let shows = |value: &str| recorder.handle().render().contains(&format!("{} {value}\n", lag_series()));
    let (ledger, both) = (Ledger::new().await, broker().await);
    both.set_away(&["broker-b"]);
    let reporting = report_groups(&ledger, &both);
    eventually("with one away nobody knows", async || shows("NaN")).await;
    both.set_away(&[]);
    eventually("with both it is known", async || shows("0")).await;
    drop(reporting);

    let one = broker().await;
    one.set_away(&["broker-c"]);
    one.set_away(&[]);
    assert!(brokers::all_answer(&ledger.pool, &both, Duration::ZERO).await);
    assert!(!brokers::all_answer(&ledger.pool, &one, Duration::ZERO).await, "nothing was heard of broker-b");
}
