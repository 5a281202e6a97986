//! What a projection remembers of its messages.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use messaging::dead_letter::{self, Filter};
use messaging::inbox;
use support::{CONSUMER, Trouble, World, database};
use uuid::Uuid;

#[tokio::test]
async fn a_message_is_claimed_once_per_consumer() {
    let pool = database().await;
    let (one, two, three) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(inbox::claim(&mut connection, "orders", &[two, one, two]).await.unwrap(), [true, true, false]);
    assert_eq!(inbox::claim(&mut connection, "orders", &[three, one]).await.unwrap(), [true, false]);
    assert_eq!(inbox::claim(&mut connection, "stock", &[one]).await.unwrap(), [true]);
    assert_eq!(inbox::claim(&mut connection, "stock", &[]).await.unwrap(), [false; 0]);
}

#[tokio::test]
async fn a_claim_whose_transaction_failed_never_was() {
    let pool = database().await;
    let message = Uuid::now_v7();
    let mut transaction = pool.begin().await.unwrap();
    assert_eq!(inbox::claim(&mut transaction, "orders", &[message]).await.unwrap(), [true]);
    transaction.rollback().await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(inbox::claim(&mut connection, "orders", &[message]).await.unwrap(), [true]);
}

#[tokio::test]
async fn of_two_transactions_at_once_one_claims() {
    let pool = database().await;
    let messages: Vec<Uuid> = (0..50).map(|_| Uuid::now_v7()).collect();
    let reversed: Vec<Uuid> = messages.iter().rev().copied().collect();
    let claim = async |messages: &[Uuid]| {
        let mut transaction = pool.begin().await.unwrap();
        let claimed = inbox::claim(&mut transaction, "orders", messages).await.unwrap();
        transaction.commit().await.unwrap();
        claimed.into_iter().filter(|claimed| *claimed).count()
    };
    let (one, other) = tokio::join!(claim(&messages), claim(&reversed));
    assert_eq!(one + other, 50, "each message went to one of them");
}

#[tokio::test]
async fn old_claims_are_forgotten_a_bounded_number_at_a_time() {
    let pool = database().await;
    let messages: Vec<Uuid> = (0..10).map(|_| Uuid::now_v7()).collect();
    let mut connection = pool.acquire().await.unwrap();
    inbox::claim(&mut connection, "orders", &messages).await.unwrap();
    assert_eq!(inbox::forget_older_than(&pool, inbox::DEFAULT_RETENTION, 100).await.unwrap(), 0);
    assert_eq!(inbox::forget_older_than(&pool, Duration::ZERO, 6).await.unwrap(), 6);
    assert_eq!(inbox::forget_older_than(&pool, Duration::ZERO, 6).await.unwrap(), 4);
}

/// A redrive that died between the effect and its mark leaves both; the next must find a duplicate, however late it comes.
#[tokio::test]
async fn what_an_undelivered_letter_needs_is_not_forgotten() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Poison]);
    let message = world.send("0001", 1).await;
    world.settle().await;
    let other = Uuid::now_v7();
    let mut connection = world.pool.acquire().await.unwrap();
    inbox::claim(&mut connection, CONSUMER, &[message, other]).await.unwrap();
    inbox::claim(&mut connection, "another", &[message]).await.unwrap();
    // Processors keep theirs with the append.
    let keys = "INSERT INTO store.command_key (scope, key, created_at)
        SELECT scope, key, now() FROM (VALUES ('inbox:test', $1), ('inbox:test', $2), ('inbox:another', $1)) AS used (scope, key)";
    sqlx::query(keys).bind(message.to_string()).bind(other.to_string()).execute(&mut *connection).await.unwrap();

    assert_eq!(inbox::forget_older_than(&world.pool, Duration::ZERO, 100).await.unwrap(), 2);
    assert_eq!(inbox::applied(&mut *connection, CONSUMER, &[message]).await.unwrap().len(), 1);
    assert_eq!(inbox::needed_keys(&world.pool).await.unwrap(), [("inbox:test".to_owned(), message.to_string())]);

    let filter = Filter { limit: 1, ..Filter::default() };
    let letter = dead_letter::list(&world.pool, &filter).await.unwrap().remove(0);
    dead_letter::redrive(&world.pool, &*world.handler, letter.id, "alice").await.unwrap();
    assert_eq!(world.effects("0001").await, [0; 0], "it was known");
    assert_eq!(inbox::forget_older_than(&world.pool, Duration::ZERO, 100).await.unwrap(), 1, "once it is delivered");
    assert_eq!(inbox::needed_keys(&world.pool).await.unwrap(), []);
}
