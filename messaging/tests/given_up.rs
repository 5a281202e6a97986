//! What the broker itself gave up is taken in once, as dead letters of the consumer it was for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use messaging::dead_letter::given_up::{GivenUpReader, TAKEN_IN, TakenFor, given_up_topic};
use messaging::dead_letter::{self, DeadLetter, DeadLetterState, Filter};
use messaging::{Broker, DEFAULT_CONSUMER_GROUP, OutgoingMessage, Topic, property};
use support::{CONSUMER, GROUP, Trouble, World, order_id, outgoing, unsupported};
use uuid::Uuid;

fn reader(world: &World) -> GivenUpReader {
    reader_for(world, &[CONSUMER])
}

fn reader_for(world: &World, consumers: &[&'static str]) -> GivenUpReader {
    let topics = &[Topic::OrderCreate, Topic::StockLock];
    let consumers = consumers.iter().map(|consumer| TakenFor { consumer, topics, is_quiet_on_replay: true }).collect();
    let interval = Duration::from_millis(10);
    GivenUpReader::new(Arc::new(world.broker.clone()), world.pool.clone(), DEFAULT_CONSUMER_GROUP, consumers, interval)
}

async fn give_up(world: &World, messages: &[OutgoingMessage]) {
    give_up_for(world, GROUP, messages).await;
}

/// As RocketMQ does when a client handed a message back too often.
async fn give_up_for(world: &World, group: &str, messages: &[OutgoingMessage]) {
    let topic = given_up_topic(group);
    world.broker.create_topics(&[&topic], 1).await.unwrap();
    world.broker.producer().await.unwrap().send(&topic, 0, messages).await.unwrap();
}

async fn letters(world: &World) -> Vec<DeadLetter> {
    let filter = Filter { with_resolved: true, limit: 100, ..Filter::default() };
    dead_letter::list(&world.pool, &filter).await.unwrap()
}

#[tokio::test]
async fn where_nothing_was_given_up_nothing_happens() {
    let world = World::new().await;
    assert_eq!(reader(&world).step().await.unwrap(), 0);
    assert_eq!(world.broker.members("ticket-consumer-group-given-up-test"), 0, "and nobody waits");
}

#[tokio::test]
async fn what_was_given_up_becomes_dead_letters_in_its_order_and_can_be_redriven() {
    let world = World::new().await;
    let first = Uuid::now_v7();
    give_up(
        &world,
        &[outgoing(first, "0001", 1), outgoing(Uuid::now_v7(), "0001", 2), outgoing(Uuid::now_v7(), "0002", 3)],
    )
    .await;

    assert_eq!(reader(&world).step().await.unwrap(), 3);

    let letters = letters(&world).await;
    let states: Vec<DeadLetterState> = letters.iter().map(|letter| letter.state).collect();
    assert_eq!(states, [DeadLetterState::Dead, DeadLetterState::Behind, DeadLetterState::Dead]);
    let letter = &letters[0];
    assert_eq!((letter.message_id, letter.waiting_key.as_deref()), (Some(first), Some(order_id("0001").as_str())));
    assert_eq!((letter.topic.as_str(), letter.cause.as_str()), ("order-create", TAKEN_IN));
    assert_eq!(letter.reason, "taken from %DLQ%ticket-consumer-group-test");

    dead_letter::redrive(&world.pool, &*world.handler, letter.id, "alice").await.unwrap();
    assert_eq!(world.effects("0001").await, [1, 2]);
}

#[tokio::test]
async fn nothing_is_taken_in_twice_whatever_became_of_it() {
    let world = World::new().await;
    let message = outgoing(Uuid::now_v7(), "0001", 1);
    give_up(&world, std::slice::from_ref(&message)).await;
    reader(&world).step().await.unwrap();
    assert_eq!(reader(&world).step().await.unwrap(), 0, "it is acknowledged");

    // A reader that died between its commit and the acknowledgement reads again; so does one of a copy.
    give_up(&world, std::slice::from_ref(&message)).await;
    reader(&world).step().await.unwrap();
    let letter = letters(&world).await.remove(0);
    dead_letter::redrive(&world.pool, &*world.handler, letter.id, "alice").await.unwrap();
    give_up(&world, &[message]).await;
    reader(&world).step().await.unwrap();

    let letters = letters(&world).await;
    assert_eq!((letters.len(), letters[0].state), (1, DeadLetterState::Redriven));
    assert_eq!(world.effects("0001").await, [1]);
}

#[tokio::test]
async fn what_was_applied_all_the_same_holds_nobody_up() {
    let mut world = World::new().await;
    let applied = outgoing(Uuid::now_v7(), "0001", 1);
    world.send_message(applied.clone()).await;
    world.settle().await;
    give_up(&world, &[applied]).await;
    assert_eq!(reader(&world).step().await.unwrap(), 1);
    assert_eq!(letters(&world).await.len(), 0);
    assert_eq!(reader(&world).step().await.unwrap(), 0, "it is acknowledged");
}

#[tokio::test]
async fn a_group_that_can_not_be_read_takes_nothing_from_the_others() {
    let world = World::new().await;
    sqlx::query("ALTER TABLE messaging.dead_letter ADD CONSTRAINT not_kept CHECK (consumer <> 'broken')")
        .execute(&world.pool)
        .await
        .unwrap();
    give_up_for(&world, "ticket-consumer-group-broken", &[outgoing(Uuid::now_v7(), "0001", 1)]).await;
    give_up(&world, &[outgoing(Uuid::now_v7(), "0002", 2)]).await;
    assert!(reader_for(&world, &["broken", CONSUMER]).step().await.is_err());
    let consumers: Vec<String> = letters(&world).await.into_iter().map(|letter| letter.consumer).collect();
    assert_eq!(consumers, [CONSUMER]);
}

#[tokio::test]
async fn a_copy_that_says_nothing_does_not_stand_for_the_message_itself() {
    let world = World::new().await;
    let message = outgoing(Uuid::now_v7(), "0001", 1);
    let mut copy = message.clone();
    copy.properties.push((property::REPLAY, "true".to_owned()));
    give_up(&world, &[copy]).await;
    assert_eq!(reader(&world).step().await.unwrap(), 1);
    assert_eq!(letters(&world).await.len(), 0);
    give_up(&world, &[message]).await;
    assert_eq!(reader(&world).step().await.unwrap(), 1);
    assert_eq!(letters(&world).await.len(), 1);
}

#[tokio::test]
async fn it_waits_behind_what_its_key_waits_for_already() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Poison]);
    world.send("0001", 1).await;
    world.settle().await;
    give_up(&world, &[outgoing(Uuid::now_v7(), "0001", 2)]).await;
    reader(&world).step().await.unwrap();
    let states: Vec<DeadLetterState> = letters(&world).await.iter().map(|letter| letter.state).collect();
    assert_eq!(states, [DeadLetterState::Dead, DeadLetterState::Behind]);
}

