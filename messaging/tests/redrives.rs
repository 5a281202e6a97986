//! Redriving many dead letters at once: which, in which order, how often, and what a crash or a failure leaves behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use messaging::Handler;
use messaging::dead_letter::redrives::runner::{RedriveConfig, RedriveRunner};
use messaging::dead_letter::redrives::{self, PlannedGroup, Redrive, Selection};
use messaging::dead_letter::{self, DeadLetterError, Filter, Group};
use support::{CONSUMER, Trouble, World, order_id, unsupported};
use tokio_util::sync::CancellationToken;

const POISONED: &str = "poison: it never will";
const FAILED: &str = "failed: it did not work";
const FAST: i32 = 10_000;

/// Keys 0001 and 0002 are dead of one cause, 0003 of another; one message waits behind each. Key 0004 is well.
async fn world_with_two_causes() -> World {
    let mut world = World::new().await;
    for (order, trouble) in [(1, Trouble::Poison), (2, Trouble::Poison), (3, Trouble::Failed)] {
        world.handler.trouble(order * 10, vec![trouble; 3]);
    }
    for number in [10, 20, 30, 40, 11, 21, 31, 41] {
        world.send(&format!("{:04}", number / 10), number).await;
    }
    world.settle().await;
    world.handler.no_trouble();
    world
}

fn runner(world: &World, name: &str) -> RedriveRunner {
    let config = RedriveConfig { poll_interval_ms: 10, retry_pause_ms: 1, max_keys: 2, ..RedriveConfig::default() };
    let handlers: [Arc<dyn Handler>; 1] = [world.handler.clone()];
    RedriveRunner::new(world.pool.clone(), handlers, config, name.into())
}

async fn start(world: &World, selection: &Selection) -> Result<Redrive, DeadLetterError> {
    start_at(world, selection, FAST).await
}

async fn start_at(world: &World, selection: &Selection, rate: i32) -> Result<Redrive, DeadLetterError> {
    let mut transaction = world.pool.begin().await.unwrap();
    let redrive = redrives::start(&mut transaction, selection, rate, "alice").await?;
    transaction.commit().await.unwrap();
    Ok(redrive)
}

async fn carried_out(world: &World, redrive: &Redrive) -> Redrive {
    assert!(runner(world, "w").step().await.unwrap(), "there is one to carry out");
    redrives::find(&world.pool, redrive.redrive_id).await.unwrap()
}

fn of_cause(cause: &str) -> Selection {
    Selection { cause: Some(cause.into()), ..Selection::default() }
}

async fn groups(world: &World) -> Vec<(String, i64, i64, i64)> {
    let groups = dead_letter::groups(&world.pool, &Filter::default()).await.unwrap();
    groups.into_iter().map(|Group { cause, dead, behind, keys, .. }| (cause, dead, behind, keys)).collect()
}

#[tokio::test]
async fn letters_are_grouped_by_what_is_wrong_and_who_waits_counts_to_the_key_s_first() {
    let world = world_with_two_causes().await;
    assert_eq!(groups(&world).await, [(POISONED.into(), 2, 2, 2), (FAILED.into(), 1, 1, 1)]);
    let sample = dead_letter::groups(&world.pool, &Filter::default()).await.unwrap().remove(1);
    assert_eq!((sample.consumer.as_str(), sample.topic.as_str()), (CONSUMER, "order-create"));
    assert_eq!(sample.reason, "it did not work");
    assert_eq!(dead_letter::find(&world.pool, sample.sample_id).await.unwrap().cause, FAILED);
}

#[tokio::test]
async fn messages_nobody_can_read_have_one_cause_however_they_differ() {
    let mut world = World::new().await;
    for (order, version) in [("0001", "7.1"), ("0002", "9.0")] {
        world.send_message(unsupported(order, version)).await;
    }
    world.settle().await;
    assert_eq!(groups(&world).await, [("poison: version … is not supported, only 1.x is".into(), 2, 0, 2)]);
}

