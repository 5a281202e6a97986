//! New orders leave the broker by themselves, and come back.

use std::time::Duration;

use domain::Mode;
use rollout::store;

use crate::support::{Shop, mode_of, policy};

#[tokio::test]
async fn while_the_circuit_is_open_new_orders_go_around_the_broker() {
    let shop = Shop::open(1).await;
    let (rollout, mut watcher) = shop.process_with(|thresholds| thresholds.recover_after_ms = 2_000).await;
    let (other, mut other_watcher) = shop.process().await;
    shop.report_circuit("open").await;
    watcher.step().await.unwrap();
    other_watcher.step().await.unwrap();
    assert_eq!((mode_of(&rollout), mode_of(&other)), (Mode::Sync, Mode::Sync));
    assert_eq!(shop.action_names().await, ["rollout.fall_back"], "two processes saw it, one recorded it");
    let recorded = shop.actions().await.remove(0);
    assert_eq!((recorded.actor.as_str(), &recorded.detail["reason"]), ("system", &"broker_circuit_open".into()));

    // Half open is no reason to come back; nor is closed, until it has been so for a while.
    shop.report_circuit("half_open").await;
    watcher.step().await.unwrap();
    shop.report_circuit("closed").await;
    watcher.step().await.unwrap();
    assert_eq!(mode_of(&rollout), Mode::Sync);
    let returning = async {
        while mode_of(&rollout) == Mode::Sync {
            watcher.step().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), returning).await.unwrap();
    other_watcher.step().await.unwrap();
    assert_eq!(mode_of(&other), Mode::Async);
    assert_eq!(shop.action_names().await, ["rollout.fall_back", "rollout.return"]);
}

#[tokio::test]
async fn an_old_outbox_sends_new_orders_around_the_broker_even_if_no_relay_says_anything() {
    let shop = Shop::open(1).await;
    shop.place(Mode::Async).await;
    let (calm, _) = shop.process().await;
    assert_eq!(mode_of(&calm), Mode::Async, "nothing waits for half a minute yet");
    let (rollout, _) = shop.process_with(|thresholds| thresholds.outbox_age_limit_ms = 0).await;
    assert_eq!(mode_of(&rollout), Mode::Sync);
    assert_eq!(shop.actions().await[0].detail["reason"], "outbox_too_old");
}

#[tokio::test]
async fn the_last_word_of_a_relay_that_died_counts_for_nothing() {
    let shop = Shop::open(1).await;
    shop.report_circuit("open").await;
    sqlx::query("UPDATE relay.circuit SET reported_at = reported_at - interval '1 minute'")
        .execute(&shop.pool)
        .await
        .unwrap();
    let (rollout, _) = shop.process().await;
    assert_eq!(mode_of(&rollout), Mode::Async);
}

#[tokio::test]
async fn a_fallback_outlives_a_restart_and_ends_when_it_is_switched_off() {
    let shop = Shop::open(1).await;
    shop.report_circuit("open").await;
    let (before, _) = shop.process().await;
    let (after, mut watcher) = shop.process().await;
    assert_eq!((mode_of(&before), mode_of(&after)), (Mode::Sync, Mode::Sync));

    store::put(&shop.pool, "test", &policy(r#"{"mode":"async","fallback":"none"}"#), None).await.unwrap();
    watcher.step().await.unwrap();
    assert_eq!(mode_of(&after), Mode::Async, "they wait for the broker now");
    assert_eq!(shop.action_names().await, ["rollout.fall_back", "rollout.change", "rollout.return"]);
}
