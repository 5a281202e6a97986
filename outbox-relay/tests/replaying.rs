//! Sending messages of the past again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;

use messaging::Broker;
use outbox_relay::cleanup::Cleaner;
use outbox_relay::replay::{self, Progress, Replay, ReplayError, ReplayRequest, Target};
use outbox_relay::{RelayConfig, lag};
use support::broker::RecordingBroker;
use support::replays::{TOPIC, begin, copied, is_copy, parts, plan, request, run, sent};
use support::{Ledger, Message, drain, message, messages};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

fn ids(messages: &[Message]) -> Vec<Uuid> {
    messages.iter().map(|message| message.id).collect()
}

#[tokio::test]
async fn the_same_messages_go_again_in_the_order_of_their_keys_and_say_so() {
    let orders = messages(TOPIC, 120, 7);
    let (ledger, broker, head) = sent(&orders).await;
    let before = lag::measure(&ledger.pool).await.unwrap();

    let progress = run(begin(&ledger, &broker, request(0, head)).await.unwrap()).await.unwrap();

    assert_eq!((progress.sent, progress.messages, progress.is_done), (120, 120, true));
    for key in 0..7 {
        let key = format!("ORD{key}");
        let once: Vec<Uuid> = orders.iter().filter(|order| order.key == key).map(|order| order.id).collect();
        assert_eq!(broker.ids_of_key(TOPIC, &key), [once.clone(), once].concat(), "{key}");
    }
    let copies: Vec<_> = broker.everything().into_iter().filter(is_copy).collect();
    let originals: HashMap<Uuid, String> = orders.iter().map(|order| (order.id, order.body.clone())).collect();
    assert_eq!(copies.len(), 120);
    assert!(copies.iter().all(|copy| originals[&copy.message_id] == copy.body));
    assert_eq!(lag::measure(&ledger.pool).await.unwrap(), before, "a replay is no work of the relay's");
    assert_eq!(ledger.outbox_rows().await, 120);
    let known = replay::list(&ledger.pool, 10).await.unwrap();
    assert_eq!((known.len(), known[0].shown_state(), known[0].sent_messages), (1, "done", 120));
    assert_eq!(known[0].requested_by, "user:1");
}

#[tokio::test]
async fn only_the_range_the_stream_or_the_key_is_sent() {
    let orders = messages(TOPIC, 60, 6);
    let (ledger, broker, head) = sent(&orders).await;
    run(begin(&ledger, &broker, request(10, 20)).await.unwrap()).await.unwrap();
    let mut copies = copied(&broker);
    copies.sort_unstable();
    let mut wanted = ids(&orders[10..20]);
    wanted.sort_unstable();
    assert_eq!(copies, wanted);

    let of_key = ReplayRequest { key: Some("ORD3".to_owned()), ..request(0, head) };
    let found = plan(&ledger, &of_key).await;
    assert_eq!((found.messages, found.first_position, found.last_position), (10, Some(4), Some(58)));
    let progress = run(begin(&ledger, &broker, of_key).await.unwrap()).await.unwrap();
    assert_eq!((progress.sent, copied(&broker).len()), (10, 20));

    let of_stream = ReplayRequest { stream_id: Some("test-7".to_owned()), ..request(0, head) };
    run(begin(&ledger, &broker, of_stream).await.unwrap()).await.unwrap();
    assert_eq!(broker.ids_of_key(TOPIC, &orders[6].key).last(), Some(&orders[6].id));
    assert_eq!(copied(&broker).len(), 21);
}

#[tokio::test]
async fn what_the_relay_has_not_sent_or_has_parked_is_left_to_it() {
    let large = Message { body: "x".repeat(5_000), ..message(TOPIC, "ORD9") };
    let behind = message(TOPIC, "ORD9");
    let first = messages(TOPIC, 20, 4);
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    ledger.append(&first).await;
    ledger.append(&[large, behind]).await;
    let mut relay = ledger.relay(&broker, RelayConfig::default(), "relay-1");
    support::step_until(&mut relay, |report| report.parked > 0).await;
    drain(&ledger, &mut relay).await;
    let head = ledger.append(&messages(TOPIC, 8, 8)).await;

    let found = plan(&ledger, &request(0, head)).await;
    assert_eq!((found.messages, found.unsent, found.parked, found.expired), (20, 8, 2, 0));
    run(begin(&ledger, &broker, request(0, head)).await.unwrap()).await.unwrap();
    let mut copies = copied(&broker);
    copies.sort_unstable();
    let mut wanted = ids(&first);
    wanted.sort_unstable();
    assert_eq!(copies, wanted);
}

