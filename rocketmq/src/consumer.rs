//! A member of a consumer group, on the lite pull consumer, which keeps order per queue and hands a dead member's queues
//! over within a tenth of a second; or a listener, which takes all queues for itself.
//!
//! A listener is not the client's broadcast model, which keeps its offsets in files under the home directory: it assigns
//! itself the queues, starts at their end and commits nothing.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use messaging::{BrokerError, Consumer, Delivery, QueueRef};
use rocketmq_client_rust::{ClientResult, ClientRuntime, DefaultLitePullConsumer};
use rocketmq_model::common::consumer::consume_from_where::ConsumeFromWhere;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::message::message_queue::MessageQueue;
use tokio::time::Instant;

use crate::broker::Shared;
use crate::engine::{Clients, Resident, end, within};
use crate::failure::Failure;
use crate::traffic;

/// An idle pull waits this long at the broker: what an idle queue costs. Apache's looks at what waits every five seconds.
const BROKER_SUSPEND: Duration = Duration::from_secs(5);
/// The client allows that many pulls at a time, whatever waits at the broker included: with fewer than there are queues,
/// idle ones would hold up busy ones.
const PULLS_PER_TOPIC: usize = 64;

/// What a consumer is given.
pub(crate) enum Reads<'a> {
    /// Its share of the group's queues, of messages with one of the tags; of all messages when there are none.
    ItsShare(&'a [&'a str]),
    /// Every queue, from its end on.
    EverythingFromNow,
}

pub(crate) struct RocketMqConsumer {
    member: Resident<Member>,
    ready: Ready,
}

/// Fetched and not yet given to the caller, who takes them without waiting: one who stops waiting before that loses none.
type Ready = Arc<Mutex<VecDeque<Delivery>>>;

impl RocketMqConsumer {
    /// Joins the group.
    pub(crate) async fn join(
        shared: &Arc<Shared>,
        group: &str,
        topics: &[&str],
        reads: Reads<'_>,
    ) -> Result<Self, Failure> {
        let (for_member, group) = (shared.clone(), group.to_owned());
        let subscription = match reads {
            Reads::ItsShare(tags) => Some(subscription_expression(tags)),
            Reads::EverythingFromNow => None,
        };
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let ready = Ready::default();
        let for_caller = ready.clone();
        let member = shared.engine.settle(move |clients| Member {
            shared: for_member,
            clients,
            group,
            topics,
            subscription,
            connection: tokio::sync::Mutex::new(Connection::default()),
            ready,
        })?;
        let consumer = Self { member, ready: for_caller };
        consumer.member.run(|member| async move { member.join().await }.boxed_local()).await??;
        Ok(consumer)
    }
}

#[async_trait]
impl Consumer for RocketMqConsumer {
    async fn poll(&mut self, max_messages: usize, max_wait: Duration) -> Result<Vec<Delivery>, BrokerError> {
        self.member
            .run(move |member| async move { member.fetch(max_messages, max_wait).await }.boxed_local())
            .await??;
        let mut ready = lock(&self.ready);
        let count = ready.len().min(max_messages);
        Ok(ready.drain(..count).collect())
    }

    async fn commit(&mut self, next_offsets: &[(QueueRef, i64)]) -> Result<(), BrokerError> {
        let next_offsets = next_offsets.to_vec();
        self.member.run(move |member| async move { member.commit(next_offsets).await }.boxed_local()).await??;
        Ok(())
    }

    async fn close(self: Box<Self>) {
        let leaving = |member: Rc<Member>| {
            async move {
                if let Some(client) = member.connection.lock().await.client.take() {
                    end(client.runtime).await;
                }
            }
            .boxed_local()
        };
        let _ = self.member.run(leaving).await;
    }
}

impl Drop for RocketMqConsumer {
    fn drop(&mut self) {
        // A consumer that was not closed would stay a member, and keep its queues from the others.
        self.member
            .start(|member| async move { member.end_client(&mut *member.connection.lock().await) }.boxed_local());
    }
}

/// The part that holds clients.
struct Member {
    shared: Arc<Shared>,
    clients: Rc<Clients>,
    group: String,
    topics: Vec<String>,
    /// None: a listener.
    subscription: Option<String>,
    /// Held during a poll, so that there is one at a time.
    connection: tokio::sync::Mutex<Connection>,
    ready: Ready,
}

#[derive(Default)]
struct Connection {
    client: Option<Client>,
    last_attempt: Option<Instant>,
}

struct Client {
    consumer: DefaultLitePullConsumer,
    runtime: Arc<ClientRuntime>,
    /// The epoch of the cluster it was built in.
    epoch: u64,
}

impl Member {
    async fn join(&self) -> Result<(), Failure> {
        let limit = self.shared.config.request_timeout();
        self.connected(&mut *self.connection.lock().await, limit).await.map(drop)
    }

    /// Fills the ready messages up to `max_messages`: waits for the first, takes what else is there.
    async fn fetch(&self, max_messages: usize, max_wait: Duration) -> Result<(), Failure> {
        let mut connection = self.connection.lock().await;
        let consumer = self.connected(&mut connection, max_wait).await?;
        let mut ready = lock(&self.ready).len();
        let mut wait = if ready == 0 { max_wait } else { Duration::ZERO };
        while ready < max_messages {
            let polled = consumer.poll_with_timeout_zero_copy(as_ms(wait)).await;
            if polled.is_empty() {
                break;
            }
            ready += polled.len();
            traffic::given_by_the_broker(polled.iter().map(|message| stored_bytes(message)).sum());
            lock(&self.ready).extend(polled.iter().map(|message| delivery(message)));
            wait = Duration::ZERO;
        }
        if ready == 0 && !consumer.is_running().await {
            self.end_client(&mut connection);
            return Err(Failure::unavailable("the consumer ended by itself"));
        }
        Ok(())
    }