#[tokio::test]
async fn asking_what_would_be_done_does_nothing() {
    let world = world_with_two_causes().await;
    let plan = redrives::plan(&world.pool, &Selection::default()).await.unwrap();
    assert_eq!((plan.messages, plan.keys), (6, 3));
    let expected = |cause: &str, messages, keys| PlannedGroup {
        cause: cause.into(),
        consumer: CONSUMER.into(),
        topic: "order-create".into(),
        messages,
        keys,
    };
    assert_eq!(plan.groups, [expected(POISONED, 4, 2), expected(FAILED, 2, 1)]);
    assert_eq!(redrives::list(&world.pool, None, 10).await.unwrap(), []);
    assert!(!runner(&world, "w").step().await.unwrap());
    assert_eq!(dead_letter::count(&world.pool, CONSUMER).await.unwrap(), 6);
}

#[tokio::test]
async fn a_cause_is_redriven_key_by_key_in_order_and_the_others_stay() {
    let world = world_with_two_causes().await;
    let redrive = start(&world, &of_cause(POISONED)).await.unwrap();
    assert_eq!((redrive.state.as_str(), redrive.selected, redrive.delivered, redrive.keys), ("running", 4, 0, 2));

    let done = carried_out(&world, &redrive).await;

    assert_eq!((done.state.as_str(), done.selected, done.delivered, done.stopped_keys), ("done", 4, 4, 0));
    assert!(done.is_over() && done.started_by == "alice");
    assert_eq!((world.effects("0001").await, world.effects("0002").await), (vec![10, 11], vec![20, 21]));
    assert_eq!(world.effects("0003").await, [0; 0]);
    assert_eq!(groups(&world).await, [(FAILED.into(), 1, 1, 1)]);
}

#[tokio::test]
async fn one_key_or_some_letters_can_be_redriven_alone() {
    let world = world_with_two_causes().await;
    let key = Selection { waiting_key: Some(order_id("0002").to_string()), ..Selection::default() };
    let redrive = start(&world, &key).await.unwrap();
    assert_eq!(carried_out(&world, &redrive).await.delivered, 2);

    // The letter that waits: its key is gone through from the first on.
    let letters = dead_letter::list(&world.pool, &Filter { limit: 10, ..Filter::default() }).await.unwrap();
    let waits =
        letters.iter().rfind(|letter| letter.waiting_key.as_deref() == Some(order_id("0003").as_str())).unwrap();
    let redrive = start(&world, &Selection { ids: vec![waits.id], ..Selection::default() }).await.unwrap();
    assert_eq!(carried_out(&world, &redrive).await.delivered, 2);

    assert_eq!((world.effects("0002").await, world.effects("0003").await), (vec![20, 21], vec![30, 31]));
    assert_eq!(world.effects("0001").await, [0; 0]);
}

#[tokio::test]
async fn a_key_that_fails_again_stops_alone_and_does_not_count_as_delivered() {
    let world = world_with_two_causes().await;
    world.handler.trouble(11, [Trouble::Failed]);
    let redrive = start(&world, &Selection::default()).await.unwrap();

    let done = carried_out(&world, &redrive).await;

    assert_eq!((done.state.as_str(), done.selected, done.delivered, done.stopped_keys), ("done", 6, 5, 1));
    assert_eq!((world.effects("0001").await, world.effects("0003").await), (vec![10], vec![30, 31]));
    let stopped = redrives::stopped_keys(&world.pool, redrive.redrive_id, 10).await.unwrap();
    assert_eq!(stopped.len(), 1);
    assert!(stopped[0].reason.ends_with(": it did not work"), "{stopped:?}");
    assert_eq!(groups(&world).await, [(FAILED.into(), 1, 0, 1)], "what had only waited is dead now, of its own cause");
}

#[tokio::test]
async fn a_redrive_of_which_nothing_is_delivered_has_failed() {
    let world = world_with_two_causes().await;
    world.handler.trouble(30, [Trouble::Poison]);
    let redrive = start(&world, &of_cause(FAILED)).await.unwrap();
    let done = carried_out(&world, &redrive).await;
    assert_eq!((done.state.as_str(), done.delivered, done.stopped_keys), ("failed", 0, 1));
}

