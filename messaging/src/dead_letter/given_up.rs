//! What the broker itself gave up for one of our groups.
//!
//! Our consumers never hand a message back to the broker, but a group may have been used by a client that did: RocketMQ puts
//! what it gave up into `%DLQ%<group>`, where nobody looks. A reader takes such messages in as dead letters, once by their
//! messageId, and acknowledges them after that is committed; what was applied all the same is only acknowledged. A group's topic usually does not exist; nothing is joined
//! and nobody waits until one does.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::cause::cause_of;
use super::park::{Entry, park_taken_in};
use crate::broker::{Broker, BrokerError, Consumer, Delivery, QueueRef};
use crate::handler::consumer_group;
use crate::inbox;
use crate::received::{ReceivedMessage, Remains};
use crate::topic::Topic;

/// The cause of all that was taken in and can be read.
pub const TAKEN_IN: &str = "broker: taken from %DLQ%";

/// Where RocketMQ writes what a message that it moved was sent to.
const ORIGIN_PROPERTIES: [&str; 3] = ["DLQ_ORIGIN_TOPIC", "REAL_TOPIC", "RETRY_TOPIC"];
const MAX_POLL_MESSAGES: usize = 256;
const POLL_WAIT: Duration = Duration::from_secs(1);
/// Polls in a row that give nothing, before the rest is left to the next round: joining a group takes a moment.
const MAX_EMPTY_POLLS: usize = 10;

/// The topic in which the broker keeps what it gave up for a group.
pub fn given_up_topic(group: &str) -> String {
    format!("%DLQ%{group}")
}

/// A consumer whose given-up messages are taken in.
#[derive(Clone, Copy, Debug)]
pub struct TakenFor {
    pub consumer: &'static str,
    pub topics: &'static [Topic],
    /// As its handler: a copy says nothing to it, and must not stand for the message itself.
    pub is_quiet_on_replay: bool,
}

/// Takes in what the broker gave up for some consumers.
pub struct GivenUpReader {
    broker: Arc<dyn Broker>,
    pool: PgPool,
    /// What the consumers' groups are called before their own names.
    groups: String,
    consumers: Vec<TakenFor>,
    interval: Duration,
}

/// Why a round could not be finished; what is left is taken by the next.
#[derive(Debug, Error)]
pub enum GivenUpError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("dead letters: {0}")]
    Database(#[from] sqlx::Error),
    /// The broker counts messages and gives none.
    #[error("{waiting} messages of {topic} can't be read")]
    Unreadable { topic: String, waiting: i64 },
}

impl GivenUpReader {
    /// A reader for these consumers of the groups called `groups-…`, that looks every `interval`.
    pub fn new(
        broker: Arc<dyn Broker>,
        pool: PgPool,
        groups: &str,
        consumers: Vec<TakenFor>,
        interval: Duration,
    ) -> GivenUpReader {
        GivenUpReader { broker, pool, groups: groups.to_owned(), consumers, interval }
    }

    /// Looks again and again until shutdown, whatever fails.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                round = self.step() => match round {
                    Ok(_) => failing = false,
                    Err(error) => {
                        // Once when it begins: the broker may be away for hours.
                        if !std::mem::replace(&mut failing, true) {
                            warn!(%error, "what the broker gave up is not taken in for now");
                        }
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(self.interval) => {}
            }
        }
    }

    /// One look at each group; how many messages were taken.
    pub async fn step(&self) -> Result<usize, GivenUpError> {
        if !self.broker.is_reachable().await {
            return Err(BrokerError::Unavailable("not reachable".into()).into());
        }
        let (mut taken, mut failure) = (0, None);
        for consumer in &self.consumers {
            // One group that can't be read takes nothing from the others.
            match self.take_in(consumer).await {
                Ok(messages) => taken += messages,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(taken), Err)
    }

    async fn take_in(&self, consumer: &TakenFor) -> Result<usize, GivenUpError> {
        let topic = given_up_topic(&consumer_group(&self.groups, consumer.consumer));
        // A group of its own: all members of one subscribe to the same topics.
        let reader = consumer_group(&self.groups, &format!("given-up-{}", consumer.consumer));
        let waiting = match self.broker.lag(&reader, &topic).await {
            Ok(waiting) => waiting.unwrap_or(0),
            Err(BrokerError::UnknownTopic(_)) => 0,
            Err(error) => return Err(error.into()),
        };
        if waiting == 0 {
            return Ok(0);
        }
        let mut member = self.broker.consumer(&reader, &[&topic]).await?;
        let taken = self.drain(consumer, &mut *member, usize::try_from(waiting).unwrap_or(usize::MAX)).await;
        member.close().await;
        let taken = taken?;
        if taken.messages == 0 {
            return Err(GivenUpError::Unreadable { topic, waiting });
        }
        if taken.letters > 0 {
            warn!(topic, consumer = consumer.consumer, letters = taken.letters, "took in what the broker had given up");
        }
        Ok(taken.messages)
    }

    async fn drain(
        &self,
        consumer: &TakenFor,
        member: &mut dyn Consumer,
        waiting: usize,
    ) -> Result<Taken, GivenUpError> {
        let (mut taken, mut empty_polls) = (Taken::default(), 0);
        while taken.messages < waiting && empty_polls < MAX_EMPTY_POLLS {
            let deliveries = member.poll(MAX_POLL_MESSAGES, POLL_WAIT).await?;
            if deliveries.is_empty() {
                empty_polls += 1;
                continue;
            }
            let letters = self.park(consumer, &deliveries).await?;
            member.commit(&next_offsets(&deliveries)).await?;
            taken.messages += deliveries.len();
            taken.letters += letters;
        }
        Ok(taken)
    }

    /// How many became letters: what was applied all the same, or is known, does not, nor a replay's copy that says nothing.
    async fn park(&self, consumer: &TakenFor, deliveries: &[Delivery]) -> Result<u64, sqlx::Error> {
        let given_up: Vec<GivenUp> = deliveries.iter().map(|delivery| GivenUp::read(delivery, consumer)).collect();
        let message_ids: Vec<Uuid> = given_up.iter().filter_map(|given_up| given_up.remains.message_id).collect();
        let applied = inbox::applied(&self.pool, consumer.consumer, &message_ids).await?;
        let is_applied = |given_up: &GivenUp| given_up.remains.message_id.is_some_and(|id| applied.contains(&id));
        let entries: Vec<Entry<'_>> = deliveries
            .iter()
            .zip(&given_up)
            .filter(|(delivery, _)| !delivery.is_no_news(consumer.consumer, consumer.is_quiet_on_replay))
            .filter(|(_, given_up)| !is_applied(given_up))
            .map(|(delivery, given_up)| given_up.entry(delivery))
            .collect();
        park_taken_in(&self.pool, consumer.consumer, &entries).await
    }
}