#[tokio::test]
async fn killed_it_goes_on_where_it_was() {
    let orders = messages(TOPIC, 200, 16);
    let (ledger, broker, head) = sent(&orders).await;
    let mut killed = begin(&ledger, &broker, request(0, head)).await.unwrap();
    killed.step(&CancellationToken::new()).await.unwrap();
    let before = killed.progress();
    assert!(before.sent > 0 && !before.is_done, "{before:?}");
    // As a kill -9 would leave it: the lease is not given back.
    drop(killed);
    let known = replay::list(&ledger.pool, 1).await.unwrap();
    assert!(matches!(begin(&ledger, &broker, request(0, head)).await, Err(ReplayError::Running(_))));
    ledger.expire_lease().await;
    assert_eq!(replay::list(&ledger.pool, 1).await.unwrap()[0].shown_state(), "interrupted");

    let resumed = Replay::resume(parts(&ledger, &broker), known[0].replay_id, None).await.unwrap();
    assert_eq!(resumed.progress(), Progress { sent_here: 0, ..before });
    let progress = run(resumed).await.unwrap();

    assert_eq!((progress.sent, progress.is_done), (200, true));
    let mut copies = copied(&broker);
    assert_eq!(copies.len(), 200, "what was written down is not sent again");
    copies.sort_unstable();
    copies.dedup();
    assert_eq!(copies.len(), 200, "and nothing is left out");
    let again = Replay::resume(parts(&ledger, &broker), known[0].replay_id, None).await;
    assert!(matches!(again, Err(ReplayError::Ended(_))));
    let unknown = Replay::resume(parts(&ledger, &broker), 4711, None).await;
    assert!(matches!(unknown, Err(ReplayError::Unknown(4711))));
}

#[tokio::test]
async fn one_replay_of_a_topic_to_a_target_at_a_time() {
    let (ledger, broker, head) = sent(&messages(TOPIC, 10, 2)).await;
    let first = begin(&ledger, &broker, request(0, head)).await.unwrap();
    assert!(matches!(begin(&ledger, &broker, request(0, head)).await, Err(ReplayError::Running(_))));
    let for_one = ReplayRequest { target: Target::Consumer("notification".to_owned()), ..request(0, head) };
    run(begin(&ledger, &broker, for_one).await.unwrap()).await.unwrap();
    run(first).await.unwrap();
    run(begin(&ledger, &broker, request(0, head)).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn copies_for_one_consumer_name_it_and_another_topic_must_exist() {
    let (ledger, broker, head) = sent(&messages(TOPIC, 10, 2)).await;
    let for_one = ReplayRequest { target: Target::Consumer("notification".to_owned()), ..request(0, head) };
    run(begin(&ledger, &broker, for_one).await.unwrap()).await.unwrap();
    let named = |message: &messaging::OutgoingMessage| {
        message.properties.iter().any(|p| p.0 == "replayFor" && p.1 == "notification")
    };
    assert_eq!(broker.everything().iter().filter(|message| named(message)).count(), 10);

    let elsewhere = ReplayRequest { target: Target::Topic("inspection".to_owned()), ..request(0, head) };
    let refused = begin(&ledger, &broker, elsewhere.clone()).await;
    assert!(matches!(refused, Err(ReplayError::NoSuchTopic(name)) if name == "inspection"));
    broker.create_topics(&["inspection"], 8).await.unwrap();
    run(begin(&ledger, &broker, elsewhere).await.unwrap()).await.unwrap();
    assert_eq!(broker.everything().len(), 10 + 10 + 10);
}

#[tokio::test]
async fn what_the_clean_up_took_is_counted_and_never_left_out_in_silence() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let old = ledger.append_recorded(&messages(TOPIC, 50, 1), 5).await;
    let head = ledger.append(&messages(TOPIC, 30, 1)).await;
    let mut relay = ledger.relay(&broker, RelayConfig::default(), "relay-1");
    drain(&ledger, &mut relay).await;
    let an_hour_s = 3_600;
    Cleaner::default().run(&ledger.pool, an_hour_s, 7).await.unwrap();

    let found = plan(&ledger, &request(0, head)).await;
    assert_eq!((found.messages, found.expired, found.expired_is_bound), (30, 50, false));
    assert_eq!(found.expired_through, Some(old));
    let cut = plan(&ledger, &request(old - 10, head)).await;
    assert_eq!((cut.messages, cut.expired, cut.expired_is_bound), (30, 50, true), "fewer, and no more than that");
    let whole = plan(&ledger, &request(old, head)).await;
    assert_eq!((whole.messages, whole.expired, whole.expired_through), (30, 0, None));

    // Taken away while the replay runs.
    let replay = begin(&ledger, &broker, request(old, head)).await.unwrap();
    sqlx::query("delete from store.outbox where position > $1").bind(head - 4).execute(&ledger.pool).await.unwrap();
    assert!(matches!(run(replay).await, Err(ReplayError::Overtaken { missing: 4 })));
    assert_eq!(replay::list(&ledger.pool, 1).await.unwrap()[0].shown_state(), "failed");
}
