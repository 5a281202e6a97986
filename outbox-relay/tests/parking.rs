//! Messages that can never be sent, and what people decide about them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use messaging::Topic;
use outbox_relay::{OutboxRelay, RelayConfig, lag, parked};
use support::broker::RecordingBroker;
use support::{Ledger, Message, drain, eventually, message};

/// One message the broker finds too large, between others of its key and of another key of the same lane.
struct Oversize {
    ledger: Ledger,
    broker: RecordingBroker,
    relay: OutboxRelay,
    before: Message,
    large: Message,
    behind: Message,
    other: Message,
}

const KEY: &str = "ORD1";

async fn oversize() -> Oversize {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let before = message(Topic::OrderCreate, KEY);
    let large = Message { body: "x".repeat(5_000), ..message(Topic::OrderCreate, KEY) };
    let behind = message(Topic::OrderCreate, KEY);
    let other = Message { key: "ORD2".to_owned(), ..message(Topic::OrderCreate, KEY) };
    ledger.append(&[before.clone(), large.clone(), behind.clone(), other.clone()]).await;
    let mut relay = ledger.relay(&broker, RelayConfig::default(), "relay-1");
    drain(&ledger, &mut relay).await;
    Oversize { ledger, broker, relay, before, large, behind, other }
}

impl Oversize {
    async fn parked(&self) -> Vec<parked::ParkedMessage> {
        parked::list(&self.ledger.pool, None, false, 100).await.unwrap()
    }

    async fn step_until_nothing_is_parked(&mut self) {
        let relay = &mut self.relay;
        eventually("nothing is parked", async || {
            relay.step().await.unwrap();
            parked::list(&self.ledger.pool, None, false, 1).await.unwrap().is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_too_large_is_parked_its_key_waits_and_the_lane_goes_on() {
    let mut case = oversize().await;
    assert_eq!(case.broker.ids_of_key(Topic::OrderCreate, KEY), [case.before.id]);
    assert_eq!(case.broker.ids_of_key(Topic::OrderCreate, "ORD2"), [case.other.id]);
    let parked = case.parked().await;
    assert_eq!(parked.iter().map(|row| row.message_id).collect::<Vec<_>>(), [case.large.id, case.behind.id]);
    assert_eq!(parked[0].reason, "message of 5000 bytes is over the limit of 1024");
    assert_eq!((parked[0].state.as_str(), parked[1].state.as_str()), ("parked", "behind"));

    // A relay that starts later knows it, too.
    let later = message(Topic::OrderCreate, KEY);
    case.ledger.append(std::slice::from_ref(&later)).await;
    case.ledger.expire_lease().await;
    let mut next = case.ledger.relay(&case.broker, RelayConfig::default(), "relay-2");
    drain(&case.ledger, &mut next).await;
    case.relay = next;
    assert_eq!(case.parked().await.len(), 3);
    assert_eq!(lag::measure(&case.ledger.pool).await.unwrap().parked_messages, 3);
    assert_eq!(case.broker.ids_of_key(Topic::OrderCreate, KEY), [case.before.id]);
}

#[tokio::test]
async fn a_released_message_goes_first_and_those_behind_it_follow() {
    let mut case = oversize().await;
    case.broker.set_max_body_bytes(10_000);
    let id = case.parked().await[0].id();
    assert!(parked::release(&case.ledger.pool, id, "operator").await.unwrap());
    case.step_until_nothing_is_parked().await;
    assert_eq!(case.broker.ids_of_key(Topic::OrderCreate, KEY), [case.before.id, case.large.id, case.behind.id]);

    let later = message(Topic::OrderCreate, KEY);
    case.ledger.append(std::slice::from_ref(&later)).await;
    drain(&case.ledger, &mut case.relay).await;
    assert_eq!(case.broker.ids_of_key(Topic::OrderCreate, KEY).last(), Some(&later.id));
}

#[tokio::test]
async fn a_message_released_in_vain_is_parked_again() {
    let mut case = oversize().await;
    case.broker.set_max_body_bytes(2_000);
    let id = case.parked().await[0].id();
    parked::release(&case.ledger.pool, id, "operator").await.unwrap();
    let relay = &mut case.relay;
    let pool = case.ledger.pool.clone();
    eventually("it is parked again", async || {
        relay.step().await.unwrap();
        parked::list(&pool, None, false, 1).await.unwrap()[0].reason.ends_with("limit of 2000")
    })
    .await;
    assert_eq!(case.parked().await.len(), 2);
    assert_eq!(case.broker.ids_of_key(Topic::OrderCreate, KEY), [case.before.id]);
}

#[tokio::test]
async fn a_skipped_message_is_given_up_with_a_record_of_who_and_why() {
    let mut case = oversize().await;
    let id = case.parked().await[0].id();
    assert!(parked::skip(&case.ledger.pool, id, "operator", "a test order").await.unwrap());
    case.step_until_nothing_is_parked().await;
    assert_eq!(case.broker.ids_of_key(Topic::OrderCreate, KEY), [case.before.id, case.behind.id]);
    let all = parked::list(&case.ledger.pool, None, true, 100).await.unwrap();
    assert_eq!(all[0].state, "skipped");
    assert_eq!(all[0].decided_by.as_deref(), Some("operator"));
    assert_eq!(all[0].decision_reason.as_deref(), Some("a test order"));
    assert!(!parked::skip(&case.ledger.pool, id, "operator", "again").await.unwrap());
}

#[tokio::test]
async fn what_waits_behind_another_cannot_be_decided_about() {
    let case = oversize().await;
    let behind = case.parked().await[1].id();
    assert!(!parked::release(&case.ledger.pool, behind, "operator").await.unwrap());
}

#[tokio::test]
async fn a_message_for_a_topic_nobody_knows_is_parked() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let lost = Message { topic: "order-creation", ..message(Topic::OrderCreate, KEY) };
    let other = Message { key: "ORD2".to_owned(), ..message(Topic::OrderCreate, KEY) };
    ledger.append(&[lost.clone(), other.clone()]).await;
    drain(&ledger, &mut ledger.relay(&broker, RelayConfig::default(), "relay-1")).await;
    assert_eq!(broker.ids(), [other.id]);
    let parked = parked::list(&ledger.pool, None, false, 10).await.unwrap();
    assert_eq!(parked[0].message_id, lost.id);
    assert!(parked[0].reason.starts_with("unknown topic order-creation"), "{}", parked[0].reason);
}

#[tokio::test]
async fn a_topic_missing_on_the_broker_is_created() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    broker.forget_topic(Topic::OrderCreate, true);
    let placed = message(Topic::OrderCreate, KEY);
    ledger.append(std::slice::from_ref(&placed)).await;
    drain(&ledger, &mut ledger.relay(&broker, RelayConfig::default(), "relay-1")).await;
    assert_eq!(broker.ids(), [placed.id]);
}

#[tokio::test]
async fn messages_of_a_topic_that_cannot_be_created_are_parked_in_the_end() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    broker.forget_topic(Topic::OrderCreate, false);
    ledger.append(&[message(Topic::OrderCreate, KEY), message(Topic::StockLock, "7")]).await;
    let config = RelayConfig { unknown_topic_attempts: 3, backoff_max_ms: 20, ..RelayConfig::default() };
    drain(&ledger, &mut ledger.relay(&broker, config, "relay-1")).await;
    assert_eq!(parked::list(&ledger.pool, None, false, 10).await.unwrap()[0].reason, "unknown topic order-create");
    assert_eq!(broker.ids().len(), 1);
}
