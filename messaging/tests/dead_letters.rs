//! What operators do with dead letters.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use messaging::dead_letter::{self, DeadLetterError, DeadLetterState, Discarded, Filter, StoppedAt};
use messaging::{ConsumerRuntime, Effect, HandleError, Handler, ReceivedMessage, Topic};
use support::{CONSUMER, Gated, PATIENCE, Trouble, World, broken, quick, unsupported};
use uuid::{Uuid, uuid};

const FIRST: Uuid = uuid!("018f2c3e-7b1a-7c3d-9e4f-0a1b2c3d4e5f");

fn of_consumer() -> Filter {
    Filter { consumer: Some(CONSUMER.into()), limit: 100, ..Filter::default() }
}

async fn discard(world: &World, id: i64, by: &str) -> Result<Discarded, DeadLetterError> {
    let mut transaction = world.pool.begin().await.unwrap();
    let discarded = dead_letter::discard(&mut transaction, id, by, "nobody wants it").await?;
    transaction.commit().await.unwrap();
    Ok(discarded)
}

/// Orders 1, 2, 3 of one key, the first of them dead.
async fn world_with_a_blocked_key() -> World {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Poison]);
    for number in 1..=3 {
        world.send("0001", number).await;
    }
    world.settle().await;
    world
}

#[tokio::test]
async fn a_redrive_applies_a_keys_messages_in_the_order_they_came() {
    let mut world = world_with_a_blocked_key().await;
    let letters = dead_letter::list(&world.pool, &of_consumer()).await.unwrap();
    let states: Vec<DeadLetterState> = letters.iter().map(|letter| letter.state).collect();
    assert_eq!(states, [DeadLetterState::Dead, DeadLetterState::Behind, DeadLetterState::Behind]);

    // Any of the key's letters will do: order comes first.
    let redriven = dead_letter::redrive(&world.pool, &*world.handler, letters[2].id, "alice").await.unwrap();

    assert_eq!((redriven.delivered, redriven.stopped_at), (3, None));
    assert_eq!(world.effects("0001").await, [1, 2, 3]);
    assert_eq!(dead_letter::count(&world.pool, CONSUMER).await.unwrap(), 0);
    let resolved = dead_letter::find(&world.pool, letters[0].id).await.unwrap();
    assert_eq!(resolved.state, DeadLetterState::Redriven);
    assert_eq!(resolved.resolved_by.as_deref(), Some("alice"));
    assert!(resolved.resolved_at.is_some());

    world.send("0001", 4).await;
    world.settle().await;
    assert_eq!(world.effects("0001").await, [1, 2, 3, 4], "the key is free again");
}

#[tokio::test]
async fn a_redrive_stops_at_the_first_that_fails_again() {
    let world = world_with_a_blocked_key().await;
    world.handler.trouble(2, [Trouble::Failed]);
    let letters = dead_letter::list(&world.pool, &of_consumer()).await.unwrap();
    let redriven = dead_letter::redrive(&world.pool, &*world.handler, letters[0].id, "alice").await.unwrap();
    assert_eq!(redriven.delivered, 1);
    assert_eq!(redriven.stopped_at, Some(StoppedAt { id: letters[1].id, reason: "it did not work".into() }));
    assert_eq!(world.effects("0001").await, [1]);
    let stopped = dead_letter::find(&world.pool, letters[1].id).await.unwrap();
    assert_eq!((stopped.state, stopped.reason.as_str()), (DeadLetterState::Dead, "it did not work"));

    dead_letter::redrive(&world.pool, &*world.handler, letters[1].id, "alice").await.unwrap();
    assert_eq!(world.effects("0001").await, [1, 2, 3]);
}

#[tokio::test]
async fn a_redrive_while_a_dependency_is_away_changes_nothing() {
    let world = world_with_a_blocked_key().await;
    world.handler.trouble(1, [Trouble::Transient]);
    let first = dead_letter::list(&world.pool, &of_consumer()).await.unwrap().remove(0);
    let redriven = dead_letter::redrive(&world.pool, &*world.handler, first.id, "alice").await.unwrap();
    assert_eq!(redriven.delivered, 0);
    assert_eq!(dead_letter::count(&world.pool, CONSUMER).await.unwrap(), 3);
}

