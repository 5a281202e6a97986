//! How consumers work through their messages when messages, handlers, brokers and databases fail.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use messaging::dead_letter::{self, Filter};
use messaging::memory::Disorder;
use messaging::{RuntimeConfig, RuntimeError, StepReport, property};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::{CONSUMER, Trouble, World, broken, outgoing, quick};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[tokio::test]
async fn messages_are_applied_in_order_and_acknowledged() {
    let mut world = World::new().await;
    for number in 1..=50 {
        world.send("0001", number).await;
        world.send("0002", number).await;
    }
    let report = world.settle().await;
    assert_eq!(report, StepReport { polled: 100, applied: 100, ..StepReport::default() });
    assert_eq!(world.effects("0001").await, (1..=50).collect::<Vec<_>>());
    assert_eq!(world.effects("0002").await, (1..=50).collect::<Vec<_>>());
    assert_eq!(world.lag().await, 0);
}

#[tokio::test]
async fn copies_for_another_consumer_are_acknowledged_and_leave_no_trace() {
    let mut world = World::new().await;
    let copy = |name: &str| {
        let mut copy = outgoing(Uuid::now_v7(), "0001", 1);
        copy.properties.extend([(property::REPLAY, "true".to_owned()), (property::REPLAY_FOR, name.to_owned())]);
        copy
    };
    world.send_message(copy("another")).await;
    let mut unreadable = broken("0002");
    unreadable.properties.push((property::REPLAY_FOR, "another".to_owned()));
    world.send_message(unreadable).await;
    world.send("0001", 2).await;
    world.send_message(copy(CONSUMER)).await;

    let report = world.settle().await;

    assert_eq!((report.polled, report.applied, report.dead_lettered), (4, 2, 0));
    assert_eq!(world.effects("0001").await, [2, 1], "its own copy is for it");
    assert_eq!(world.lag().await, 0);
    let claims: i64 = sqlx::query_scalar("select count(*) from messaging.inbox").fetch_one(&world.pool).await.unwrap();
    assert_eq!(claims, 2, "whoever a copy is not for does not remember it");
}

#[tokio::test]
async fn where_a_replay_says_nothing_a_copy_becomes_no_letter_and_takes_nothing_from_its_message() {
    let mut world = World::new().await;
    world.handler.is_quiet_on_replay.store(true, Ordering::Relaxed);
    world.handler.trouble(1, [Trouble::Poison]);
    world.send("0001", 1).await;
    world.settle().await;
    world.handler.no_trouble();

    // Behind a letter of its key, and beyond reading.
    let lost = outgoing(Uuid::now_v7(), "0001", 2);
    for mut copy in [lost.clone(), broken("0001"), broken("0002")] {
        copy.properties.push((property::REPLAY, "true".to_owned()));
        world.send_message(copy).await;
    }
    let report = world.settle().await;
    assert_eq!((report.polled, report.behind, report.dead_lettered), (3, 0, 0));
    assert_eq!(world.dead_letters().await.len(), 1);

    // What it was a copy of is still missing: it comes, waits and is applied.
    world.send_message(lost).await;
    assert_eq!(world.settle().await.behind, 1);
    let first = dead_letter::list(&world.pool, &Filter { limit: 1, ..Filter::default() }).await.unwrap().remove(0);
    let redriven = dead_letter::redrive(&world.pool, world.handler.as_ref(), first.id, "alice").await.unwrap();
    assert_eq!((redriven.delivered, redriven.left), (2, 0));
    assert_eq!(world.effects("0001").await, [1, 2]);
}

#[tokio::test]
async fn a_poison_message_becomes_a_dead_letter_and_the_others_go_on() {
    let mut world = World::new().await;
    world.send("0001", 1).await;
    world.send_message(broken("0001")).await;
    world.send("0001", 3).await;
    world.send("0002", 1).await;
    world.send("0002", 2).await;

    let report = world.settle().await;

    assert_eq!((report.applied, report.dead_lettered, report.behind), (3, 1, 1));
    assert_eq!(world.effects("0001").await, [1], "what came before it is applied, what came after waits");
    assert_eq!(world.effects("0002").await, [1, 2]);
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].0, "dead");
    assert!(letters[0].1.starts_with("body is no message envelope"), "{}", letters[0].1);
    assert_eq!(letters[1].0, "behind");
    assert_eq!(world.lag().await, 0, "no queue stands still for it");
}

#[tokio::test]
async fn messages_that_arrive_later_wait_behind_the_dead_letter_too() {
    let mut world = World::new().await;
    world.send_message(broken("0001")).await;
    world.settle().await;
    world.restart();
    world.send("0001", 2).await;
    world.send("0002", 1).await;
    let report = world.settle().await;
    assert_eq!((report.applied, report.behind), (1, 1));
    assert_eq!(world.effects("0001").await, [0; 0]);
}