    async fn commit(&self, next_offsets: Vec<(QueueRef, i64)>) -> Result<(), Failure> {
        if self.subscription.is_none() {
            return Ok(());
        }
        let masters = self.shared.cluster.now().masters;
        self.shared.admin.write_offsets(&self.group, next_offsets.clone(), masters).await?;
        // The client writes what it remembers every few seconds and at its end: that must be the same.
        if let Some(client) = &self.connection.lock().await.client
            && let Some(store) = client.consumer.offset_store().await
        {
            for (queue, next_offset) in next_offsets {
                let queue = MessageQueue::from_parts(queue.topic, queue.broker, i32::from(queue.queue));
                store.update_offset(&queue, next_offset, false).await;
            }
        }
        Ok(())
    }

    /// A client of the cluster's present epoch. When no broker is up the old one ends at once, so that it is no member
    /// any more when the broker returns.
    async fn connected(
        &self,
        connection: &mut Connection,
        max_wait: Duration,
    ) -> Result<DefaultLitePullConsumer, Failure> {
        if !self.shared.cluster.now().is_up() {
            self.end_client(connection);
        }
        let cluster = self
            .shared
            .cluster
            .up_within(max_wait)
            .await
            .ok_or_else(|| Failure::unavailable("no broker takes connections"))?;
        if let Some(client) = &connection.client {
            if client.epoch >= cluster.epoch {
                return Ok(client.consumer.clone());
            }
            self.end_client(connection);
        }
        if let Some(last) = connection.last_attempt {
            tokio::time::sleep_until(last + self.shared.config.reconnect_pause()).await;
        }
        connection.last_attempt = Some(Instant::now());
        let client = self.connect(cluster.epoch).await?;
        let consumer = client.consumer.clone();
        connection.client = Some(client);
        Ok(consumer)
    }

    async fn connect(&self, epoch: u64) -> Result<Client, Failure> {
        let config = &self.shared.config;
        let runtime = self.clients.new_runtime()?;
        let mut consumer = DefaultLitePullConsumer::builder(runtime.clone());
        if let Some(signer) = self.clients.signer() {
            consumer = consumer.rpc_hook(signer);
        }
        let consumer = consumer
            .name_server_addr(self.clients.name_server())
            .instance_name(self.clients.new_instance_name())
            .consumer_group(self.group.clone())
            .consume_from_where(match self.subscription {
                Some(_) => ConsumeFromWhere::ConsumeFromFirstOffset,
                None => ConsumeFromWhere::ConsumeFromLastOffset,
            })
            .auto_commit(false)
            .pull_batch_size(i32::from(config.pull_batch_size))
            .pull_thread_nums(PULLS_PER_TOPIC * self.topics.len().max(1))
            .pull_threshold_for_all(i64::from(config.prefetch_messages))
            .broker_suspend_max_time_millis(as_ms(BROKER_SUSPEND))
            .build()?;
        let client = Client { consumer, runtime, epoch };
        let started = within(config.request_timeout(), "consumer start", self.start(&client.consumer)).await;
        match started {
            Ok(()) => Ok(client),
            Err(failure) => {
                tokio::task::spawn_local(end(client.runtime));
                Err(failure)
            }
        }
    }

    async fn start(&self, consumer: &DefaultLitePullConsumer) -> ClientResult<()> {
        let Some(expression) = &self.subscription else {
            consumer.start().await?;
            return self.take_all_queues(consumer).await;
        };
        for topic in &self.topics {
            consumer.subscribe_with_expression(topic, expression).await?;
        }
        consumer.start().await
    }

    /// Each queue is set to its end before anybody is told that the listener listens.
    async fn take_all_queues(&self, consumer: &DefaultLitePullConsumer) -> ClientResult<()> {
        let mut queues = Vec::new();
        for topic in &self.topics {
            queues.extend(consumer.fetch_message_queues(topic).await?);
        }
        consumer.assign(queues.clone()).await?;
        for queue in &queues {
            consumer.seek_to_end(queue).await?;
        }
        Ok(())
    }

    /// Ends the client in the background. What it fetched was not committed, and comes again with the next one.
    fn end_client(&self, connection: &mut Connection) {
        lock(&self.ready).clear();
        if let Some(client) = connection.client.take() {
            tokio::task::spawn_local(end(client.runtime));
        }
    }
}

fn lock(ready: &Mutex<VecDeque<Delivery>>) -> MutexGuard<'_, VecDeque<Delivery>> {
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tags joined the way the broker reads them: with blanks around the bars it would find none.
fn subscription_expression(tags: &[&str]) -> String {
    if tags.is_empty() { "*".into() } else { tags.join("||") }
}

fn delivery(message: &MessageExt) -> Delivery {
    let property = |name: &str| message.properties().get(name).map(|value| value.to_string()).unwrap_or_default();
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
        properties: message.properties().iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    }
}

fn stored_bytes(message: &MessageExt) -> usize {
    usize::try_from(message.store_size()).unwrap_or_default()
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