#[tokio::test]
async fn a_discarded_message_is_never_applied_and_lets_the_others_be_redriven() {
    let world = world_with_a_blocked_key().await;
    let letters = dead_letter::list(&world.pool, &of_consumer()).await.unwrap();
    discard(&world, letters[0].id, "bob").await.unwrap();
    assert_eq!(world.effects("0001").await, [0; 0], "nobody carries redrives out here");
    dead_letter::redrive(&world.pool, &*world.handler, letters[1].id, "bob").await.unwrap();
    assert_eq!(world.effects("0001").await, [2, 3]);

    let everything = Filter { with_resolved: true, ..of_consumer() };
    let states: Vec<DeadLetterState> =
        dead_letter::list(&world.pool, &everything).await.unwrap().iter().map(|letter| letter.state).collect();
    assert_eq!(states, [DeadLetterState::Discarded, DeadLetterState::Redriven, DeadLetterState::Redriven]);
}

#[tokio::test]
async fn what_cannot_be_done_says_why() {
    let world = world_with_a_blocked_key().await;
    let letter = dead_letter::list(&world.pool, &of_consumer()).await.unwrap().remove(0);
    let redrive = |id| dead_letter::redrive(&world.pool, &*world.handler, id, "alice");

    assert!(matches!(redrive(404).await, Err(DeadLetterError::NotFound(404))));
    assert!(matches!(
        dead_letter::redrive(&world.pool, &Stranger, letter.id, "alice").await,
        Err(DeadLetterError::OtherConsumer { .. })
    ));
    discard(&world, letter.id, "bob").await.unwrap();
    let again = discard(&world, letter.id, "bob").await.unwrap_err();
    assert_eq!(again.to_string(), format!("dead letter {} is discarded already", letter.id));
    assert!(matches!(redrive(letter.id).await, Err(DeadLetterError::Resolved { .. })));
}

#[tokio::test]
async fn a_message_no_one_can_read_stays_until_it_is_discarded() {
    let mut world = World::new().await;
    let mut nameless = broken("0001");
    nameless.ordering_key = String::new();
    nameless.body = "\u{0}\u{1}not json".into();
    world.send_message(nameless).await;
    world.settle().await;
    let letter = dead_letter::list(&world.pool, &of_consumer()).await.unwrap().remove(0);
    assert_eq!((letter.message_id, letter.waiting_key), (None, None));
    assert_eq!(letter.body, b"\0\x01not json", "kept as it came");

    let redriven = dead_letter::redrive(&world.pool, &*world.handler, letter.id, "alice").await.unwrap();
    assert_eq!(redriven.delivered, 0);
    discard(&world, letter.id, "alice").await.unwrap();
    assert_eq!(dead_letter::count(&world.pool, CONSUMER).await.unwrap(), 0);
}

#[tokio::test]
async fn a_dead_letter_that_is_delivered_again_is_one_row() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Poison, Trouble::Poison]);
    let message_id = world.send("0001", 1).await;
    world.settle().await;
    world.send_message(support::outgoing(message_id, "0001", 1)).await;
    world.settle().await;
    assert_eq!(world.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn one_that_was_discarded_and_fails_again_is_a_new_case() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Poison, Trouble::Poison]);
    let message_id = world.send("0001", 1).await;
    world.settle().await;
    let letter = dead_letter::list(&world.pool, &of_consumer()).await.unwrap().remove(0);
    discard(&world, letter.id, "bob").await.unwrap();
    world.send_message(support::outgoing(message_id, "0001", 1)).await;
    world.settle().await;
    let letters = dead_letter::list(&world.pool, &of_consumer()).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].state, &letters[0].resolved_by), (DeadLetterState::Dead, &None));
}

