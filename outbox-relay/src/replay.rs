//! Sending messages of the past again: the same bodies under the same ids, marked `replay`, lane by lane in their order.
//!
//! A replay brings what somebody missed. It never has anything done twice, because every consumer knows the ids. Only what
//! the relay has sent is sent again, so no copy comes before its message; a copy behind newer messages of its key is a
//! duplicate to all who had the message, and late but welcome to those who had not.
//!
//! What it did is durable after every step, under a lease for each pair of topic and target: killed, it goes on where it was,
//! and sends one step's messages twice at most. It reads the outbox and the relay's cursors, and writes neither.

mod error;
mod pace;
mod page;
mod plan;
mod run;
mod store;

use chrono::{DateTime, Utc};
use messaging::{QUEUES_PER_TOPIC, Topic};
use sqlx::FromRow;

pub use error::ReplayError;
pub use plan::{EventTypeCount, Plan, plan};
pub use run::{Progress, Replay, ReplayConfig, ReplayParts};
pub use store::list;

/// What is to be sent again, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRequest {
    pub topic: Topic,
    pub target: Target,
    /// Messages of this stream's events only.
    pub stream_id: Option<String>,
    /// Messages of this key only: what they are ordered by, what a person would search for, or their order.
    pub key: Option<String>,
    /// Of events in `(after, upto]`.
    pub after: i64,
    pub upto: i64,
}

/// Who is to have the copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everybody who reads the topic.
    Everybody,
    /// One consumer, by its short name; the others let the copies pass.
    Consumer(String),
    /// Whoever reads another topic.
    Topic(String),
}

/// A replay as it is known to everybody.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct ReplayRecord {
    pub replay_id: i64,
    pub topic: String,
    pub to_topic: String,
    pub for_consumer: Option<String>,
    pub stream_id: Option<String>,
    pub message_key: Option<String>,
    pub after_position: i64,
    pub upto_position: i64,
    pub messages_per_second: Option<i32>,
    /// To be sent, as counted when it began.
    pub messages: i64,
    pub sent_messages: i64,
    pub state: String,
    pub problem: Option<String>,
    pub requested_by: String,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// A process works on it right now.
    pub is_live: bool,
}

impl ReplayRecord {
    /// `running`, `interrupted` (to be resumed), `done` or `failed`.
    pub fn shown_state(&self) -> &str {
        if self.state == "running" && !self.is_live { "interrupted" } else { &self.state }
    }
}

impl ReplayRequest {
    fn to_topic(&self) -> &str {
        match &self.target {
            Target::Topic(name) => name,
            Target::Everybody | Target::Consumer(_) => self.topic.name(),
        }
    }

    fn for_consumer(&self) -> Option<&str> {
        match &self.target {
            Target::Consumer(name) => Some(name),
            Target::Everybody | Target::Topic(_) => None,
        }
    }

    /// One replay of a topic to a target at a time.
    fn lease_name(&self) -> String {
        format!("replay {} {} {}", self.topic, self.to_topic(), self.for_consumer().unwrap_or_default())
    }
}

/// The lanes of a topic.
fn lanes(topic: Topic) -> Vec<i16> {
    let first = topic as i16 * QUEUES_PER_TOPIC as i16;
    (first..first + QUEUES_PER_TOPIC as i16).collect()
}
