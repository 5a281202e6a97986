//! The broker in memory keeps the port's rules, and misbehaves on request only.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use async_trait::async_trait;
use messaging::conformance::{self, Options, Outage};
use messaging::memory::Disorder;
use messaging::{Broker, BrokerError, InMemoryBroker, OutgoingMessage, SendError};
use uuid::Uuid;

struct Switch(InMemoryBroker);

#[async_trait]
impl Outage for Switch {
    async fn stop_broker(&self) {
        self.0.set_down(true);
    }

    async fn start_broker(&self) {
        self.0.set_down(false);
    }
}

fn messages(count: usize) -> Vec<OutgoingMessage> {
    (0..count)
        .map(|number| OutgoingMessage {
            message_id: Uuid::now_v7(),
            business_id: "ORD202312250001".into(),
            event_type: "ORDER_CREATE".into(),
            ordering_key: "ORD202312250001".into(),
            body: number.to_string(),
            properties: Vec::new(),
        })
        .collect()
}

#[tokio::test]
async fn it_conforms() {
    let broker = InMemoryBroker::default();
    let outage = Switch(broker.clone());
    conformance::run(&broker, Options { outage: Some(&outage), ..Options::default() }).await;
}

#[tokio::test]
async fn while_it_is_down_every_call_fails_as_unavailable() {
    let broker = InMemoryBroker::default();
    broker.create_topics(&["order-create"], 8).await.unwrap();
    let producer = broker.producer().await.unwrap();
    let mut consumer = broker.consumer("group", &["order-create"]).await.unwrap();
    broker.set_down(true);
    assert!(matches!(producer.send("order-create", 0, &messages(1)).await, Err(SendError::Unavailable(_))));
    assert!(matches!(consumer.poll(1, Duration::ZERO).await, Err(BrokerError::Unavailable(_))));
    assert!(matches!(consumer.commit(&[]).await, Err(BrokerError::Unavailable(_))));
    assert!(matches!(broker.lag("group", "order-create").await, Err(BrokerError::Unavailable(_))));
    assert!(broker.producer().await.is_err());
    assert!(!broker.is_reachable().await);
}

#[tokio::test]
async fn a_waiting_poll_wakes_when_a_message_comes() {
    let broker = InMemoryBroker::default();
    broker.create_topics(&["order-create"], 8).await.unwrap();
    let mut consumer = broker.consumer("group", &["order-create"]).await.unwrap();
    let waiting = tokio::spawn(async move { consumer.poll(10, Duration::from_secs(60)).await });
    broker.producer().await.unwrap().send("order-create", 3, &messages(2)).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 2);
}

#[tokio::test]
async fn it_stores_copies_and_shuffles_when_it_is_told_to() {
    let broker = InMemoryBroker::default();
    broker.create_topics(&["order-create"], 8).await.unwrap();
    let producer = broker.producer().await.unwrap();
    broker.set_disorder(Some(Disorder { copies: 3, shuffle_seed: Some(1) }));
    producer.send("order-create", 0, &messages(10)).await.unwrap();
    assert_eq!(broker.stored("order-create"), 30);

    let mut consumer = broker.consumer("group", &["order-create"]).await.unwrap();
    let bodies: Vec<Vec<u8>> = consumer.poll(32, Duration::ZERO).await.unwrap().into_iter().map(|d| d.body).collect();
    assert!(!bodies.is_sorted(), "shuffled");

    broker.redeliver_everything(2, 7);
    assert_eq!(broker.stored("order-create"), 90);
}