#[tokio::test]
async fn what_nobody_can_read_is_taken_in_as_it_came() {
    let world = World::new().await;
    let mut unreadable = outgoing(Uuid::now_v7(), "0001", 1);
    (unreadable.body, unreadable.event_type, unreadable.ordering_key) =
        ("not json".into(), "NOBODYS".into(), String::new());
    give_up(&world, &[unreadable.clone(), unreadable, unsupported("0002", "9.0")]).await;

    reader(&world).step().await.unwrap();

    let letters = letters(&world).await;
    assert_eq!(letters.len(), 3, "by their places on the broker");
    assert_eq!(
        (letters[0].topic.as_str(), letters[0].waiting_key.as_deref()),
        ("%DLQ%ticket-consumer-group-test", None)
    );
    assert_eq!(letters[0].body, b"not json");
    assert_eq!(letters[2].cause, "poison: version … is not supported, only 1.x is");
    assert!(letters[2].reason.starts_with("taken from %DLQ%"), "{}", letters[2].reason);
}

/// As Apache moves a message that was handed back too often: by way of %RETRY%, and where it was sent to in a property.
#[tokio::test]
async fn where_a_message_was_sent_to_is_told_by_what_the_broker_wrote() {
    let world = World::new().await;
    let mut unreadable = outgoing(Uuid::now_v7(), "0001", 1);
    (unreadable.body, unreadable.event_type) = ("not json".into(), String::new());
    let retry_topic = format!("%RETRY%{GROUP}");
    unreadable.properties = vec![("REAL_TOPIC", retry_topic), ("RETRY_TOPIC", "order-create".to_owned())];
    let mut strangers = outgoing(Uuid::now_v7(), "0002", 2);
    strangers.event_type = String::new();
    strangers.properties = vec![("RETRY_TOPIC", "order-payment".to_owned())];
    give_up(&world, &[unreadable, strangers]).await;

    reader(&world).step().await.unwrap();

    let letters = letters(&world).await;
    assert_eq!(
        (letters[0].topic.as_str(), letters[0].waiting_key.as_deref()),
        ("order-create", Some(order_id("0001").as_str()))
    );
    assert_eq!(letters[1].topic, given_up_topic(GROUP), "the consumer has no such topic");
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_kept() {
    let world = World::new().await;
    give_up(&world, &[outgoing(Uuid::now_v7(), "0001", 1)]).await;
    sqlx::query("ALTER TABLE messaging.dead_letter RENAME TO away").execute(&world.pool).await.unwrap();
    assert!(reader(&world).step().await.is_err());
    sqlx::query("ALTER TABLE messaging.away RENAME TO dead_letter").execute(&world.pool).await.unwrap();
    assert_eq!(reader(&world).step().await.unwrap(), 1);
    assert_eq!(letters(&world).await.len(), 1);
}
