//! What happens when a relay dies, or is a zombie, or the broker goes away.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use messaging::Topic;
use metrics_exporter_prometheus::PrometheusBuilder;
use outbox_relay::health::{self, BrokerHealth};
use outbox_relay::{CircuitState, RelayConfig, Role, lag};
use support::broker::RecordingBroker;
use support::{Ledger, drain, eventually, message, messages, step_until, step_until_active, within};
use tokio_util::sync::CancellationToken;

fn quick() -> RelayConfig {
    RelayConfig { lease_ttl_ms: 600, poll_interval_ms: 20, max_batch_messages: 10, ..RelayConfig::default() }
}

#[tokio::test]
async fn a_relay_killed_between_send_and_mark_doubles_what_was_in_flight_and_loses_nothing() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let all = messages(Topic::OrderCreate, 300, 40);
    ledger.append(&all).await;
    broker.set_silent(true);
    let mut killed = ledger.relay(&broker, quick(), "relay-1");
    step_until(&mut killed, |_| broker.most_queues_at_once() == 8).await;
    let in_flight = broker.ids().len();
    assert!(in_flight <= 8 * 10, "one batch a lane");
    drop(killed);

    broker.set_silent(false);
    ledger.expire_lease().await;
    // Not so short that it could lose its own, and double more.
    let steady = RelayConfig { lease_ttl_ms: 600_000, ..quick() };
    drain(&ledger, &mut ledger.relay(&broker, steady, "relay-2")).await;

    let sent = broker.ids();
    let once: HashSet<_> = sent.iter().copied().collect();
    assert_eq!(once, all.iter().map(|message| message.id).collect());
    assert_eq!(sent.len(), all.len() + in_flight);
}

#[tokio::test]
async fn a_stand_by_takes_over_from_a_relay_that_died() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let default_lease = RelayConfig { poll_interval_ms: 20, ..RelayConfig::default() };
    let owner = async || lag::measure(&ledger.pool).await.unwrap().lease_owner;
    let first = tokio::spawn(ledger.relay(&broker, default_lease.clone(), "relay-1").run(CancellationToken::new()));
    eventually("the first is active", async || owner().await.as_deref() == Some("relay-1")).await;
    let second = tokio::spawn(ledger.relay(&broker, default_lease, "relay-2").run(CancellationToken::new()));
    ledger.append(&messages(Topic::OrderCreate, 50, 5)).await;
    eventually("the first sends", async || broker.ids().len() == 50).await;

    first.abort();
    let died_at = Instant::now();
    ledger.append(&messages(Topic::OrderCreate, 50, 5)).await;
    within(Duration::from_secs(8), "take-over", async {
        eventually("the second sends", async || ledger.pending().await == 0).await;
    })
    .await;
    println!("taken over after {:?}", died_at.elapsed());
    assert_eq!(owner().await.as_deref(), Some("relay-2"));
    let ids = broker.ids();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 100);
    second.abort();
}

#[tokio::test]
async fn a_shut_down_relay_is_replaced_at_once() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let long_lease = RelayConfig { lease_ttl_ms: 600_000, poll_interval_ms: 20, ..RelayConfig::default() };
    let shutdown = CancellationToken::new();
    let first = tokio::spawn(ledger.relay(&broker, long_lease.clone(), "relay-1").run(shutdown.clone()));
    ledger.append(&messages(Topic::OrderCreate, 50, 5)).await;
    eventually("the first sends", async || broker.ids().len() == 50).await;

    shutdown.cancel();
    first.await.unwrap();
    let report = ledger.relay(&broker, long_lease, "relay-2").step().await.unwrap();
    assert_eq!(report.role, Role::Active);
    assert_eq!(broker.ids().len(), 50, "nothing was sent twice");
}

#[tokio::test]
async fn only_one_of_two_relays_sends() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let mut active = ledger.relay(&broker, RelayConfig::default(), "relay-1");
    step_until_active(&mut active).await;
    ledger.append(&messages(Topic::OrderCreate, 20, 3)).await;
    let report = ledger.relay(&broker, RelayConfig::default(), "relay-2").step().await.unwrap();
    assert_eq!((report.role, report.sent), (Role::Standby, 0));
    assert_eq!(broker.ids().len(), 0);
}

#[tokio::test]
async fn a_zombie_moves_no_cursor() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let placed = message(Topic::OrderCreate, "ORD1");
    ledger.append(std::slice::from_ref(&placed)).await;
    // It will not look at its lease again for long, so that only the token can stop it.
    let long_lease = RelayConfig { lease_ttl_ms: 600_000, poll_interval_ms: 20, ..RelayConfig::default() };
    let mut zombie = ledger.relay(&broker, long_lease, "zombie");
    broker.set_silent(true);
    step_until(&mut zombie, |_| broker.ids().len() == 1).await;

    ledger.expire_lease().await;
    let mut next = ledger.relay(&broker, quick(), "next");
    step_until_active(&mut next).await;
    broker.set_silent(false);

    let report = zombie.step().await.unwrap();
    assert_eq!((report.role, report.sent), (Role::Standby, 0));
    assert_eq!(ledger.cursor(placed.lane).await, 0, "what the zombie sent is not what the next one knows");
    drain(&ledger, &mut next).await;
}