#[tokio::test]
async fn a_message_whose_order_cannot_be_told_holds_nobody_up() {
    let mut world = World::new().await;
    let mut nameless = broken("0001");
    nameless.ordering_key = String::new();
    world.send_message(nameless).await;
    world.send("0001", 1).await;
    let report = world.settle().await;
    assert_eq!((report.applied, report.dead_lettered, report.behind), (1, 1, 0));
}

#[tokio::test]
async fn while_a_dependency_is_away_nothing_is_lost_or_overtaken() {
    let mut world = World::new().await;
    // More failures than attempts: being away is nobody's fault.
    world.handler.trouble(1, [Trouble::Transient; 10]);
    for number in 1..=3 {
        world.send("0001", number).await;
    }
    world.send("0002", 7).await;

    let first = world.runtime.step().await.unwrap();
    assert!(first.retried <= 1);
    let report = world.settle().await;

    assert_eq!(world.effects("0001").await, [1, 2, 3]);
    assert_eq!(world.effects("0002").await, [7]);
    assert_eq!(report.dead_lettered, 0);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn what_waits_for_a_dependency_is_not_acknowledged() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Transient; 10_000]);
    world.send("0001", 1).await;
    world.send("0001", 2).await;
    for _ in 0..5 {
        world.runtime.step().await.unwrap();
    }
    assert_eq!(world.lag().await, 2);

    // The process dies; the messages are still there for the next one.
    world.handler.no_trouble();
    world.restart();
    world.settle().await;
    assert_eq!(world.effects("0001").await, [1, 2]);
}

#[tokio::test]
async fn memory_is_bounded_while_messages_wait() {
    let mut world = World::with(RuntimeConfig { max_waiting_messages: 10, ..quick() }).await;
    world.handler.trouble(1, [Trouble::Transient; 10_000]);
    for number in 1..=40 {
        world.send("0001", number).await;
    }
    for _ in 0..20 {
        assert!(world.runtime.step().await.unwrap().waiting <= 10);
    }
    world.handler.no_trouble();
    world.settle().await;
    assert_eq!(world.effects("0001").await, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_that_keeps_failing_is_given_up_after_its_attempts() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Failed; 3]);
    world.send("0001", 1).await;
    world.send("0001", 2).await;
    world.send("0002", 3).await;

    let report = world.settle().await;

    assert_eq!((report.retried, report.dead_lettered, report.behind), (2, 1, 1), "three attempts");
    assert_eq!(world.effects("0001").await, [0; 0]);
    assert_eq!(world.effects("0002").await, [3]);
    let letters = world.dead_letters().await;
    assert_eq!(letters[0], ("dead".to_owned(), "it did not work".to_owned()));
    assert_eq!(letters[1].0, "behind");
}

#[tokio::test]
async fn a_message_that_fails_now_and_then_is_applied_in_its_turn() {
    let mut world = World::new().await;
    world.handler.trouble(2, [Trouble::Failed, Trouble::Transient, Trouble::Failed]);
    for number in 1..=4 {
        world.send("0001", number).await;
    }
    let report = world.settle().await;
    assert_eq!((report.applied, report.retried, report.dead_lettered), (4, 3, 0));
    assert_eq!(world.effects("0001").await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_handlers_verdict_of_poison_is_final() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Poison]);
    world.send("0001", 1).await;
    let report = world.settle().await;
    assert_eq!((report.retried, report.dead_lettered), (0, 1));
}

#[tokio::test]
async fn a_panic_takes_no_other_message_with_it() {
    let mut world = World::new().await;
    world.handler.trouble(5, [Trouble::Panic; 100]);
    for number in 1..=9 {
        world.send(&format!("000{number}"), number).await;
    }
    let report = world.settle().await;
    assert_eq!((report.applied + report.duplicate, report.dead_lettered), (8, 1));
    for number in (1..=9).filter(|number| *number != 5) {
        assert_eq!(world.effects(&format!("000{number}")).await, [number]);
    }
    let letters = world.dead_letters().await;
    assert_eq!(letters[0].1, "the handler panicked: the handler has a bug");
}

#[tokio::test]
async fn a_crash_between_effect_and_acknowledgement_has_one_effect() {
    let mut world = World::new().await;
    world.send("0001", 1).await;
    world.send("0001", 2).await;
    let broker = world.broker.clone();
    world.handler.after_batch(move || broker.set_down(true));
    let crash = loop {
        match world.runtime.step().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(crash, RuntimeError::Broker(_)));
    assert_eq!(world.effects("0001").await, [1, 2]);

    world.broker.set_down(false);
    world.handler.after_batch(|| {});
    assert_eq!(world.lag().await, 2, "nothing was acknowledged");
    let report = world.settle().await;
    assert_eq!((report.applied, report.duplicate), (0, 2));
    assert_eq!(world.effects("0001").await, [1, 2]);
}

