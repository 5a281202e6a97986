//! Replays whose broker or whose process fails, and those that are not to go too fast.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use outbox_relay::RelayConfig;
use outbox_relay::replay::{self, Replay, ReplayError, ReplayRequest};
use support::broker::RecordingBroker;
use support::replays::{TOPIC, begin, copied, parts, plan, request, run, sent};
use support::{Ledger, Message, drain, message, messages};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn whoever_lost_the_lease_moves_nothing() {
    let (ledger, broker, head) = sent(&messages(TOPIC, 200, 16)).await;
    let mut frozen = begin(&ledger, &broker, request(0, head)).await.unwrap();
    frozen.step(&CancellationToken::new()).await.unwrap();
    ledger.expire_lease().await;
    let replay_id = frozen.progress().replay_id;
    let heir = Replay::resume(parts(&ledger, &broker), replay_id, None).await.unwrap();
    assert!(matches!(frozen.step(&CancellationToken::new()).await, Err(ReplayError::LeaseLost)));
    assert_eq!(run(heir).await.unwrap().sent, 200);
}

#[tokio::test]
async fn a_send_that_outlasts_the_lease_keeps_it() {
    let (ledger, broker, head) = sent(&messages(TOPIC, 10, 2)).await;
    let mut parts = parts(&ledger, &broker);
    parts.config.lease_ttl_ms = 3_000;
    let plan = plan(&ledger, &request(0, head)).await;
    let asked = (request(0, head), &plan);
    let replay = Replay::begin(parts, asked, None, "user:1", async |_, _| Ok(())).await.unwrap();
    let expires_at = async || -> chrono::DateTime<chrono::Utc> {
        let newest = "select max(expires_at) from store.lease where name like 'replay%'";
        sqlx::query_scalar(newest).fetch_one(&ledger.pool).await.unwrap()
    };
    broker.set_silent(true);
    let first = expires_at().await;
    let running = tokio::spawn(run(replay));
    let twice = first + chrono::TimeDelta::milliseconds(1_500);
    support::eventually("it is renewed twice", async || expires_at().await > twice).await;
    broker.set_silent(false);
    assert_eq!(running.await.unwrap().unwrap().sent, 10);
}

#[tokio::test]
async fn what_the_broker_refuses_is_not_sent_and_ends_the_replay() {
    let (ledger, broker, head) = sent(&messages(TOPIC, 10, 2)).await;
    broker.set_max_body_bytes(4);
    let refused = run(begin(&ledger, &broker, request(0, head)).await.unwrap()).await;
    assert!(matches!(refused, Err(ReplayError::Refused(_))), "{refused:?}");
    let known = &replay::list(&ledger.pool, 1).await.unwrap()[0];
    assert_eq!((known.shown_state(), known.sent_messages), ("failed", 0));
    assert!(known.problem.as_deref().is_some_and(|problem| problem.contains("limit of 4")), "{known:?}");
}

#[tokio::test]
async fn what_was_confirmed_beside_a_refusal_counts_as_sent() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let large = Message { body: "x".repeat(500), ..message(TOPIC, "ORD0") };
    ledger.append(&[large]).await;
    let head = ledger.append(&messages(TOPIC, 16, 16)).await;
    drain(&ledger, &mut ledger.relay(&broker, RelayConfig::default(), "relay-1")).await;
    broker.set_max_body_bytes(100);
    let refused = run(begin(&ledger, &broker, request(0, head)).await.unwrap()).await;
    assert!(matches!(refused, Err(ReplayError::Refused(_))), "{refused:?}");
    let known = &replay::list(&ledger.pool, 1).await.unwrap()[0];
    assert_eq!((known.shown_state(), known.sent_messages), ("failed", copied(&broker).len() as i64));
    assert!(known.sent_messages > 0, "those of other lanes");
}

#[tokio::test]
async fn a_broker_that_goes_away_holds_it_up_and_costs_nothing() {
    let orders = messages(TOPIC, 100, 8);
    let (ledger, broker, head) = sent(&orders).await;
    let replay = begin(&ledger, &broker, request(0, head)).await.unwrap();
    broker.set_down(true);
    let running = tokio::spawn(run(replay));
    support::eventually("it tried again", async || broker.refused_calls() >= 2).await;
    broker.set_down(false);
    assert_eq!(running.await.unwrap().unwrap().sent, 100);
    assert_eq!(copied(&broker).len(), 100);
}

