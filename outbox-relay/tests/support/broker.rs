//! A broker that writes down what it is sent, and can be told to fail.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use messaging::{
    Broker, BrokerError, Consumer, OutgoingMessage, Producer, QUEUES_PER_TOPIC, QueueBacklog, SendError, Topic,
};
use tokio::sync::watch;
use uuid::Uuid;

#[derive(Clone)]
pub struct RecordingBroker(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// While true, a send stores its batch and does not answer.
    silent: watch::Sender<bool>,
}

struct State {
    is_down: bool,
    may_create_topics: bool,
    topics: HashSet<String>,
    max_body_bytes: usize,
    queues: HashMap<(String, u16), Vec<OutgoingMessage>>,
    sending: HashMap<(String, u16), usize>,
    most_in_one_queue: usize,
    most_queues_at_once: usize,
    producers_made: usize,
    largest_send_messages: usize,
    refused_calls: usize,
}

impl RecordingBroker {
    pub fn new() -> RecordingBroker {
        RecordingBroker(Arc::new(Shared {
            state: Mutex::new(State {
                is_down: false,
                may_create_topics: true,
                topics: Topic::ALL.iter().map(|topic| topic.name().to_owned()).collect(),
                max_body_bytes: 1024,
                queues: HashMap::new(),
                sending: HashMap::new(),
                most_in_one_queue: 0,
                most_queues_at_once: 0,
                producers_made: 0,
                largest_send_messages: 0,
                refused_calls: 0,
            }),
            silent: watch::channel(false).0,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_down(&self, is_down: bool) {
        self.state().is_down = is_down;
    }

    /// Sends are stored and not answered, until this ends.
    pub fn set_silent(&self, is_silent: bool) {
        self.0.silent.send_replace(is_silent);
    }

    pub fn set_max_body_bytes(&self, bytes: usize) {
        self.state().max_body_bytes = bytes;
    }

    pub fn forget_topic(&self, topic: Topic, may_be_created: bool) {
        let mut state = self.state();
        state.topics.remove(topic.name());
        state.may_create_topics = may_be_created;
    }

    /// What came into one queue, in its order.
    pub fn queue(&self, topic: Topic, queue: u16) -> Vec<OutgoingMessage> {
        self.state().queues.get(&(topic.name().to_owned(), queue)).cloned().unwrap_or_default()
    }

    /// Everything that came, queue by queue.
    pub fn everything(&self) -> Vec<OutgoingMessage> {
        self.state().queues.values().flatten().cloned().collect()
    }

    pub fn ids(&self) -> Vec<Uuid> {
        self.everything().iter().map(|message| message.message_id).collect()
    }

    /// What came of one ordering key in one topic, in its order.
    pub fn ids_of_key(&self, topic: Topic, key: &str) -> Vec<Uuid> {
        let state = self.state();
        let of_topic = state.queues.iter().filter(|((name, _), _)| name == topic.name());
        let messages = of_topic.flat_map(|(_, messages)| messages);
        messages.filter(|message| message.ordering_key == key).map(|message| message.message_id).collect()
    }

    pub fn most_in_one_queue(&self) -> usize {
        self.state().most_in_one_queue
    }

    pub fn most_queues_at_once(&self) -> usize {
        self.state().most_queues_at_once
    }

    pub fn largest_send_messages(&self) -> usize {
        self.state().largest_send_messages
    }

    /// Producers asked for and sends made while it was down.
    pub fn refused_calls(&self) -> usize {
        self.state().refused_calls
    }

    pub fn producers_made(&self) -> usize {
        self.state().producers_made
    }

    fn begin(&self, topic: &str, queue: u16) -> Sending {
        let mut state = self.state();
        let place = (topic.to_owned(), queue);
        let in_queue = state.sending.entry(place.clone()).or_default();
        *in_queue += 1;
        let in_queue = *in_queue;
        state.most_in_one_queue = state.most_in_one_queue.max(in_queue);
        state.most_queues_at_once = state.most_queues_at_once.max(state.sending.len());
        Sending { broker: self.clone(), place }
    }

    fn store(&self, topic: &str, queue: u16, batch: &[OutgoingMessage]) -> Result<(), SendError> {
        let mut state = self.state();
        if state.is_down {
            state.refused_calls += 1;
            return Err(SendError::Unavailable("down".to_owned()));
        }
        if !state.topics.contains(topic) {
            return Err(SendError::UnknownTopic(topic.to_owned()));
        }
        state.largest_send_messages = state.largest_send_messages.max(batch.len());
        let limit_bytes = state.max_body_bytes;
        if let Some(large) = batch.iter().find(|message| message.body.len() > limit_bytes) {
            return Err(SendError::TooLarge { size_bytes: large.body.len(), limit_bytes });
        }
        state.queues.entry((topic.to_owned(), queue)).or_default().extend_from_slice(batch);
        Ok(())
    }
}

/// A send under way.
struct Sending {
    broker: RecordingBroker,
    place: (String, u16),
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut state = self.broker.state();
        if let Some(in_queue) = state.sending.get_mut(&self.place) {
            *in_queue -= 1;
        }
        state.sending.retain(|_, in_queue| *in_queue > 0);
    }
}

#[async_trait]
impl Broker for RecordingBroker {
    async fn create_topics(&self, names: &[&str], _queues: u16) -> Result<(), BrokerError> {
        let mut state = self.state();
        if !state.may_create_topics {
            return Err(BrokerError::Rejected("not allowed".to_owned()));
        }
        state.topics.extend(names.iter().map(|name| (*name).to_owned()));
        Ok(())
    }

    async fn topic_queues(&self, topic: &str) -> Result<Option<u16>, BrokerError> {
        Ok(self.state().topics.contains(topic).then_some(QUEUES_PER_TOPIC))
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BrokerError> {
        let mut state = self.state();
        if state.is_down {
            state.refused_calls += 1;
            return Err(BrokerError::Unavailable("down".to_owned()));
        }
        state.producers_made += 1;
        Ok(Box::new(RecordingProducer(self.clone())))
    }

    async fn consumer(&self, _group: &str, _topics: &[&str]) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(BrokerError::Rejected("nobody consumes here".to_owned()))
    }

    async fn listener(&self, _name: &str, _topics: &[&str]) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(BrokerError::Rejected("nobody listens here".to_owned()))
    }

    async fn backlog(&self, _group: &str, _topic: &str) -> Result<Option<Vec<QueueBacklog>>, BrokerError> {
        Ok(None)
    }

    async fn is_reachable(&self) -> bool {
        !self.state().is_down
    }

    async fn close(&self) {}
}

struct RecordingProducer(RecordingBroker);

#[async_trait]
impl Producer for RecordingProducer {
    async fn send(&self, topic: &str, queue: u16, batch: &[OutgoingMessage]) -> Result<(), SendError> {
        let _sending = self.0.begin(topic, queue);
        // A real one answers later, too.
        tokio::task::yield_now().await;
        self.0.store(topic, queue, batch)?;
        let mut silent = self.0.0.silent.subscribe();
        // The sender lives as long as the broker.
        let _ = silent.wait_for(|is_silent| !is_silent).await;
        Ok(())
    }

    async fn close(&self) {}
}
