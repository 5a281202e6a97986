//! Messages that were polled and are not settled yet, in arrival order, and the keys among them that back off.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use event_store::span;
use uuid::Uuid;

use super::config::RuntimeConfig;
use crate::broker::Delivery;
use crate::dead_letter::{Entry, WAITS, cause_of};
use crate::handler::HandleError;
use crate::received::{Poison, ReceivedMessage, Remains};
use crate::topic::Topic;

/// A delivery on its way through the consumer.
pub(super) struct Work {
    pub(super) delivery: Delivery,
    /// Failures by itself so far.
    pub(super) attempts: u32,
    content: Content,
}

enum Content {
    Message(Box<ReceivedMessage>),
    Poison { poison: Poison, remains: Remains },
}

impl Work {
    pub(super) fn new(delivery: Delivery) -> Work {
        let content = match ReceivedMessage::parse(&delivery) {
            Ok(message) => Content::Message(Box::new(message)),
            Err(poison) => Content::Poison { poison, remains: Remains::of(&delivery) },
        };
        Work { delivery, attempts: 0, content }
    }

    pub(super) fn message(&self) -> Option<&ReceivedMessage> {
        match &self.content {
            Content::Message(message) => Some(message),
            Content::Poison { .. } => None,
        }
    }

    pub(super) fn poison(&self) -> Option<Poison> {
        match &self.content {
            Content::Message(_) => None,
            Content::Poison { poison, .. } => Some(poison.clone()),
        }
    }

    pub(super) fn waiting_key(&self) -> Option<&str> {
        match &self.content {
            Content::Message(message) => Some(&message.waiting_key),
            Content::Poison { remains, .. } => remains.waiting_key.as_deref(),
        }
    }

    pub(super) fn message_id(&self) -> Option<Uuid> {
        match &self.content {
            Content::Message(message) => Some(message.message_id),
            Content::Poison { remains, .. } => remains.message_id,
        }
    }

    /// For log lines.
    pub(super) fn trace_id(&self) -> Option<&str> {
        span::trace_id(self.message()?.traceparent.as_deref())
    }

    pub(super) fn topic(&self) -> Option<Topic> {
        Topic::parse(self.topic_name())
    }

    pub(super) fn topic_name(&self) -> &str {
        &self.delivery.queue.topic
    }

    /// Parked behind another; a message that did not parse says so now, and not first when its turn comes.
    pub(super) fn behind(&self) -> Entry<'_> {
        match &self.content {
            Content::Message(_) => {
                self.entry("waits behind an earlier dead letter of its waiting key".into(), WAITS.into())
            }
            Content::Poison { poison, .. } => self.given_up(&poison.clone().into()),
        }
    }

    /// Parked because of this.
    pub(super) fn given_up(&self, problem: &HandleError) -> Entry<'_> {
        self.entry(problem.to_string(), cause_of(problem))
    }

    fn entry(&self, reason: String, cause: String) -> Entry<'_> {
        Entry {
            delivery: &self.delivery,
            topic: self.topic_name(),
            waiting_key: self.waiting_key(),
            message_id: self.message_id(),
            reason,
            cause,
            attempts: self.attempts,
        }
    }
}

/// Bounded by `max_waiting_messages`.
pub(super) struct Backlog {
    waiting: VecDeque<Work>,
    backing_off: HashMap<String, BackOff>,
    max_waiting_messages: usize,
    max_batch_messages: usize,
    backoff_initial: Duration,
    backoff_max: Duration,
    /// Drawn anew for each batch and not for each key: keys that failed together are tried together, as one batch.
    jitter: f64,
}

struct BackOff {
    failures: u32,
    until: Instant,
}

