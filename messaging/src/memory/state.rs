//! What the broker in memory holds.

use std::collections::{BTreeMap, HashMap};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::Disorder;
use crate::broker::{BrokerError, Delivery, OutgoingMessage, QueueBacklog, QueueRef, SendError};

/// The name of the only broker there is.
pub(super) const BROKER_NAME: &str = "memory";

/// A message at rest.
#[derive(Clone)]
pub(super) struct Stored {
    keys: String,
    tags: String,
    body: Vec<u8>,
    properties: HashMap<String, String>,
}

#[derive(Default)]
pub(super) struct Group {
    pub(super) next_offsets: HashMap<QueueRef, i64>,
    /// Live members and what they subscribe to, in the order they joined.
    pub(super) members: BTreeMap<u64, Vec<String>>,
}

pub(super) struct State {
    pub(super) down: bool,
    /// The brokers beside it, and whether they are up.
    pub(super) others: BTreeMap<String, bool>,
    /// Queues that it leaves out of backlogs.
    pub(super) untold: Vec<u16>,
    pub(super) disorder: Option<Disorder>,
    pub(super) topics: BTreeMap<String, Vec<Vec<Stored>>>,
    pub(super) groups: HashMap<String, Group>,
    pub(super) members_ever: u64,
    max_message_bytes: usize,
}

impl State {
    pub(super) fn new(max_message_bytes: usize) -> State {
        State {
            down: false,
            others: BTreeMap::new(),
            untold: Vec::new(),
            disorder: None,
            topics: BTreeMap::new(),
            groups: HashMap::new(),
            members_ever: 0,
            max_message_bytes,
        }
    }

    pub(super) fn check_up(&self) -> Result<(), BrokerError> {
        if self.down { Err(BrokerError::Unavailable("the broker is down".into())) } else { Ok(()) }
    }

    pub(super) fn check_topics(&self, topics: &[&str]) -> Result<(), BrokerError> {
        match topics.iter().find(|topic| !self.topics.contains_key(**topic)) {
            Some(unknown) => Err(BrokerError::UnknownTopic((*unknown).to_owned())),
            None => Ok(()),
        }
    }

    /// The queues of a topic, and the offset of the next message of each.
    pub(super) fn ends(&self, topic: &str) -> Vec<(QueueRef, i64)> {
        let queues = self.topics.get(topic).into_iter().flatten().zip(0..);
        queues.map(|(messages, queue)| (queue_ref(topic, queue), messages.len() as i64)).collect()
    }

    pub(super) fn append(&mut self, topic: &str, queue: u16, batch: &[OutgoingMessage]) -> Result<(), SendError> {
        self.check_up().map_err(|error| SendError::Unavailable(error.to_string()))?;
        let limit_bytes = self.max_message_bytes;
        if let Some(large) = batch.iter().find(|message| message.body.len() > limit_bytes) {
            return Err(SendError::TooLarge { size_bytes: large.body.len(), limit_bytes });
        }
        let queues = self.topics.get_mut(topic).ok_or_else(|| SendError::UnknownTopic(topic.to_owned()))?;
        let queue = queues
            .get_mut(usize::from(queue))
            .ok_or_else(|| SendError::Rejected(format!("topic {topic} has no queue {queue}")))?;
        queue.extend(disturb(batch, self.disorder).into_iter().map(store));
        Ok(())
    }

    /// The queue's messages from an offset on.
    pub(super) fn read(&self, queue: &QueueRef, from: i64, max_messages: usize) -> Vec<Delivery> {
        let first = usize::try_from(from).unwrap_or(0);
        let stored = self.topics.get(&queue.topic).and_then(|queues| queues.get(usize::from(queue.queue)));
        let messages = stored.into_iter().flatten().enumerate().skip(first).take(max_messages);
        messages.map(|(offset, message)| deliver(queue, offset, message)).collect()
    }

    pub(super) fn backlog(&self, group: &str, topic: &str) -> Option<Vec<QueueBacklog>> {
        let queues = self.topics.get(topic)?;
        let next_offsets = self.groups.get(group).map(|group| &group.next_offsets);
        let behind = queues.iter().zip(0..).map(|(messages, number)| {
            let queue = queue_ref(topic, number);
            let committed = next_offsets.and_then(|offsets| offsets.get(&queue).copied());
            QueueBacklog { messages: messages.len() as i64 - committed.unwrap_or(0), queue }
        });
        Some(behind.filter(|backlog| !self.untold.contains(&backlog.queue.queue)).collect())
    }

    /// The queues of a member: those of its topics, dealt out over the members in the order they joined.
    pub(super) fn assignment(&self, group: &str, member: u64) -> Vec<QueueRef> {
        let Some(group) = self.groups.get(group) else { return Vec::new() };
        let Some(topics) = group.members.get(&member) else { return Vec::new() };
        let rank = group.members.keys().take_while(|id| **id != member).count();
        topics
            .iter()
            .flat_map(|topic| {
                let queues = self.topics.get(topic).map_or(0, Vec::len) as u16;
                (0..queues).map(move |queue| queue_ref(topic, queue))
            })
            .filter(|queue| usize::from(queue.queue) % group.members.len() == rank)
            .collect()
    }
}

fn queue_ref(topic: &str, queue: u16) -> QueueRef {
    QueueRef { topic: topic.to_owned(), broker: BROKER_NAME.to_owned(), queue }
}

fn disturb(batch: &[OutgoingMessage], disorder: Option<Disorder>) -> Vec<&OutgoingMessage> {
    let copies = disorder.map_or(1, |disorder| disorder.copies);
    let mut disturbed: Vec<&OutgoingMessage> =
        batch.iter().flat_map(|message| std::iter::repeat_n(message, copies)).collect();
    if let Some(seed) = disorder.and_then(|disorder| disorder.shuffle_seed) {
        disturbed.shuffle(&mut StdRng::seed_from_u64(seed));
    }
    disturbed
}

fn store(message: &OutgoingMessage) -> Stored {
    Stored {
        keys: message.keys(),
        tags: message.event_type.clone(),
        body: message.body.clone().into_bytes(),
        properties: message.user_properties().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

fn deliver(queue: &QueueRef, offset: usize, message: &Stored) -> Delivery {
    Delivery {
        queue: queue.clone(),
        offset: offset as i64,
        keys: message.keys.clone(),
        tags: message.tags.clone(),
        body: message.body.clone(),
        properties: message.properties.clone(),
    }
}
