//! A projection's dead letters: nothing is missing from the read model, so redriving one only remembers it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use messaging::{Effect, HandleError, Handler, OutgoingMessage, ReceivedMessage, Topic};
use projections::{OrderView, ReadModel, redrive_handlers};
use support::World;

fn handler(world: &World) -> Arc<dyn Handler> {
    redrive_handlers(&world.pool).into_iter().find(|handler| handler.name() == OrderView::CONSUMER).unwrap()
}

async fn status_update(world: &World) -> ReceivedMessage {
    let outbox = world.outbox().await;
    let (topic, _, message): &(Topic, u16, OutgoingMessage) =
        outbox.iter().find(|(topic, ..)| *topic == Topic::OrderStatusUpdate).unwrap();
    let properties: HashMap<String, String> =
        message.user_properties().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    ReceivedMessage::from_parts(topic.name(), message.body.as_bytes(), &properties).unwrap()
}

#[tokio::test]
async fn a_letter_waits_for_its_event_and_is_then_remembered_once() {
    let world = World::selling(10).await;
    world.place(1).await;
    let message = status_update(&world).await;
    assert!(message.position.is_some());
    let handler = handler(&world);

    let early = handler.handle(std::slice::from_ref(&message)).await;
    assert!(matches!(early[..], [Err(HandleError::Transient(_))]), "{early:?}");

    let mut projector = world.projector::<OrderView>();
    projector.step(&[]).await.unwrap();
    let twice = handler.handle(&[message.clone(), message.clone()]).await;
    assert_eq!(twice, [Ok(Effect::Applied), Ok(Effect::Duplicate)]);
    let by_projector = projector.step(&[message.message_id]).await.unwrap();
    assert!(matches!(by_projector, projections::Step::Applied(applied) if applied.effects == [Effect::Duplicate]));
}

#[tokio::test]
async fn every_projection_that_has_messages_can_be_redriven() {
    let world = World::new().await;
    let names: Vec<&str> = redrive_handlers(&world.pool).iter().map(|handler| handler.name()).collect();
    assert_eq!(names, ["order-projection", "stock-projection", "notification-projection"]);
}