#[tokio::test]
async fn a_dependency_that_is_away_for_a_moment_stops_nothing() {
    let world = world_with_two_causes().await;
    world.handler.trouble(30, [Trouble::Transient, Trouble::Transient]);
    let redrive = start(&world, &of_cause(FAILED)).await.unwrap();
    assert_eq!(carried_out(&world, &redrive).await.delivered, 2);
    world.handler.trouble(10, vec![Trouble::Transient; 100]);
    let redrive = start(&world, &of_cause(POISONED)).await.unwrap();
    let done = carried_out(&world, &redrive).await;
    assert_eq!((done.delivered, done.stopped_keys), (2, 1));
    assert_eq!(groups(&world).await, [(POISONED.into(), 1, 1, 1)], "no cause of its own");
}

#[tokio::test]
async fn what_can_not_be_redriven_is_refused_and_nothing_changes() {
    let world = world_with_two_causes().await;
    let unknown = start(&world, &of_cause("failed: no such thing")).await;
    assert!(matches!(unknown, Err(DeadLetterError::NothingToRedrive)), "{unknown:?}");
    let ids = |ids: Vec<i64>| Selection { ids, ..Selection::default() };
    let absent = start(&world, &ids(vec![404])).await;
    assert!(matches!(absent, Err(DeadLetterError::NotFound(404))), "{absent:?}");

    let letter = dead_letter::list(&world.pool, &Filter { limit: 1, ..Filter::default() }).await.unwrap().remove(0);
    let mut transaction = world.pool.begin().await.unwrap();
    dead_letter::discard(&mut transaction, letter.id, "bob", "a test sent it").await.unwrap();
    transaction.commit().await.unwrap();
    let discarded = start(&world, &ids(vec![letter.id])).await;
    assert!(matches!(discarded, Err(DeadLetterError::Resolved { .. })), "{discarded:?}");
    assert!(matches!(redrives::plan(&world.pool, &ids(vec![letter.id])).await, Err(DeadLetterError::Resolved { .. })));
}

#[tokio::test]
async fn those_behind_a_discarded_letter_go_on_by_themselves() {
    let world = world_with_two_causes().await;
    let letter = dead_letter::list(&world.pool, &Filter { limit: 1, ..Filter::default() }).await.unwrap().remove(0);
    let mut transaction = world.pool.begin().await.unwrap();
    let discarded = dead_letter::discard(&mut transaction, letter.id, "bob", "a test sent it").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(discarded.behind, 1);

    assert!(runner(&world, "w").step().await.unwrap());

    let redrive = redrives::find(&world.pool, discarded.redrive_id.unwrap()).await.unwrap();
    assert_eq!((redrive.state.as_str(), redrive.delivered, redrive.started_by.as_str()), ("done", 1, "bob"));
    assert_eq!(world.effects("0001").await, [11], "the discarded one never is");
}

