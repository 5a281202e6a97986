//! A member of a consumer group, on the lite pull consumer, which keeps order per queue and hands a dead member's queues
//! over within a tenth of a second.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use messaging::{BrokerError, Consumer, Delivery, QueueRef};
use rocketmq_client_rust::DefaultLitePullConsumer;
use rocketmq_model::common::consumer::consume_from_where::ConsumeFromWhere;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::message::message_queue::MessageQueue;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::broker::Shared;
use crate::engine::within;
use crate::failure::Failure;

/// An idle pull waits this long at the broker. It bounds the time of a shutdown, and is the price of an idle queue.
const BROKER_SUSPEND: Duration = Duration::from_secs(1);
/// The client allows that many pulls at a time, whatever waits at the broker included: with fewer than there are queues,
/// idle ones would hold up busy ones.
const PULLS_PER_TOPIC: usize = 64;

pub(crate) struct RocketMqConsumer {
    member: Arc<Member>,
}

impl RocketMqConsumer {
    /// Joins the group.
    pub(crate) async fn join(
        shared: Arc<Shared>,
        group: &str,
        topics: &[&str],
        tags: &[&str],
    ) -> Result<Self, Failure> {
        let member = Arc::new(Member {
            shared,
            group: group.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            expression: subscription_expression(tags),
            state: Mutex::new(State::default()),
        });
        let consumer = Self { member: member.clone() };
        let joining = async move {
            let limit = member.shared.config.request_timeout();
            member.connected(&mut *member.state.lock().await, limit).await.map(drop)
        };
        consumer.member.shared.engine.run(joining).await??;
        Ok(consumer)
    }
}

#[async_trait]
impl Consumer for RocketMqConsumer {
    async fn poll(&mut self, max_messages: usize, max_wait: Duration) -> Result<Vec<Delivery>, BrokerError> {
        let member = self.member.clone();
        // What is fetched goes to the state first: a caller that stops waiting loses nothing.
        self.member
            .shared
            .engine
            .run(async move { member.fetch(max_messages, max_wait).await })
            .await??;
        Ok(self.member.take_ready(max_messages).await)
    }

    async fn commit(&mut self, next_offsets: &[(QueueRef, i64)]) -> Result<(), BrokerError> {
        let (member, next_offsets) = (self.member.clone(), next_offsets.to_vec());
        self.member
            .shared
            .engine
            .run(async move { member.commit(&next_offsets).await })
            .await??;
        Ok(())
    }

    async fn close(self: Box<Self>) {
        let member = self.member.clone();
        let limit = self.member.shared.config.close_timeout();
        let ending = async move {
            let client = member.state.lock().await.client.take();
            if let Some(client) = client {
                let _ = tokio::time::timeout(limit, client.consumer.shutdown().boxed()).await;
            }
        };
        let _ = self.member.shared.engine.run(ending).await;
    }
}

impl Drop for RocketMqConsumer {
    fn drop(&mut self) {
        // Without this a consumer that was not closed would stay a member, and keep its queues from the others.
        let member = self.member.clone();
        self.member.shared.engine.spawn(async move { member.end_client(&mut *member.state.lock().await) });
    }
}

struct Member {
    shared: Arc<Shared>,
    group: String,
    topics: Vec<String>,
    expression: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    client: Option<Client>,
    last_attempt: Option<Instant>,
    /// Fetched and not yet given to the caller.
    ready: VecDeque<Delivery>,
}

struct Client {
    consumer: DefaultLitePullConsumer,
    /// The epoch of the cluster it was built in.
    epoch: u64,
}

