//! Rules for producers.

use super::QUEUES;
use super::client::{Client, message, numbered};
use crate::broker::SendError;

pub(super) async fn creating_topics_twice_is_harmless(client: &Client<'_>) {
    let topic = client.topic("twice").await;
    client.send(&topic, 0, &numbered(0..3)).await;
    client.broker.create_topics(&[&topic], QUEUES).await.expect("create again");
    let mut consumer = client.consumer(&client.name("twice-group"), &[&topic]).await;
    client.receive(&mut *consumer, 3).await;
    consumer.close().await;
}

pub(super) async fn an_unknown_topic_is_told_apart(client: &Client<'_>) {
    let unknown = client.name("never-created");
    let refusal = client.refusal(&unknown, &numbered(0..1)).await;
    assert!(matches!(refusal, SendError::UnknownTopic(_)), "unknown topic was answered with {refusal:?}");
}

pub(super) async fn a_message_over_the_limit_is_told_apart(client: &Client<'_>) {
    let topic = client.topic("too-large").await;
    let large = message(&"x".repeat(client.max_message_bytes + 1));
    let refusal = client.refusal(&topic, &[large]).await;
    assert!(matches!(refusal, SendError::TooLarge { .. }), "a large message was answered with {refusal:?}");
    client.send(&topic, 0, &numbered(0..1)).await;
}
