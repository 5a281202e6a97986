//! A broker in memory, for fast tests: queues, groups with committed offsets, and the ways a real one misbehaves.

mod consumer;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

use crate::broker::{Broker, BrokerError, BrokerStatus, Consumer, OutgoingMessage, Producer, QueueBacklog, SendError};
use consumer::{InMemoryConsumer, InMemoryListener};
use state::{BROKER_NAME, State, Stored};

/// RocketMQ's default limit of a message.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 4_194_304;

/// A broker whose clones share their topics.
#[derive(Clone)]
pub struct InMemoryBroker {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Counts what may give a waiting consumer something to do.
    changes: watch::Sender<u64>,
}

/// How a broker disturbs what it stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disorder {
    /// How many times each message is stored, at offsets of their own.
    pub copies: usize,
    /// Shuffles each batch, with its copies, by this seed. `None` keeps the order.
    pub shuffle_seed: Option<u64>,
}

impl Default for InMemoryBroker {
    fn default() -> Self {
        InMemoryBroker::new(DEFAULT_MAX_MESSAGE_BYTES)
    }
}

impl InMemoryBroker {
    /// An empty broker that refuses bodies over this size.
    pub fn new(max_message_bytes: usize) -> Self {
        let state = State::new(max_message_bytes);
        InMemoryBroker { shared: Arc::new(Shared { state: Mutex::new(state), changes: watch::channel(0).0 }) }
    }

    /// Down: every call fails as unavailable, until it is up again. What is stored stays.
    pub fn set_down(&self, down: bool) {
        self.shared.lock().down = down;
        self.shared.changed();
    }

    /// It is one of several from now on, of which these are away; those named before are back.
    pub fn set_away(&self, brokers: &[&str]) {
        let mut state = self.shared.lock();
        state.others.values_mut().for_each(|is_up| *is_up = true);
        state.others.extend(brokers.iter().map(|name| ((*name).to_owned(), false)));
    }

    /// Leaves these queues out when it is asked for a backlog.
    pub fn set_untold(&self, queues: &[u16]) {
        self.shared.lock().untold = queues.to_vec();
    }

    /// Disturbs what is sent from now on; `None` ends it.
    pub fn set_disorder(&self, disorder: Option<Disorder>) {
        self.shared.lock().disorder = disorder;
    }

    /// Sends everything that was ever sent `copies` times more, shuffled over the queues of its topic: order is lost within
    /// keys and across them.
    pub fn redeliver_everything(&self, copies: usize, shuffle_seed: u64) {
        let mut random = StdRng::seed_from_u64(shuffle_seed);
        for queues in self.shared.lock().topics.values_mut() {
            let once: Vec<Stored> = queues.iter().flatten().cloned().collect();
            let mut again: Vec<Stored> = std::iter::repeat_n(once, copies).flatten().collect();
            again.shuffle(&mut random);
            for message in again {
                let queue = random.random_range(0..queues.len());
                queues[queue].push(message);
            }
        }
        self.shared.changed();
    }

    /// How many live members a group has.
    pub fn members(&self, group: &str) -> usize {
        self.shared.lock().groups.get(group).map_or(0, |group| group.members.len())
    }

    /// How many messages a topic holds in all its queues, sent and redelivered.
    pub fn stored(&self, topic: &str) -> usize {
        self.shared.lock().topics.get(topic).map_or(0, |queues| queues.iter().map(Vec::len).sum())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held belongs to the test that panicked; the state has no invariant to lose.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

#[async_trait]
impl Broker for InMemoryBroker {
    async fn create_topics(&self, names: &[&str], queues: u16) -> Result<(), BrokerError> {
        let mut state = self.shared.lock();
        state.check_up()?;
        for name in names {
            state.topics.entry((*name).to_owned()).or_insert_with(|| vec![Vec::new(); usize::from(queues)]);
        }
        Ok(())
    }

    async fn topic_queues(&self, topic: &str) -> Result<Option<u16>, BrokerError> {
        let state = self.shared.lock();
        state.check_up()?;
        Ok(state.topics.get(topic).map(|queues| queues.len() as u16))
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BrokerError> {
        self.shared.lock().check_up()?;
        Ok(Box::new(InMemoryProducer { shared: self.shared.clone() }))
    }

    async fn consumer(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, BrokerError> {
        let consumer = InMemoryConsumer::join(self.shared.clone(), group, topics)?;
        Ok(Box::new(consumer))
    }

    async fn listener(&self, _name: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, BrokerError> {
        let listener = InMemoryListener::join(self.shared.clone(), topics)?;
        Ok(Box::new(listener))
    }

    async fn backlog(&self, group: &str, topic: &str) -> Result<Option<Vec<QueueBacklog>>, BrokerError> {
        let state = self.shared.lock();
        state.check_up()?;
        Ok(state.backlog(group, topic))
    }

    async fn is_reachable(&self) -> bool {
        !self.shared.lock().down
    }

    async fn statuses(&self) -> Vec<BrokerStatus> {
        let state = self.shared.lock();
        if state.others.is_empty() {
            return Vec::new();
        }
        let own = (BROKER_NAME.to_owned(), !state.down);
        let all = std::iter::once(own).chain(state.others.clone());
        all.map(|(name, is_up)| BrokerStatus { name, is_up, disk_used_ratio: None }).collect()
    }

    async fn close(&self) {}
}

struct InMemoryProducer {
    shared: Arc<Shared>,
}

#[async_trait]
impl Producer for InMemoryProducer {
    async fn send(&self, topic: &str, queue: u16, batch: &[OutgoingMessage]) -> Result<(), SendError> {
        self.shared.lock().append(topic, queue, batch)?;
        self.shared.changed();
        Ok(())
    }

    async fn close(&self) {}
}
