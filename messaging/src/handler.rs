//! What a consumer does with its messages.

use async_trait::async_trait;
use thiserror::Error;

use crate::received::{Poison, ReceivedMessage};
use crate::topic::Topic;

/// What consumer groups are called where the configuration says nothing else.
pub const DEFAULT_CONSUMER_GROUP: &str = "ticket-consumer-group";

/// The group of the consumer with this short name, among those that the setting `rocketmq.consumer.group` calls `groups`.
pub fn consumer_group(groups: &str, consumer: &str) -> String {
    format!("{groups}-{consumer}")
}

/// A processor or a projection.
///
/// Delivery is at least once: the handler writes each `messageId` in the transaction of its effect (an append's unique key,
/// or [`crate::inbox::claim`]) and answers [`Effect::Duplicate`] when it was there before.
///
/// A batch comes in arrival order, which is the order of each ordering key while nothing fails. What a failure holds up is
/// told by the waiting key ([`ReceivedMessage::waiting_key`]): the order where stock is locked, deducted or rolled back,
/// elsewhere the ordering key. A message that fails blocks the later ones of the batch with its waiting key: the handler
/// must not apply those, and answers [`HandleError::Behind`] for them, unless they bear its absence. The runtime brings
/// them again, after the one that failed; others go on. A batch may be given again in other company, also as halves of
/// itself when all of it failed or the handler panicked, so that one bad message takes no other with it.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Short name, the last part of its [`consumer_group`].
    fn name(&self) -> &'static str;

    /// What the group subscribes to.
    fn topics(&self) -> &'static [Topic];

    /// Whether the copies that a replay sends say nothing to it. They are acknowledged unread then: one that became a letter
    /// would pass for the message itself.
    fn is_quiet_on_replay(&self) -> bool {
        false
    }

    /// Applies a batch. One result per message, in the same order.
    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>>;
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It has had its effect now.
    Applied,
    /// It had had its effect before.
    Duplicate,
}

/// Why a message was not applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HandleError {
    /// Something it needs is away: tried again, backing off, for as long as it takes.
    #[error("{0}")]
    Transient(String),
    /// It failed by itself: tried again a bounded number of times, then a dead letter.
    #[error("{0}")]
    Failed(String),
    /// It can never succeed: a dead letter now.
    #[error("{0}")]
    Poison(String),
    /// Not tried, because an earlier message of its waiting key was not applied.
    #[error("waits behind an earlier message of its waiting key")]
    Behind,
}

impl From<Poison> for HandleError {
    fn from(poison: Poison) -> Self {
        HandleError::Poison(poison.reason)
    }
}