/// What one look at a group's topic gave.
#[derive(Default)]
struct Taken {
    /// Read and acknowledged.
    messages: usize,
    /// Of those, how many are dead letters now that were none before.
    letters: u64,
}

/// What can be told of a message that was given up.
struct GivenUp {
    /// What it was sent to, or where it lies when that can't be told.
    topic: String,
    remains: Remains,
    reason: String,
    cause: String,
}

impl GivenUp {
    fn read(delivery: &Delivery, consumer: &TakenFor) -> GivenUp {
        let taken_from = format!("taken from {}", delivery.queue.topic);
        let mut as_sent = delivery.clone();
        if let Some(topic) = sent_to(delivery, consumer) {
            as_sent.queue.topic = topic.name().to_owned();
        }
        match ReceivedMessage::parse(&as_sent) {
            Ok(message) => GivenUp {
                topic: as_sent.queue.topic,
                remains: Remains { message_id: Some(message.message_id), waiting_key: Some(message.waiting_key) },
                reason: taken_from,
                cause: TAKEN_IN.into(),
            },
            Err(poison) => GivenUp {
                remains: Remains::of(&as_sent),
                topic: as_sent.queue.topic,
                reason: format!("{taken_from}: {}", poison.reason),
                cause: cause_of(&poison.into()),
            },
        }
    }

    fn entry<'a>(&'a self, delivery: &'a Delivery) -> Entry<'a> {
        Entry {
            delivery,
            topic: &self.topic,
            waiting_key: self.remains.waiting_key.as_deref(),
            message_id: self.remains.message_id,
            reason: self.reason.clone(),
            cause: self.cause.clone(),
            attempts: 0,
        }
    }
}

/// What the broker says, else what the message itself says, as long as the consumer subscribes to it.
fn sent_to(delivery: &Delivery, consumer: &TakenFor) -> Option<Topic> {
    let written = ORIGIN_PROPERTIES.iter().filter_map(|name| delivery.properties.get(*name));
    let by_properties = written.filter_map(|topic| Topic::parse(topic)).next();
    by_properties.or_else(|| event_type_of(delivery)).filter(|topic| consumer.topics.contains(topic))
}

fn event_type_of(delivery: &Delivery) -> Option<Topic> {
    let by_tag = Topic::of_event_type(&delivery.tags);
    by_tag.or_else(|| {
        let body: serde_json::Value = serde_json::from_slice(&delivery.body).ok()?;
        Topic::of_event_type(body.get("eventType")?.as_str()?)
    })
}

fn next_offsets(deliveries: &[Delivery]) -> Vec<(QueueRef, i64)> {
    let mut next: std::collections::BTreeMap<&QueueRef, i64> = std::collections::BTreeMap::new();
    for delivery in deliveries {
        let offset = next.entry(&delivery.queue).or_default();
        *offset = (*offset).max(delivery.offset + 1);
    }
    next.into_iter().map(|(queue, offset)| (queue.clone(), offset)).collect()
}