#[tokio::test]
async fn after_an_outage_the_relay_works_again_with_a_fresh_producer() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(ledger.relay(&broker, RelayConfig::default(), "relay-1").run(shutdown.clone()));
    ledger.append(&messages(Topic::OrderCreate, 20, 5)).await;
    eventually("it works", async || broker.ids().len() == 20).await;

    broker.set_down(true);
    ledger.append(&messages(Topic::OrderCreate, 20, 5)).await;
    let circuit = async || lag::measure(&ledger.pool).await.unwrap().circuit;
    eventually("the circuit is open", async || circuit().await == Some(CircuitState::Open)).await;
    assert_eq!(ledger.pending().await, 20);

    broker.set_down(false);
    within(Duration::from_secs(5), "work again", async {
        eventually("all is sent", async || ledger.pending().await == 0).await;
    })
    .await;
    eventually("the circuit is closed", async || circuit().await == Some(CircuitState::Closed)).await;
    assert_eq!(broker.ids().len(), 40);
    assert!(broker.producers_made() > 1);
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn the_circuit_closes_after_an_outage_without_anything_to_send() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    broker.set_down(true);
    let running = tokio::spawn(ledger.relay(&broker, quick(), "relay-1").run(CancellationToken::new()));
    let circuit = async || lag::measure(&ledger.pool).await.unwrap().circuit;
    eventually("the circuit is open", async || circuit().await == Some(CircuitState::Open)).await;
    broker.set_down(false);
    eventually("the circuit is closed", async || circuit().await == Some(CircuitState::Closed)).await;
    running.abort();
}

#[tokio::test]
async fn a_broker_that_never_answers_is_given_up_and_tried_anew() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    ledger.append(&messages(Topic::OrderCreate, 20, 5)).await;
    broker.set_silent(true);
    let impatient = RelayConfig { send_timeout_ms: 50, ..quick() };
    let mut relay = ledger.relay(&broker, impatient, "relay-1");
    step_until(&mut relay, |_| broker.producers_made() >= 2).await;
    assert_eq!(ledger.pending().await, 20);

    broker.set_silent(false);
    drain(&ledger, &mut relay).await;
}

#[tokio::test]
async fn a_lost_database_connection_costs_no_message() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let running = tokio::spawn(ledger.relay(&broker, quick(), "relay-1").run(CancellationToken::new()));
    let mut appended = 0;
    for _ in 0..5 {
        let all = messages(Topic::OrderCreate, 100, 20);
        ledger.append(&all).await;
        appended += all.len();
        const CUT_ALL: &str = "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        sqlx::query(CUT_ALL).execute(&ledger.pool).await.unwrap();
    }
    eventually("all is sent", async || lag::measure(&ledger.pool).await.is_ok_and(|lag| lag.pending_messages == 0))
        .await;
    assert_eq!(broker.ids().iter().collect::<HashSet<_>>().len(), appended);
    running.abort();
}

#[tokio::test]
async fn others_see_how_the_way_to_the_broker_looks_and_whether_a_relay_still_says_so() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let observe = async || health::observe(&ledger.pool).await.unwrap();
    let nothing = BrokerHealth { circuit: None, reported_ago_ms: None, oldest_unsent_age_ms: None };
    assert_eq!(observe().await, nothing);
    ledger.append(&messages(Topic::OrderCreate, 3, 3)).await;
    ledger.append(&messages(Topic::StockLock, 3, 3)).await;
    assert!(observe().await.oldest_unsent_age_ms.is_some(), "the outbox ages without any relay");

    let config = RelayConfig { circuit_report_interval_ms: 50, ..quick() };
    let relay = tokio::spawn(ledger.relay(&broker, config, "relay-1").run(CancellationToken::new()));
    eventually("all is sent", async || observe().await.oldest_unsent_age_ms.is_none()).await;
    assert_eq!(observe().await.circuit, Some(CircuitState::Closed));
    // With nothing to send and nothing changed it goes on saying so.
    let reported_at = async || -> chrono::DateTime<chrono::Utc> {
        sqlx::query_scalar("select reported_at from relay.circuit").fetch_one(&ledger.pool).await.unwrap()
    };
    let first = reported_at().await;
    eventually("it is said again", async || reported_at().await > first).await;
    relay.abort();
}

#[tokio::test]
async fn a_relay_that_lost_its_lease_says_no_more_of_the_circuit() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _shown = metrics::set_default_local_recorder(&recorder);
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let shows = |value: &str| {
        recorder.handle().render().contains(&format!("ledger_circuit_state{{dependency=\"broker\"}} {value}\n"))
    };
    let mut first = ledger.relay(&broker, quick(), "relay-1");
    step_until_active(&mut first).await;
    assert!(shows("0"));

    ledger.expire_lease().await;
    step_until_active(&mut ledger.relay(&broker, quick(), "relay-2")).await;
    step_until(&mut first, |report| report.role == Role::Standby).await;
    assert!(shows("NaN"));
}