#[tokio::test]
async fn a_slow_redrive_takes_turns_with_those_that_wait() {
    let mut world = World::new().await;
    for (order, number) in [("0001", 1), ("0002", 100)] {
        world.handler.trouble(number, [Trouble::Poison]);
        for number in number..number + 60 {
            world.send(order, number).await;
        }
    }
    world.settle().await;
    let selection = |order: &str| Selection { waiting_key: Some(order_id(order).to_string()), ..Selection::default() };
    let slow = start_at(&world, &selection("0001"), 1).await.unwrap();
    let config = RedriveConfig { max_redrives: 1, turn_ms: 1, ..RedriveConfig::default() };
    let handlers: [Arc<dyn Handler>; 1] = [world.handler.clone()];
    let stop = CancellationToken::new();
    let running = RedriveRunner::new(world.pool.clone(), handlers, config, "w".into()).run(stop.clone());
    let find = |redrive: &Redrive| redrives::find(&world.pool, redrive.redrive_id);
    assert!(!redrives::is_one_at_work(&world.pool).await.unwrap());
    let running = tokio::spawn(running);
    world.eventually("the slow one begins", || async { find(&slow).await.unwrap().delivered > 0 }).await;
    assert!(redrives::is_one_at_work(&world.pool).await.unwrap());

    let quick = start(&world, &selection("0002")).await.unwrap();
    world.eventually("the other is carried out", || async { find(&quick).await.unwrap().is_over() }).await;

    let unfinished = find(&slow).await.unwrap();
    assert!(!unfinished.is_over(), "{unfinished:?}");
    let goes_on = || async { find(&slow).await.unwrap().delivered > unfinished.delivered };
    world.eventually("the slow one goes on", goes_on).await;
    stop.cancel();
    running.await.unwrap();
    let effects = world.effects("0001").await;
    assert_eq!(effects, (1..=effects.len() as i64).collect::<Vec<_>>(), "in order, none twice");
    assert_eq!(world.effects("0002").await, (100..160).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_away_stops_its_key_after_its_tries_however_many_wait_for_their_turn() {
    let mut world = World::new().await;
    for (order, number) in [("0001", 1), ("0002", 2)] {
        world.handler.trouble(number, [Trouble::Poison]);
        world.send(order, number).await;
    }
    world.settle().await;
    let mut waiting = Vec::new();
    for (order, number) in [("0001", 1), ("0002", 2)] {
        world.handler.trouble(number, vec![Trouble::Transient; 1_000]);
        let key = Selection { waiting_key: Some(order_id(order).to_string()), ..Selection::default() };
        waiting.push(start(&world, &key).await.unwrap());
    }
    // A turn ends with the first renewal of the claim, long before the last try.
    let config = RedriveConfig {
        max_redrives: 1,
        turn_ms: 1,
        claim_ttl_ms: 1_000,
        retry_pause_ms: 50,
        ..RedriveConfig::default()
    };
    let handlers: [Arc<dyn Handler>; 1] = [world.handler.clone()];
    let stop = CancellationToken::new();
    let running = tokio::spawn(RedriveRunner::new(world.pool.clone(), handlers, config, "w".into()).run(stop.clone()));
    for redrive in waiting {
        let find = || async { redrives::find(&world.pool, redrive.redrive_id).await.unwrap() };
        world.eventually("it comes to its end", || async { find().await.is_over() }).await;
        let ended = find().await;
        assert_eq!((ended.state.as_str(), ended.delivered, ended.stopped_keys), ("failed", 0, 1));
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn another_goes_on_after_a_runner_died_and_nothing_happens_twice() {
    let world = world_with_two_causes().await;
    let redrive = start(&world, &Selection::default()).await.unwrap();
    // It applied a message and died before it could mark it: the effect is there, the letter is not marked.
    let first = dead_letter::list(&world.pool, &Filter { limit: 1, ..Filter::default() }).await.unwrap().remove(0);
    let claim = "UPDATE messaging.redrive SET worker = 'dead', worker_until = clock_timestamp() + interval '2 s'";
    sqlx::query(claim).execute(&world.pool).await.unwrap();
    let message = messaging::ReceivedMessage::from_parts(&first.topic, &first.body, &first.properties).unwrap();
    assert_eq!(world.handler.handle(&[message]).await, [Ok(messaging::Effect::Applied)]);

    assert!(!runner(&world, "other").step().await.unwrap(), "the claim still holds");
    let stop = CancellationToken::new();
    let other = tokio::spawn(runner(&world, "other").run(stop.clone()));
    world
        .eventually("another takes it over", || async {
            redrives::find(&world.pool, redrive.redrive_id).await.unwrap().is_over()
        })
        .await;
    stop.cancel();
    other.await.unwrap();

    let done = redrives::find(&world.pool, redrive.redrive_id).await.unwrap();
    assert_eq!((done.state.as_str(), done.delivered), ("done", 6));
    let mut effects = world.all_effects().await;
    effects.sort_unstable();
    assert_eq!(effects, [10, 11, 20, 21, 30, 31, 40, 41]);
    let history = dead_letter::history(&world.pool, first.id).await.unwrap();
    assert_eq!(history.last().unwrap().reason.as_deref(), Some("it had had its effect before"));
}

#[tokio::test]
async fn a_cancelled_redrive_stops_and_can_not_be_cancelled_again() {
    let world = world_with_two_causes().await;
    let redrive = start_at(&world, &Selection::default(), 1).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(runner(&world, "w").run(stop.clone()));
    let find = || async { redrives::find(&world.pool, redrive.redrive_id).await.unwrap() };
    world.eventually("it begins", || async { find().await.delivered > 0 }).await;
    let worker = find().await.worker.unwrap();
    assert!(worker.starts_with("w-"), "{worker}");

    let cancel = || async {
        let mut transaction = world.pool.begin().await.unwrap();
        let cancelled = redrives::cancel(&mut transaction, redrive.redrive_id).await?;
        transaction.commit().await.unwrap();
        Ok::<_, DeadLetterError>(cancelled)
    };
    assert_eq!(cancel().await.unwrap().state, "cancelled");
    assert!(matches!(cancel().await, Err(DeadLetterError::RedriveEnded { .. })));
    stop.cancel();
    running.await.unwrap();
    let left = dead_letter::count(&world.pool, CONSUMER).await.unwrap();
    assert_eq!(left, 6 - find().await.delivered, "what was delivered stays so");
    assert!(left > 0);
}

#[tokio::test]
async fn a_cancelled_redrive_ends_with_what_is_being_applied() {
    let world = world_with_two_causes().await;
    let redrive = start_at(&world, &Selection::default(), 5).await.unwrap();
    // So long that no renewal of the claim tells it.
    let config = RedriveConfig { claim_ttl_ms: 600_000, max_keys: 1, ..RedriveConfig::default() };
    let handlers: [Arc<dyn Handler>; 1] = [world.handler.clone()];
    let runner = RedriveRunner::new(world.pool.clone(), handlers, config, "w".into());
    let running = tokio::spawn(async move { runner.step().await.unwrap() });
    world
        .eventually("it begins", || async {
            redrives::find(&world.pool, redrive.redrive_id).await.unwrap().delivered > 0
        })
        .await;

    let mut transaction = world.pool.begin().await.unwrap();
    let cancelled = redrives::cancel(&mut transaction, redrive.redrive_id).await.unwrap();
    transaction.commit().await.unwrap();

    assert!(running.await.unwrap());
    let ended = redrives::find(&world.pool, redrive.redrive_id).await.unwrap();
    assert!(ended.delivered <= cancelled.delivered + 1, "{cancelled:?} {ended:?}");
    assert_eq!(dead_letter::count(&world.pool, CONSUMER).await.unwrap(), 6 - ended.delivered);
}

#[tokio::test]
async fn a_redrive_is_no_faster_than_was_asked_for() {
    let world = world_with_two_causes().await;
    start_at(&world, &Selection::default(), 10).await.unwrap();
    let started_at = Instant::now();
    runner(&world, "w").step().await.unwrap();
    // Six messages: five intervals, less what may be caught up.
    assert!(started_at.elapsed() >= Duration::from_millis(400), "{:?}", started_at.elapsed());
    assert_eq!(dead_letter::count(&world.pool, CONSUMER).await.unwrap(), 0);
}

#[tokio::test]
async fn ended_redrives_are_forgotten_after_their_time() {
    let world = world_with_two_causes().await;
    start(&world, &of_cause(POISONED)).await.unwrap();
    let forget = |retention| redrives::forget_ended(&world.pool, retention, 100);
    assert_eq!(forget(Duration::ZERO).await.unwrap(), 0, "it still runs");
    runner(&world, "w").step().await.unwrap();
    assert_eq!(forget(Duration::from_secs(3_600)).await.unwrap(), 0);
    assert_eq!(forget(Duration::ZERO).await.unwrap(), 1);
}
