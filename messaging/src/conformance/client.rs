//! The suite's own way to talk to a broker: new names, patience, and messages with numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{Options, QUEUES};
use crate::broker::{
    Broker, BrokerError, Consumer, Delivery, OutgoingMessage, Producer, QueueRef, SendError, property,
};

/// Pause between two tries of something that is allowed to need some.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const POLL_WAIT: Duration = Duration::from_millis(200);
const POLL_MESSAGES: usize = 1_000;

pub(super) struct Client<'a> {
    pub(super) broker: &'a dyn Broker,
    pub(super) max_message_bytes: usize,
    prefix: &'a str,
    patience: Duration,
    producer: OnceCell<Box<dyn Producer>>,
}

impl<'a> Client<'a> {
    pub(super) fn new(broker: &'a dyn Broker, options: &'a Options<'a>) -> Self {
        Client {
            broker,
            max_message_bytes: options.max_message_bytes,
            prefix: &options.prefix,
            patience: options.patience,
            producer: OnceCell::new(),
        }
    }

    pub(super) async fn close(self) {
        if let Some(producer) = self.producer.into_inner() {
            producer.close().await;
        }
    }

    pub(super) fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.prefix)
    }

    pub(super) async fn topic(&self, of: &str) -> String {
        let name = self.name(of);
        self.eventually("create a topic", || async { self.broker.create_topics(&[&name], QUEUES).await }).await;
        name
    }

    /// Sends until it is confirmed: a route may not be known right after its topic was created.
    pub(super) async fn send(&self, topic: &str, queue: u16, batch: &[OutgoingMessage]) {
        let producer = self.producer.get_or_init(|| self.producer()).await;
        self.eventually("send", || producer.send(topic, queue, batch)).await;
    }

    /// The same with a producer built for each try, as it must be after an outage.
    pub(super) async fn send_anew(&self, topic: &str, queue: u16, batch: &[OutgoingMessage]) {
        let attempt = || async {
            let producer = self.producer().await;
            let sent = producer.send(topic, queue, batch).await;
            producer.close().await;
            sent
        };
        self.eventually("send after an outage", attempt).await;
    }

    /// What the broker says to a batch that it must refuse, once it answers at all.
    pub(super) async fn refusal(&self, topic: &str, batch: &[OutgoingMessage]) -> SendError {
        let producer = self.producer().await;
        let give_up_at = Instant::now() + self.patience;
        let refusal = loop {
            match producer.send(topic, 0, batch).await {
                Ok(()) => panic!("a batch that must be refused was confirmed"),
                Err(SendError::Unavailable(_)) if Instant::now() < give_up_at => tokio::time::sleep(RETRY_PAUSE).await,
                Err(refusal) => break refusal,
            }
        };
        producer.close().await;
        refusal
    }

    pub(super) async fn producer(&self) -> Box<dyn Producer> {
        self.eventually("build a producer", || self.broker.producer()).await
    }

    pub(super) async fn consumer(&self, group: &str, topics: &[&str]) -> Box<dyn Consumer> {
        self.eventually("build a consumer", || self.broker.consumer(group, topics)).await
    }

    pub(super) async fn listener(&self, name: &str, topics: &[&str]) -> Box<dyn Consumer> {
        self.eventually("build a listener", || self.broker.listener(name, topics)).await
    }

    /// Polls until that many messages came. More are a failure; so are fewer, when patience ends.
    pub(super) async fn receive(&self, consumer: &mut dyn Consumer, expected: usize) -> Vec<Delivery> {
        let give_up_at = Instant::now() + self.patience;
        let mut received = Vec::new();
        while received.len() < expected {
            assert!(Instant::now() < give_up_at, "{} of {expected} messages came in time", received.len());
            received.extend(consumer.poll(POLL_MESSAGES, POLL_WAIT).await.expect("poll"));
        }
        assert_eq!(received.len(), expected, "no more messages than were sent");
        received
    }

    /// Polls until each of the numbers came; others may come too.
    pub(super) async fn receive_all_of(&self, consumer: &mut dyn Consumer, expected: Range<u32>) {
        let give_up_at = Instant::now() + self.patience;
        let mut missing: BTreeSet<u32> = expected.collect();
        while !missing.is_empty() {
            assert!(Instant::now() < give_up_at, "{missing:?} did not come in time");
            for delivery in consumer.poll(POLL_MESSAGES, POLL_WAIT).await.expect("poll") {
                missing.remove(&number(&delivery));
            }
        }
    }

    pub(super) async fn receive_nothing(&self, consumer: &mut dyn Consumer) {
        for _ in 0..5 {
            let polled = consumer.poll(POLL_MESSAGES, POLL_WAIT).await.expect("poll");
            assert_eq!(polled, [], "nothing more was to come");
        }
    }

    pub(super) async fn commit(&self, consumer: &mut dyn Consumer, deliveries: &[Delivery]) {
        let mut next_offsets: BTreeMap<QueueRef, i64> = BTreeMap::new();
        for delivery in deliveries {
            let next_offset = next_offsets.entry(delivery.queue.clone()).or_default();
            *next_offset = (*next_offset).max(delivery.offset + 1);
        }
        let next_offsets: Vec<(QueueRef, i64)> = next_offsets.into_iter().collect();
        consumer.commit(&next_offsets).await.expect("commit");
    }

    pub(super) async fn lag_becomes(&self, group: &str, topic: &str, expected: i64) {
        let give_up_at = Instant::now() + self.patience;
        loop {
            let lag = self.broker.lag(group, topic).await;
            if lag == Ok(Some(expected)) {
                return;
            }
            assert!(Instant::now() < give_up_at, "lag of {group} on {topic} is {lag:?} and should be {expected}");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    pub(super) async fn eventually<T, E, F>(&self, what: &str, mut attempt: impl FnMut() -> F) -> T
    where
        E: Debug,
        F: Future<Output = Result<T, E>>,
    {
        let give_up_at = Instant::now() + self.patience;
        loop {
            match attempt().await {
                Ok(done) => return done,
                Err(error) if Instant::now() >= give_up_at => panic!("could not {what}: {error:?}"),
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    pub(super) async fn until_unavailable(&self, what: &str, consumer: &mut dyn Consumer) {
        let give_up_at = Instant::now() + self.patience;
        while !matches!(consumer.poll(1, POLL_WAIT).await, Err(BrokerError::Unavailable(_)))
            && self.broker.is_reachable().await
        {
            assert!(Instant::now() < give_up_at, "{what}: nobody noticed that the broker is gone");
        }
    }
}

/// Messages whose bodies are `first`, `first + 1`, …
pub(super) fn numbered(numbers: std::ops::Range<u32>) -> Vec<OutgoingMessage> {
    numbers.map(|number| message(&number.to_string())).collect()
}

pub(super) fn message(body: &str) -> OutgoingMessage {
    OutgoingMessage {
        message_id: Uuid::now_v7(),
        business_id: "ORD202312250001".into(),
        event_type: "ORDER_CREATE".into(),
        ordering_key: "ORD202312250001".into(),
        body: body.to_owned(),
        properties: vec![(property::STREAM_ID, "order-ORD202312250001".into()), (property::POSITION, "7".into())],
    }
}

/// The numbers that came, per queue, in the order they came.
pub(super) fn numbers_by_queue(deliveries: &[Delivery]) -> BTreeMap<u16, Vec<u32>> {
    let mut numbers: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    for delivery in deliveries {
        numbers.entry(delivery.queue.queue).or_default().push(number(delivery));
    }
    numbers
}

pub(super) fn sorted_numbers(deliveries: &[Delivery]) -> Vec<u32> {
    let mut numbers: Vec<u32> = deliveries.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

fn number(delivery: &Delivery) -> u32 {
    std::str::from_utf8(&delivery.body).expect("UTF-8").parse().expect("a number")
}