#[tokio::test]
async fn a_broker_that_stays_away_is_given_up_and_the_rest_can_be_sent_later() {
    let (ledger, broker, head) = sent(&messages(TOPIC, 20, 4)).await;
    let mut impatient = parts(&ledger, &broker);
    impatient.config.give_up_after_ms = 100;
    let plan = plan(&ledger, &request(0, head)).await;
    let asked = (request(0, head), &plan);
    let replay = Replay::begin(impatient, asked, None, "user:1", async |_, _| Ok(())).await.unwrap();
    let replay_id = replay.progress().replay_id;
    broker.set_down(true);
    let away = run(replay).await;
    assert!(matches!(&away, Err(ReplayError::BrokerAway { waited_ms, .. }) if *waited_ms > 100), "{away:?}");
    assert_eq!(replay::list(&ledger.pool, 1).await.unwrap()[0].shown_state(), "interrupted");
    broker.set_down(false);
    let resumed = Replay::resume(parts(&ledger, &broker), replay_id, None).await.unwrap();
    assert_eq!((run(resumed).await.unwrap().sent, copied(&broker).len()), (20, 20));
}

#[tokio::test]
async fn told_to_stop_it_waits_for_no_broker() {
    let (ledger, broker, head) = sent(&messages(TOPIC, 20, 4)).await;
    let replay = begin(&ledger, &broker, request(0, head)).await.unwrap();
    let replay_id = replay.progress().replay_id;
    broker.set_down(true);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { replay.run(&shutdown, |_| {}).await }
    });
    support::eventually("it tried again", async || broker.refused_calls() >= 2).await;
    shutdown.cancel();
    let stopped = running.await.unwrap().unwrap();
    assert_eq!((stopped.sent, stopped.is_done), (0, false));
    assert_eq!(replay::list(&ledger.pool, 1).await.unwrap()[0].shown_state(), "interrupted");

    // Nor for the answers of one that does not give any.
    broker.set_down(false);
    broker.set_silent(true);
    let resumed = Replay::resume(parts(&ledger, &broker), replay_id, None).await.unwrap();
    let shutdown = CancellationToken::new();
    let stop_soon = async {
        support::eventually("copies are on their way", async || !copied(&broker).is_empty()).await;
        shutdown.cancel();
    };
    let (stopped, ()) = tokio::join!(resumed.run(&shutdown, |_| {}), stop_soon);
    let stopped = stopped.unwrap();
    assert_eq!((stopped.sent, stopped.is_done), (0, false), "what nobody confirmed is not sent");
    broker.set_silent(false);
    let resumed = Replay::resume(parts(&ledger, &broker), replay_id, None).await.unwrap();
    assert_eq!(run(resumed).await.unwrap().sent, 20);
}

#[tokio::test]
async fn a_low_rate_sends_little_at_a_time() {
    let (ledger, broker, head) = sent(&messages(TOPIC, 100, 16)).await;
    let found = plan(&ledger, &request(0, head)).await;
    let slow =
        Replay::begin(parts(&ledger, &broker), (request(0, head), &found), Some(10), "user:1", async |_, _| Ok(()));
    let mut slow = slow.await.unwrap();
    let mut sent = 0;
    while !slow.progress().is_done {
        slow.step(&CancellationToken::new()).await.unwrap();
        assert!(slow.progress().sent - sent <= 2, "a fifth of a second's");
        sent = slow.progress().sent;
    }
    assert_eq!((sent, copied(&broker).len()), (100, 100));
}

#[tokio::test]
async fn a_key_is_sent_no_faster_than_the_rate() {
    // Between two messages of the key there are many others, and all its messages are in one lane.
    let (ledger, broker, head) = sent(&messages(TOPIC, 90, 3)).await;
    let of_key = ReplayRequest { key: Some("ORD1".to_owned()), ..request(0, head) };
    let found = plan(&ledger, &of_key).await;
    let mut config = parts(&ledger, &broker);
    config.config.max_batch_messages = 100;
    let slow = Replay::begin(config, (of_key, &found), Some(10), "user:1", async |_, _| Ok(()));
    let mut slow = slow.await.unwrap();
    let mut sent = 0;
    while !slow.progress().is_done {
        slow.step(&CancellationToken::new()).await.unwrap();
        assert!(slow.progress().sent - sent <= 2, "a fifth of a second's");
        sent = slow.progress().sent;
    }
    assert_eq!((sent, copied(&broker).len()), (30, 30));
    assert_eq!(copied(&broker), broker.ids_of_key(TOPIC, "ORD1")[30..], "in their order, none left out");
}
