//! The port to a message broker. One adapter speaks RocketMQ, one keeps everything in memory for tests; both pass
//! [`crate::conformance`].

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use uuid::Uuid;

/// Names of the user properties that travel beside the body.
pub mod property {
    pub const ORDERING_KEY: &str = "orderingKey";
    pub const STREAM_ID: &str = "streamId";
    pub const STREAM_VERSION: &str = "streamVersion";
    pub const POSITION: &str = "position";
    pub const CORRELATION_ID: &str = "correlationId";
    pub const CAUSATION_ID: &str = "causationId";
    pub const TRACEPARENT: &str = "traceparent";
    pub const MODE: &str = "mode";
    /// `true` on a replay, absent otherwise.
    pub const REPLAY: &str = "replay";
    /// The consumer that a replay is for, by its short name; absent where it is for all.
    pub const REPLAY_FOR: &str = "replayFor";
}

/// Whether a message with these user properties was sent again on purpose.
pub(crate) fn is_replay(properties: &HashMap<String, String>) -> bool {
    properties.get(property::REPLAY).is_some_and(|value| value == "true")
}

/// A broker: makes producers and consumers, and knows how far groups are behind.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Creates the topics that are missing, with that many read and write queues. Existing ones are left as they are.
    async fn create_topics(&self, names: &[&str], queues: u16) -> Result<(), BrokerError>;

    /// How many queues the topic has; `None`: there is no such topic. Where several brokers have it, the most.
    async fn topic_queues(&self, topic: &str) -> Result<Option<u16>, BrokerError>;

    /// A new producer, sharing nothing that could fail with an earlier one.
    async fn producer(&self) -> Result<Box<dyn Producer>, BrokerError>;

    /// A new member of a consumer group. A group that never committed starts at the first message. All members of a group
    /// subscribe to the same topics.
    async fn consumer(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, BrokerError>;

    /// A reader that shares with nobody: it hears every message that is sent from now on, whoever else listens under the
    /// same name. Its commits do nothing. After an outage it goes on with what is sent then.
    async fn listener(&self, name: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, BrokerError>;

    /// What the group has not committed of each queue of the topic, with or without live members. `None` when it can't be
    /// known, never an empty list instead.
    async fn backlog(&self, group: &str, topic: &str) -> Result<Option<Vec<QueueBacklog>>, BrokerError>;

    /// Messages of the topic the group has not committed: Σ queues (max offset − committed). `None` when it can't be known,
    /// never 0 instead.
    async fn lag(&self, group: &str, topic: &str) -> Result<Option<i64>, BrokerError> {
        let queues = self.backlog(group, topic).await?;
        Ok(queues.map(|queues| queues.iter().map(|queue| queue.messages).sum()))
    }

    /// Whether the broker answers right now.
    async fn is_reachable(&self) -> bool;

    /// How each of the brokers stands that this one consists of, as far as they were ever seen; one that is away now stays
    /// in the list. Empty where there is nothing to tell apart.
    async fn statuses(&self) -> Vec<BrokerStatus> {
        Vec::new()
    }

    /// Lets go of what is shared by producers and consumers.
    async fn close(&self);
}

/// Sends ordered batches.
#[async_trait]
pub trait Producer: Send + Sync {
    /// Sends one batch, in order, to one queue. `Ok` only when the broker confirmed that all of it is stored; after an error
    /// any part of it may have been stored, so that a resend can double but never lose.
    async fn send(&self, topic: &str, queue: u16, batch: &[OutgoingMessage]) -> Result<(), SendError>;

    /// Ends the producer.
    async fn close(&self);
}

/// A member of a consumer group.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// Waits up to `max_wait` for messages and gives at most `max_messages`, in offset order per queue. Empty when there are
    /// none. A zero `max_wait` takes only what is already here.
    async fn poll(&mut self, max_messages: usize, max_wait: Duration) -> Result<Vec<Delivery>, BrokerError>;

    /// Makes the next member of the group start each queue at the given offset, durably and exactly there.
    async fn commit(&mut self, next_offsets: &[(QueueRef, i64)]) -> Result<(), BrokerError>;

    /// Leaves the group. Commits nothing.
    async fn close(self: Box<Self>);
}

/// One broker of several.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerStatus {
    pub name: String,
    /// Whether it answers.
    pub is_up: bool,
    /// The used part of the disk that its messages are on, from 0 to 1; `None` when it does not say.
    pub disk_used_ratio: Option<f64>,
}

/// One queue of one topic on one broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueRef {
    pub topic: String,
    pub broker: String,
    pub queue: u16,
}

/// How far a consumer group is behind in one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueBacklog {
    pub queue: QueueRef,
    /// Max offset − committed.
    pub messages: i64,
}

/// A message as handed to a producer.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingMessage {
    pub message_id: Uuid,
    pub business_id: String,
    /// Sent as TAGS.
    pub event_type: String,
    pub ordering_key: String,
    pub body: String,
    /// User properties (names in [`property`]) but for the ordering key, which is sent from its field.
    pub properties: Vec<(&'static str, String)>,
}

impl OutgoingMessage {
    /// KEYS: what a person can search the broker for.
    pub fn keys(&self) -> String {
        format!("{} {}", self.message_id, self.business_id)
    }

    /// All user properties to send, with the ordering key.
    pub fn user_properties(&self) -> impl Iterator<Item = (&'static str, &str)> {
        std::iter::once((property::ORDERING_KEY, self.ordering_key.as_str()))
            .chain(self.properties.iter().map(|(name, value)| (*name, value.as_str())))
    }
}

/// A message as a consumer got it.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub queue: QueueRef,
    pub offset: i64,
    pub keys: String,
    pub tags: String,
    pub body: Vec<u8>,
    /// User properties; an adapter may add the broker's own.
    pub properties: HashMap<String, String>,
}

impl Delivery {
    /// Whether it is a copy that was sent for another consumer than the one of this short name.
    pub fn is_for_another(&self, consumer: &str) -> bool {
        self.properties.get(property::REPLAY_FOR).is_some_and(|wanted| wanted != consumer)
    }

    /// Whether it was sent again on purpose.
    pub fn is_replay(&self) -> bool {
        is_replay(&self.properties)
    }

    /// A replay for another consumer, or any where this one stays quiet on them: acknowledged unread, and no letter.
    pub(crate) fn is_no_news(&self, consumer: &str, is_quiet_on_replay: bool) -> bool {
        self.is_for_another(consumer) || (is_quiet_on_replay && self.is_replay())
    }
}

/// Why a broker could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BrokerError {
    /// Nobody answers: try again later, with a new client.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// The topic is not on the broker.
    #[error("unknown topic {0}")]
    UnknownTopic(String),
    /// The broker answered, and said no.
    #[error("broker refused: {0}")]
    Rejected(String),
}

/// Why a batch does not count as sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// Nobody confirmed: send again later. Part of the batch may be stored.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// The topic is not on the broker: sending again won't help.
    #[error("unknown topic {0}")]
    UnknownTopic(String),
    /// A message is over the limit: sending again won't help.
    #[error("message of {size_bytes} bytes is over the limit of {limit_bytes}")]
    TooLarge { size_bytes: usize, limit_bytes: usize },
    /// The broker answered, and said no.
    #[error("broker refused: {0}")]
    Rejected(String),
}