#[tokio::test]
async fn everything_three_times_and_shuffled_has_one_effect_each() {
    let mut world = World::new().await;
    world.broker.set_disorder(Some(Disorder { copies: 3, shuffle_seed: Some(42) }));
    for number in 1..=30 {
        world.send(&format!("{number:04}"), number).await;
    }
    world.broker.set_disorder(None);
    world.broker.redeliver_everything(1, 42);
    let report = world.settle().await;
    assert_eq!((report.applied, report.duplicate), (30, 150));
    for number in 1..=30 {
        assert_eq!(world.effects(&format!("{number:04}")).await, [number]);
    }
}

#[tokio::test]
async fn without_a_place_for_dead_letters_nothing_is_acknowledged() {
    let mut world = World::new().await;
    let rename = |from: &str, to: &str| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("ALTER TABLE messaging.{from} RENAME TO {to}")))
    };
    rename("dead_letter", "hidden").execute(&world.pool).await.unwrap();
    world.send("0001", 1).await;
    let error = loop {
        match world.runtime.step().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RuntimeError::Database(_)));
    assert_eq!(world.lag().await, 1);
    rename("hidden", "dead_letter").execute(&world.pool).await.unwrap();
    world.settle().await;
    assert_eq!(world.effects("0001").await, [1]);
}

#[tokio::test]
async fn a_running_consumer_outlives_the_broker_and_ends_when_asked() {
    let mut world = World::new().await;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(world.take_runtime().run(shutdown.clone()));

    world.send("0001", 1).await;
    world.eventually("applied", || async { world.effects("0001").await == [1] }).await;
    world.broker.set_down(true);
    world.eventually("the member left", || async { world.broker.members("ticket-consumer-group-test") == 0 }).await;
    world.broker.set_down(false);
    world.send("0001", 2).await;
    world.eventually("applied after the outage", || async { world.effects("0001").await == [1, 2] }).await;
    world.eventually("acknowledged", || async { world.lag().await == 0 }).await;

    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(world.broker.members("ticket-consumer-group-test"), 0, "it left its group");
}

#[tokio::test]
async fn a_consumer_that_only_fails_still_ends_when_asked() {
    let mut world = World::with(RuntimeConfig { backoff_max_ms: 60_000, backoff_initial_ms: 60_000, ..quick() }).await;
    world.handler.trouble(1, [Trouble::Transient; 10_000]);
    world.send("0001", 1).await;
    let failed = Arc::new(AtomicBool::new(false));
    let noted = failed.clone();
    world.handler.after_batch(move || noted.store(true, Ordering::SeqCst));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(world.take_runtime().run(shutdown.clone()));
    world.eventually("tried", || async { failed.load(Ordering::SeqCst) }).await;
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(world.lag().await, 1);
}

#[tokio::test]
async fn keys_may_be_worked_on_side_by_side_and_keep_their_order() {
    let mut world = World::with(RuntimeConfig { min_workers: 4, max_workers: 4, ..quick() }).await;
    for number in 1..=20 {
        for order in ["0001", "0002", "0003", "0004", "0005"] {
            world.send(order, number).await;
        }
    }
    world.handler.trouble(7, [Trouble::Transient]);
    world.settle().await;
    for order in ["0001", "0002", "0003", "0004", "0005"] {
        assert_eq!(world.effects(order).await, (1..=20).collect::<Vec<_>>());
    }
}

/// Six keys, a third of their messages in trouble, the process restarted on the way; then an operator redrives.
#[tokio::test]
async fn whatever_fails_each_key_has_its_effects_once_and_in_order() {
    for seed in [1, 2, 3] {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new().await;
        let orders = ["0001", "0002", "0003", "0004", "0005", "0006"];
        for number in 1..=120 {
            world.send(orders[number as usize % orders.len()], number).await;
            let troubles = [Trouble::Transient, Trouble::Failed, Trouble::Panic, Trouble::Poison];
            if random.random_bool(0.3) {
                let count = random.random_range(1..=3);
                world.handler.trouble(number, (0..count).map(|_| troubles[random.random_range(0..troubles.len())]));
            }
            if random.random_bool(0.1) {
                world.runtime.step().await.unwrap();
            }
            if random.random_bool(0.05) {
                world.restart();
            }
        }
        world.settle().await;
        world.handler.no_trouble();
        let filter = Filter { limit: 500, ..Filter::default() };
        while let Some(letter) = dead_letter::list(&world.pool, &filter).await.unwrap().first() {
            dead_letter::redrive(&world.pool, &*world.handler, letter.id, "operator").await.unwrap();
        }
        for (n, order) in orders.iter().enumerate() {
            let sent: Vec<i64> = (1..=120).filter(|number| *number as usize % orders.len() == n).collect();
            assert_eq!(world.effects(order).await, sent, "order {order} with seed {seed}");
        }
    }
}