impl Member {
    /// Fills the ready messages up to `max_messages`: waits for the first, takes what else is there.
    async fn fetch(&self, max_messages: usize, max_wait: Duration) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        let consumer = self.connected(&mut state, max_wait).await?;
        let mut wait = if state.ready.is_empty() { max_wait } else { Duration::ZERO };
        while state.ready.len() < max_messages {
            let polled = consumer.poll_with_timeout_zero_copy(as_ms(wait)).boxed().await;
            if polled.is_empty() {
                break;
            }
            state.ready.extend(polled.iter().map(|message| delivery(message)));
            wait = Duration::ZERO;
        }
        if state.ready.is_empty() && !consumer.is_running().await {
            self.end_client(&mut state);
            return Err(Failure::unavailable("the consumer ended by itself"));
        }
        Ok(())
    }

    async fn take_ready(&self, max_messages: usize) -> Vec<Delivery> {
        let mut state = self.state.lock().await;
        let count = state.ready.len().min(max_messages);
        state.ready.drain(..count).collect()
    }

    async fn commit(&self, next_offsets: &[(QueueRef, i64)]) -> Result<(), Failure> {
        let masters = self.shared.cluster.now().masters;
        self.shared.admin.write_offsets(&self.group, next_offsets, &masters).await?;
        // The client writes what it remembers every few seconds and at its end: that must be the same.
        if let Some(client) = &self.state.lock().await.client
            && let Some(store) = client.consumer.offset_store().boxed().await
        {
            for (queue, next_offset) in next_offsets {
                let queue = MessageQueue::from_parts(queue.topic.clone(), queue.broker.clone(), i32::from(queue.queue));
                store.update_offset(&queue, *next_offset, false).boxed().await;
            }
        }
        Ok(())
    }

    /// A client of the cluster's present epoch. When no broker is up the old one ends at once, so that it is no member
    /// any more when the broker returns.
    async fn connected(&self, state: &mut State, max_wait: Duration) -> Result<DefaultLitePullConsumer, Failure> {
        if !self.shared.cluster.now().is_up() {
            self.end_client(state);
        }
        let cluster = self
            .shared
            .cluster
            .up_within(max_wait)
            .await
            .ok_or_else(|| Failure::unavailable("no broker takes connections"))?;
        if let Some(client) = &state.client {
            if client.epoch >= cluster.epoch {
                return Ok(client.consumer.clone());
            }
            self.end_client(state);
        }
        if let Some(last) = state.last_attempt {
            tokio::time::sleep_until(last + self.shared.config.reconnect_pause()).await;
        }
        state.last_attempt = Some(Instant::now());
        let consumer = self.connect().await?;
        state.client = Some(Client { consumer: consumer.clone(), epoch: cluster.epoch });
        Ok(consumer)
    }

    async fn connect(&self) -> Result<DefaultLitePullConsumer, Failure> {
        let config = &self.shared.config;
        let consumer = DefaultLitePullConsumer::builder(self.shared.engine.clients())
            .name_server_addr(config.name_servers().join(";"))
            .instance_name(self.shared.engine.new_instance_name())
            .consumer_group(self.group.clone())
            .consume_from_where(ConsumeFromWhere::ConsumeFromFirstOffset)
            .auto_commit(false)
            .pull_batch_size(i32::from(config.pull_batch_size))
            .pull_thread_nums(PULLS_PER_TOPIC * self.topics.len().max(1))
            .pull_threshold_for_all(i64::from(config.prefetch_messages))
            .broker_suspend_max_time_millis(as_ms(BROKER_SUSPEND))
            .build()?;
        let started = within(config.request_timeout(), "consumer start", async {
            for topic in &self.topics {
                consumer.subscribe_with_expression(topic, &self.expression).boxed().await?;
            }
            consumer.start().boxed().await
        })
        .await;
        if started.is_err() {
            let failed = consumer.clone();
            self.shared.engine.spawn(async move { failed.shutdown().boxed().await });
        }
        started.map(|()| consumer)
    }

    /// Ends the client in the background. What it fetched was not committed, and comes again with the next one.
    fn end_client(&self, state: &mut State) {
        state.ready.clear();
        if let Some(client) = state.client.take() {
            self.shared.engine.spawn(async move { client.consumer.shutdown().boxed().await });
        }
    }
}

/// Tags joined the way the broker reads them: with blanks around the bars it would find none.
fn subscription_expression(tags: &[&str]) -> String {
    if tags.is_empty() { "*".into() } else { tags.join("||") }
}

fn delivery(message: &MessageExt) -> Delivery {
    let property = |name: &str| {
        message
            .properties()
            .get(name)
            .map(|value| value.to_string())
            .unwrap_or_default()
    };
    Delivery {
        queue: QueueRef {
            topic: message.topic().to_string(),
            broker: message.broker_name().to_owned(),
            // A broker numbers its queues from 0.
            queue: u16::try_from(message.queue_id()).unwrap_or_default(),
        },
        offset: message.queue_offset(),
        keys: property("KEYS"),
        tags: property("TAGS"),
        body: message.body().map(|body| body.to_vec()).unwrap_or_default(),
        properties: message
            .properties()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    }
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_joined_without_blanks() {
        assert_eq!(subscription_expression(&[]), "*");
        assert_eq!(subscription_expression(&["STOCK_LOCK"]), "STOCK_LOCK");
        assert_eq!(subscription_expression(&["STOCK_LOCK", "STOCK_DEDUCT"]), "STOCK_LOCK||STOCK_DEDUCT");
    }
}