impl Backlog {
    pub(super) fn new(config: &RuntimeConfig) -> Backlog {
        Backlog {
            waiting: VecDeque::new(),
            backing_off: HashMap::new(),
            max_waiting_messages: config.max_waiting_messages.max(1),
            max_batch_messages: config.max_batch_messages.max(1),
            backoff_initial: Duration::from_millis(config.backoff_initial_ms),
            backoff_max: Duration::from_millis(config.backoff_max_ms),
            jitter: draw_jitter(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many more it may take.
    pub(super) fn room(&self) -> usize {
        self.max_waiting_messages.saturating_sub(self.waiting.len())
    }

    pub(super) fn push(&mut self, work: Work) {
        self.waiting.push_back(work);
    }

    /// Takes back, in order, what was taken and not settled.
    pub(super) fn put_back(&mut self, works: Vec<Work>) {
        for work in works.into_iter().rev() {
            self.waiting.push_front(work);
        }
    }

    /// The next batch, in arrival order: no message of a key that backs off, and a message that did not parse only as the
    /// first of its key, so that it is given up when those before it are through.
    pub(super) fn take_ready(&mut self, now: Instant) -> Vec<Work> {
        self.jitter = draw_jitter();
        let mut ready: Vec<Work> = Vec::new();
        let mut left = VecDeque::with_capacity(self.waiting.len());
        let mut taken_keys: HashSet<String> = HashSet::new();
        let mut stopped_keys: HashSet<String> = HashSet::new();
        for work in std::mem::take(&mut self.waiting) {
            let Some(key) = work.waiting_key() else {
                ready.push(work);
                continue;
            };
            let is_poison = work.message().is_none();
            let must_wait = ready.len() >= self.max_batch_messages
                || stopped_keys.contains(key)
                || self.backing_off.get(key).is_some_and(|back_off| now < back_off.until)
                || (is_poison && taken_keys.contains(key));
            if is_poison || must_wait {
                stopped_keys.insert(key.to_owned());
            }
            if must_wait {
                left.push_back(work);
            } else {
                taken_keys.insert(key.to_owned());
                ready.push(work);
            }
        }
        self.waiting = left;
        ready
    }

    /// How long to wait for new messages before one that waits here may be tried again.
    pub(super) fn wait_until_ready(&self, now: Instant, at_most: Duration) -> Duration {
        self.waiting
            .iter()
            .map(|work| {
                work.waiting_key()
                    .and_then(|key| self.backing_off.get(key))
                    .map_or(Duration::ZERO, |back_off| back_off.until.saturating_duration_since(now))
            })
            .fold(at_most, Duration::min)
    }

    /// The key of this message failed once more: it waits, twice as long as the last time. Returns how often it has failed
    /// in a row.
    pub(super) fn back_off(&mut self, work: &Work) -> u32 {
        let Some(key) = work.waiting_key() else { return 0 };
        let back_off = self.backing_off.entry(key.to_owned()).or_insert(BackOff { failures: 0, until: Instant::now() });
        let doubled = self.backoff_initial.saturating_mul(1 << back_off.failures.min(20));
        back_off.until = Instant::now() + doubled.min(self.backoff_max).mul_f64(self.jitter);
        back_off.failures = back_off.failures.saturating_add(1);
        back_off.failures
    }

    /// Takes back, in order, messages whose keys others work on just now. Each key backs off once, however many wait.
    pub(super) fn hold(&mut self, works: Vec<Work>) {
        let mut keys: HashSet<&str> = HashSet::new();
        for work in &works {
            if work.waiting_key().is_some_and(|key| keys.insert(key)) {
                self.back_off(work);
            }
        }
        self.put_back(works);
    }

    /// The key of this message goes on: the message was applied, or given up.
    pub(super) fn clear_back_off(&mut self, work: &Work) {
        if !self.backing_off.is_empty() {
            self.backing_off.remove(work.waiting_key().unwrap_or_default());
        }
    }
}

/// Half to all of the back-off, so that many consumers of one dependency don't come back as one.
fn draw_jitter() -> f64 {
    rand::random_range(0.5..=1.0)
}