#[tokio::test]
async fn an_arrival_during_a_redrive_waits_for_its_turn_and_holds_no_other_key_up() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Poison]);
    world.send("0001", 1).await;
    world.settle().await;
    let letter = dead_letter::list(&world.pool, &of_consumer()).await.unwrap().remove(0);

    let gated = Gated::new(world.handler.clone());
    world.send("0001", 2).await;
    world.send("0001", 3).await;
    world.send("0002", 4).await;
    let pool = world.pool.clone();
    let redrive = dead_letter::redrive(&pool, &gated, letter.id, "alice");
    let arrivals = async {
        gated.entered().await;
        world.step_until(async |world| world.effects("0002").await == [4]).await;
        for _ in 0..10 {
            world.runtime.step().await.unwrap();
        }
        assert_eq!(world.effects("0001").await, [0; 0], "neither applied before its turn");
        assert_eq!(dead_letter::count(&world.pool, CONSUMER).await.unwrap(), 1);
        world.restart();
        gated.let_through();
        world.settle().await
    };
    let (redriven, report) = tokio::join!(redrive, arrivals);

    assert_eq!(redriven.unwrap().stopped_at, None);
    assert!(report.polled >= 2, "what waited was not acknowledged and comes again: {report:?}");
    assert_eq!(world.effects("0001").await, [1, 2, 3]);
    assert_eq!(dead_letter::count(&world.pool, CONSUMER).await.unwrap(), 0);
}

#[tokio::test]
async fn what_was_applied_and_comes_again_does_not_wait_behind_a_dead_letter() {
    let mut world = World::new().await;
    let applied = world.send("0001", 1).await;
    world.handler.trouble(2, [Trouble::Poison]);
    world.send("0001", 2).await;
    world.settle().await;

    world.send_message(support::outgoing(applied, "0001", 1)).await;
    let report = world.settle().await;

    assert_eq!((report.duplicate, report.behind), (1, 0));
    assert_eq!(world.dead_letters().await.len(), 1, "it had its effect");
    assert_eq!(world.effects("0001").await, [1]);
}

#[tokio::test]
async fn what_was_edited_and_redriven_stays_so_when_it_comes_again_as_it_was() {
    let mut world = World::new().await;
    let came = unsupported("0001", "9.0");
    world.send_message(came.clone()).await;
    world.settle().await;
    let letter = dead_letter::list(&world.pool, &of_consumer()).await.unwrap().remove(0);
    let mended = came.body.replace("9.0", "1.0");
    let mut transaction = world.pool.begin().await.unwrap();
    dead_letter::edit(&mut transaction, letter.id, mended.as_bytes(), "alice", "an old sender").await.unwrap();
    transaction.commit().await.unwrap();
    dead_letter::redrive(&world.pool, &*world.handler, letter.id, "alice").await.unwrap();

    // Once while its key is free, once while it is blocked.
    world.send_message(came.clone()).await;
    world.settle().await;
    world.send_message(unsupported("0001", "9.1")).await;
    world.settle().await;
    world.send_message(came.clone()).await;
    world.settle().await;

    let resolved = dead_letter::find(&world.pool, letter.id).await.unwrap();
    assert_eq!((resolved.state, resolved.resolved_by.as_deref()), (DeadLetterState::Redriven, Some("alice")));
    assert_eq!((resolved.body, resolved.original_body), (mended.into_bytes(), Some(came.body.into_bytes())));
    assert_eq!(world.effects("0001").await, [0]);
    assert_eq!(dead_letter::count(&world.pool, CONSUMER).await.unwrap(), 1, "the other one");
}

#[tokio::test]
async fn what_fails_while_another_blocks_its_key_waits_behind_that() {
    let world = World::new().await;
    let gated = Arc::new(Gated::new(world.handler.clone()));
    let mut member = ConsumerRuntime::new(Arc::new(world.broker.clone()), world.pool.clone(), gated.clone(), quick());
    world.handler.trouble(1, [Trouble::Poison]);
    world.send("0001", 1).await;
    let failing = async { while member.step().await.unwrap().dead_lettered == 0 {} };
    let meanwhile = async {
        gated.entered().await;
        // As another member would, or the reader of what the broker gave up.
        sqlx::query(
            "INSERT INTO messaging.dead_letter
                (consumer, topic, broker, queue, queue_offset, waiting_key, message_id, identity, body, properties, state, reason, cause, attempts)
             VALUES ($1, 'order-create', 'b', 0, 0, $2, $3, $3::text, convert_to($4, 'UTF8'), '{}', 'dead', 'first', 'failed: first', 1)",
        )
        .bind(CONSUMER)
        .bind(support::order_id("0001").as_str())
        .bind(FIRST)
        .bind(support::outgoing(FIRST, "0001", 7).body)
        .execute(&world.pool)
        .await
        .unwrap();
        gated.let_through();
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(failing, meanwhile) }).await.unwrap();

    let groups = dead_letter::groups(&world.pool, &Filter::default()).await.unwrap();
    let groups: Vec<(&str, i64, i64)> =
        groups.iter().map(|group| (group.cause.as_str(), group.dead, group.behind)).collect();
    assert_eq!(groups, [("failed: first", 1, 1)], "each group that is shown can be redriven");
    let letters = dead_letter::list(&world.pool, &of_consumer()).await.unwrap();
    assert_eq!(letters[1].cause, "poison: it never will", "what it failed of is kept");
    dead_letter::redrive(&world.pool, &*world.handler, letters[0].id, "alice").await.unwrap();
    assert_eq!(world.effects("0001").await, [7, 1]);
}

