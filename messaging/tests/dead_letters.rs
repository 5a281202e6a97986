//! What operators do with dead letters.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use messaging::dead_letter::{self, DeadLetterError, DeadLetterState, Discarded, Filter, StoppedAt};
use messaging::{Effect, HandleError, Handler, ReceivedMessage, Topic};
use sqlx::PgPool;
use support::{CONSUMER, Trouble, World, broken};
use tokio::sync::Semaphore;

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
async fn an_arrival_during_a_redrive_waits_for_its_turn() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Poison]);
    world.send("0001", 1).await;
    world.settle().await;
    let letter = dead_letter::list(&world.pool, &of_consumer()).await.unwrap().remove(0);

    let gated = Gated { inner: world.handler.clone(), entered: Semaphore::new(0), gate: Semaphore::new(0) };
    world.send("0001", 2).await;
    let mut runtime = world.take_runtime();
    let redrive = dead_letter::redrive(&world.pool, &gated, letter.id, "alice");
    let arrival = async {
        let _entered = gated.entered.acquire().await.unwrap();
        while runtime.step().await.unwrap().applied == 0 {}
    };
    let gatekeeper = async {
        world.eventually("the arrival waits for the key", || somebody_waits_for_a_key(&world.pool)).await;
        gated.gate.add_permits(1);
    };
    let (redriven, (), ()) = tokio::join!(redrive, arrival, gatekeeper);

    assert_eq!(redriven.unwrap().delivered, 1);
    assert_eq!(world.effects("0001").await, [1, 2]);
    assert_eq!(dead_letter::count(&world.pool, CONSUMER).await.unwrap(), 0);
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

async fn somebody_waits_for_a_key(pool: &PgPool) -> bool {
    let waiting = "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted)";
    sqlx::query_scalar(waiting).fetch_one(pool).await.unwrap()
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

/// Says when it was called, and waits to be let through.
struct Gated {
    inner: Arc<support::Recorder>,
    entered: Semaphore,
    gate: Semaphore,
}

#[async_trait]
impl Handler for Gated {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn topics(&self) -> &'static [Topic] {
        self.inner.topics()
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        self.entered.add_permits(1);
        let _through = self.gate.acquire().await.unwrap();
        self.inner.handle(batch).await
    }
}
