//! Who waits when a message of stock can't be applied: its own order, and no other order of the ticket type.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use messaging::dead_letter::{self, DeadLetterState, Filter};
use messaging::{OutgoingMessage, RuntimeConfig, property};
use support::{CONSUMER, Trouble, World, order_id, quick, stock_lock, stock_rollback};

const ORDER_A: &str = "0001";
const ORDER_B: &str = "0002";

/// Messages as they came, one per row: topic and state.
async fn rows(world: &World) -> Vec<(String, DeadLetterState)> {
    let filter = Filter { consumer: Some(CONSUMER.into()), limit: 100, ..Filter::default() };
    let letters = dead_letter::list(&world.pool, &filter).await.unwrap();
    letters.into_iter().map(|letter| (letter.topic, letter.state)).collect()
}

async fn send_all(world: &World, messages: impl IntoIterator<Item = OutgoingMessage>) {
    for message in messages {
        world.send_message(message).await;
    }
}

/// The order can be told, what it wants can't.
fn with_broken_quantity(mut message: OutgoingMessage) -> OutgoingMessage {
    message.body = message.body.replace(r#""quantity":2"#, r#""quantity":-2"#);
    message
}

#[tokio::test]
async fn a_poison_lock_holds_up_its_order_and_no_other_of_the_ticket_type() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Poison]);
    send_all(&world, [stock_lock(ORDER_A, 1), stock_lock(ORDER_B, 2)]).await;
    world.settle().await;
    send_all(&world, [stock_rollback(ORDER_A, 3), stock_rollback(ORDER_B, 4)]).await;
    world.settle().await;

    assert_eq!(world.effects(ORDER_B).await, [2, 4]);
    assert_eq!(world.effects(ORDER_A).await, [0; 0]);
    let (dead, behind) = (DeadLetterState::Dead, DeadLetterState::Behind);
    assert_eq!(rows(&world).await, [("stock-lock".to_owned(), dead), ("stock-rollback".to_owned(), behind)]);

    let filter = Filter { limit: 100, ..Filter::default() };
    let last = dead_letter::list(&world.pool, &filter).await.unwrap().pop().unwrap();
    assert_eq!(last.waiting_key.as_deref(), Some(order_id(ORDER_A).as_str()));
    let redriven = dead_letter::redrive(&world.pool, &*world.handler, last.id, "alice").await.unwrap();
    assert_eq!((redriven.delivered, redriven.stopped_at), (2, None));
    assert_eq!(world.effects(ORDER_A).await, [1, 3], "across topics, in the order they came");
}

#[tokio::test]
async fn of_a_lock_that_does_not_parse_the_order_waits_all_the_same() {
    let mut world = World::new().await;
    send_all(&world, [with_broken_quantity(stock_lock(ORDER_A, 1)), stock_lock(ORDER_B, 2)]).await;
    world.settle().await;
    send_all(&world, [stock_rollback(ORDER_A, 3)]).await;
    let report = world.settle().await;

    assert_eq!(report.behind, 1);
    assert_eq!(world.effects(ORDER_B).await, [2]);
    assert_eq!(world.effects(ORDER_A).await, [0; 0]);
}

#[tokio::test]
async fn of_a_lock_without_an_order_nobody_waits() {
    let mut world = World::new().await;
    let mut nobodys = stock_lock(ORDER_A, 1);
    nobodys.body = nobodys.body.replace("orderId", "orderld");
    assert_eq!(nobodys.user_properties().next(), Some((property::ORDERING_KEY, "2001")));
    send_all(&world, [nobodys, stock_lock(ORDER_A, 2), stock_lock(ORDER_B, 3)]).await;
    let report = world.settle().await;

    assert_eq!((report.applied, report.dead_lettered, report.behind), (2, 1, 0));
}

#[tokio::test]
async fn a_lock_that_is_tried_again_holds_up_its_order_only() {
    let mut world = World::with(RuntimeConfig { max_attempts: 100, ..quick() }).await;
    world.handler.trouble(1, [Trouble::Failed; 100]);
    send_all(&world, [stock_lock(ORDER_A, 1), stock_lock(ORDER_B, 2), stock_rollback(ORDER_A, 3)]).await;
    world.step_until(async |world| world.effects(ORDER_B).await == [2]).await;
    assert_eq!(world.effects(ORDER_A).await, [0; 0]);

    world.handler.no_trouble();
    world.settle().await;
    assert_eq!(world.effects(ORDER_A).await, [1, 3]);
}

#[tokio::test]
async fn orders_are_served_in_the_order_they_came_also_side_by_side() {
    let mut world = World::with(RuntimeConfig { min_workers: 4, max_workers: 4, ..quick() }).await;
    let orders: Vec<String> = (1..=40).map(|number| format!("{number:04}")).collect();
    send_all(&world, orders.iter().zip(1..).map(|(order, number)| stock_lock(order, number))).await;
    world.settle().await;
    assert_eq!(world.all_effects().await, (1..=40).collect::<Vec<_>>(), "they are of one ticket type");
}