#[tokio::test]
async fn what_is_given_up_while_somebody_redrives_its_key_waits_too() {
    let world = World::new().await;
    let gated = Arc::new(Gated::new(world.handler.clone()));
    let mut member = ConsumerRuntime::new(Arc::new(world.broker.clone()), world.pool.clone(), gated.clone(), quick());
    world.handler.trouble(1, [Trouble::Poison; 100]);
    world.send("0001", 1).await;
    world.send("0002", 2).await;
    let mut redriving = world.pool.begin().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || $2, 20))";
    let key = support::order_id("0001");
    sqlx::query(lock).bind(CONSUMER).bind(key.as_str()).execute(&mut *redriving).await.unwrap();
    for _ in 0..1_000 {
        gated.let_through();
    }

    let until_the_other_is_applied = async {
        while world.effects("0002").await != [2] {
            assert_eq!(member.step().await.unwrap().dead_lettered, 0);
        }
        member.step().await.unwrap();
    };
    tokio::time::timeout(PATIENCE, until_the_other_is_applied).await.unwrap();
    assert_eq!(world.dead_letters().await.len(), 0);
    redriving.commit().await.unwrap();
    tokio::time::timeout(PATIENCE, async { while member.step().await.unwrap().dead_lettered == 0 {} }).await.unwrap();
    assert_eq!(world.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn what_one_redrive_leaves_of_a_long_key_is_said() {
    let world = world_with_a_blocked_key().await;
    let letter = dead_letter::list(&world.pool, &of_consumer()).await.unwrap().remove(0);
    world.handler.trouble(2, [Trouble::Failed]);
    let stopped = dead_letter::redrive(&world.pool, &*world.handler, letter.id, "alice").await.unwrap();
    assert_eq!((stopped.delivered, stopped.left), (1, 2));

    let more = i64::from(dead_letter::MAX_ROWS_PER_REDRIVE);
    sqlx::query(
        "INSERT INTO messaging.dead_letter
            (consumer, topic, broker, queue, queue_offset, waiting_key, identity, body, properties, state, reason, cause, attempts)
         SELECT consumer, topic, broker, queue, queue_offset, waiting_key, n::text, body, properties, state, reason, cause, attempts
         FROM messaging.dead_letter, generate_series(1, $1) AS n
         WHERE id = (SELECT max(id) FROM messaging.dead_letter)",
    )
    .bind(more)
    .execute(&world.pool)
    .await
    .unwrap();
    let next = dead_letter::list(&world.pool, &of_consumer()).await.unwrap().remove(0);
    let cut_off = dead_letter::redrive(&world.pool, &*world.handler, next.id, "alice").await.unwrap();
    assert_eq!((i64::from(cut_off.delivered), cut_off.stopped_at, cut_off.left), (more, None, 2));
}

#[tokio::test]
async fn resolved_letters_are_forgotten_after_their_time() {
    let world = world_with_a_blocked_key().await;
    let letters = dead_letter::list(&world.pool, &of_consumer()).await.unwrap();
    discard(&world, letters[0].id, "bob").await.unwrap();
    let forget = |retention| dead_letter::forget_resolved(&world.pool, retention, 100);
    assert_eq!(forget(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(forget(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(dead_letter::count(&world.pool, CONSUMER).await.unwrap(), 2, "the others wait still");
}

struct Stranger;

#[async_trait]
impl Handler for Stranger {
    fn name(&self) -> &'static str {
        "stranger"
    }

    fn topics(&self) -> &'static [Topic] {
        &[]
    }

    async fn handle(&self, _: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        unreachable!("it is asked for nothing")
    }
}
