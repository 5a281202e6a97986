//! Who reads from the broker in memory: members of groups, and listeners.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use crate::broker::{BrokerError, Consumer, Delivery, QueueRef};

/// A poll gives one queue's messages, at most this many, as RocketMQ's pull consumer does.
const PULL_BATCH_MESSAGES: usize = 32;

pub(super) struct InMemoryConsumer {
    shared: Arc<Shared>,
    group: String,
    member: u64,
    /// Where it reads on, for the queues it has now.
    positions: HashMap<QueueRef, i64>,
    /// Polls so far: each starts with another queue, so that none starves.
    polls: usize,
}

impl InMemoryConsumer {
    pub(super) fn join(shared: Arc<Shared>, group: &str, topics: &[&str]) -> Result<InMemoryConsumer, BrokerError> {
        let mut state = shared.lock();
        state.check_up()?;
        state.check_topics(topics)?;
        state.members_ever += 1;
        let member = state.members_ever;
        let subscription = topics.iter().map(|topic| (*topic).to_owned()).collect();
        state.groups.entry(group.to_owned()).or_default().members.insert(member, subscription);
        drop(state);
        shared.changed();
        Ok(InMemoryConsumer { shared, group: group.to_owned(), member, positions: HashMap::new(), polls: 0 })
    }

    /// What one queue has ready now.
    fn take(&mut self, max_messages: usize) -> Result<Vec<Delivery>, BrokerError> {
        let state = self.shared.lock();
        state.check_up()?;
        let queues = state.assignment(&self.group, self.member);
        self.positions.retain(|queue, _| queues.contains(queue));
        self.polls += 1;
        for nth in 0..queues.len() {
            let queue = &queues[(self.polls + nth) % queues.len()];
            let committed = || state.groups.get(&self.group).and_then(|group| group.next_offsets.get(queue)).copied();
            let position = self.positions.get(queue).copied().or_else(committed).unwrap_or(0);
            let deliveries = state.read(queue, position, max_messages.min(PULL_BATCH_MESSAGES));
            if let Some(last) = deliveries.last() {
                self.positions.insert(queue.clone(), last.offset + 1);
                return Ok(deliveries);
            }
        }
        Ok(Vec::new())
    }
}

#[async_trait]
impl Consumer for InMemoryConsumer {
    async fn poll(&mut self, max_messages: usize, max_wait: Duration) -> Result<Vec<Delivery>, BrokerError> {
        let shared = self.shared.clone();
        wait_for(&shared, max_wait, || self.take(max_messages)).await
    }

    async fn commit(&mut self, next_offsets: &[(QueueRef, i64)]) -> Result<(), BrokerError> {
        let mut state = self.shared.lock();
        state.check_up()?;
        let group = state.groups.entry(self.group.clone()).or_default();
        group.next_offsets.extend(next_offsets.iter().cloned());
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}

impl Drop for InMemoryConsumer {
    /// A member that dies leaves its queues to the others, as it does when it closes.
    fn drop(&mut self) {
        if let Some(group) = self.shared.lock().groups.get_mut(&self.group) {
            group.members.remove(&self.member);
        }
        self.shared.changed();
    }
}

/// Hears what every queue of its topics is sent after it joined.
pub(super) struct InMemoryListener {
    shared: Arc<Shared>,
    positions: Vec<(QueueRef, i64)>,
}

impl InMemoryListener {
    pub(super) fn join(shared: Arc<Shared>, topics: &[&str]) -> Result<InMemoryListener, BrokerError> {
        let state = shared.lock();
        state.check_up()?;
        state.check_topics(topics)?;
        let positions = topics.iter().flat_map(|topic| state.ends(topic)).collect();
        drop(state);
        Ok(InMemoryListener { shared, positions })
    }

    fn take(&mut self, max_messages: usize) -> Result<Vec<Delivery>, BrokerError> {
        let state = self.shared.lock();
        state.check_up()?;
        let mut taken = Vec::new();
        for (queue, position) in &mut self.positions {
            let deliveries = state.read(queue, *position, max_messages - taken.len());
            *position += deliveries.len() as i64;
            taken.extend(deliveries);
        }
        Ok(taken)
    }
}

#[async_trait]
impl Consumer for InMemoryListener {
    async fn poll(&mut self, max_messages: usize, max_wait: Duration) -> Result<Vec<Delivery>, BrokerError> {
        let shared = self.shared.clone();
        wait_for(&shared, max_wait, || self.take(max_messages)).await
    }

    async fn commit(&mut self, _next_offsets: &[(QueueRef, i64)]) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}

/// Takes again whenever something changed, until there is something or the wait is over.
async fn wait_for(
    shared: &Shared,
    max_wait: Duration,
    mut take: impl FnMut() -> Result<Vec<Delivery>, BrokerError>,
) -> Result<Vec<Delivery>, BrokerError> {
    let give_up_at = Instant::now() + max_wait;
    let mut changes = shared.changes.subscribe();
    loop {
        changes.mark_unchanged();
        let deliveries = take()?;
        if !deliveries.is_empty() || timeout_at(give_up_at, changes.changed()).await.is_err() {
            return Ok(deliveries);
        }
    }
}
