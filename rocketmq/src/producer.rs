//! Sends ordered batches, each to one queue, with a client that is replaced when it fails.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use messaging::{OutgoingMessage, Producer, SendError};
use rocketmq_client_rust::{ClientRuntime, DefaultMQProducer};
use rocketmq_model::common::message::message_queue::MessageQueue;

use crate::batch::{self, Prepared};
use crate::broker::Shared;
use crate::engine::{Clients, Resident, end, within};
use crate::failure::Failure;
use crate::reconnect::Reconnecting;
use crate::traffic;

/// How often the route of a topic that exists is asked for until it is known.
const ROUTE_POLL: Duration = Duration::from_millis(100);

pub(crate) struct RocketMqProducer {
    sender: Resident<Sender>,
    shared: Arc<Shared>,
}

impl RocketMqProducer {
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Self, Failure> {
        let for_sender = shared.clone();
        let sender = shared.engine.settle(move |clients| Sender {
            client: Reconnecting::new(for_sender.config.reconnect_pause()),
            shared: for_sender,
            clients,
        })?;
        Ok(Self { sender, shared: shared.clone() })
    }
}

#[async_trait]
impl Producer for RocketMqProducer {
    async fn send(&self, topic: &str, queue: u16, batch: &[OutgoingMessage]) -> Result<(), SendError> {
        let config = &self.shared.config;
        let prepared = batch::prepare(topic, batch, config.max_message_size_bytes)?;
        let runs = batch::split(prepared, config.max_batch_bytes);
        let topic = topic.to_owned();
        self.sender.run(move |sender| async move { sender.send_runs(&topic, queue, runs).await }.boxed_local()).await?
    }

    async fn close(&self) {
        let _ = self.sender.run(|sender| sender.end_client().boxed_local()).await;
    }
}

impl Drop for RocketMqProducer {
    fn drop(&mut self) {
        // A producer that was not closed would stay registered, and its tasks running.
        self.sender.start(|sender| sender.end_client().boxed_local());
    }
}

/// The part that holds clients.
struct Sender {
    shared: Arc<Shared>,
    clients: Rc<Clients>,
    client: Reconnecting<Client>,
}

/// A producer of the client library, and the queues it knows.
struct Client {
    producer: DefaultMQProducer,
    runtime: Arc<ClientRuntime>,
    /// The epoch of the cluster it was built in.
    epoch: u64,
    queues: RefCell<HashMap<String, Vec<MessageQueue>>>,
}

impl Sender {
    /// Sends the runs one after the other. One that the broker finds too large is halved, until it is a single message.
    async fn send_runs(&self, topic: &str, queue: u16, runs: Vec<Vec<Prepared>>) -> Result<(), SendError> {
        let mut waiting: Vec<Vec<Prepared>> = runs.into_iter().rev().collect();
        while let Some(mut run) = waiting.pop() {
            match self.send_run(topic, queue, &run).await {
                Ok(()) => {}
                Err(Failure::TooLarge(_)) if run.len() > 1 => {
                    let second_half = run.split_off(run.len() / 2);
                    waiting.push(second_half);
                    waiting.push(run);
                }
                Err(Failure::TooLarge(_)) => {
                    return Err(SendError::TooLarge {
                        size_bytes: run.iter().map(|message| message.size_bytes).sum(),
                        limit_bytes: self.shared.config.max_message_size_bytes,
                    });
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(())
    }

    /// One run, with the configured number of attempts.
    async fn send_run(&self, topic: &str, queue: u16, run: &[Prepared]) -> Result<(), Failure> {
        let config = &self.shared.config;
        let mut attempts_left = config.retry_times_when_send_failed;
        loop {
            let failure = match self.attempt(topic, queue, run).await {
                Ok(()) => {
                    traffic::taken_by_the_broker(run.iter().map(|message| message.size_bytes).sum());
                    return Ok(());
                }
                Err(failure @ (Failure::Unavailable(_) | Failure::Busy(_))) => failure,
                Err(final_answer) => return Err(final_answer),
            };
            if attempts_left == 0 {
                return Err(failure);
            }
            attempts_left -= 1;
            tracing::debug!(topic, queue, %failure, "a send failed and is tried again");
            tokio::time::sleep(config.reconnect_pause()).await;
        }
    }

    async fn attempt(&self, topic: &str, queue: u16, run: &[Prepared]) -> Result<(), Failure> {
        let client = self.connected().await?;
        let sent = self.send_with(&client, topic, queue, run).await;
        match sent {
            Ok(()) => Ok(()),
            Err(failure) => {
                if failure.spoils_the_client() {
                    self.discard(&client).await;
                }
                Err(failure)
            }
        }
    }

    async fn send_with(&self, client: &Client, topic: &str, queue: u16, run: &[Prepared]) -> Result<(), Failure> {
        let target = self.queue(client, topic, queue).await?;
        let messages: Vec<_> = run.iter().map(|prepared| prepared.message.clone()).collect();
        let timeout = self.shared.config.send_timeout();
        // Wide enough for the client's own time-out to be the one that speaks.
        let limit = timeout + timeout / 2;
        let sending = client.producer.send_batch_to_queue_with_timeout(messages, target, as_ms(timeout));
        match within(limit, "send", sending).await {
            Ok(result) => match batch::unconfirmed(result.send_status) {
                None => Ok(()),
                Some(reason) => Err(Failure::Busy(reason)),
            },
            Err(Failure::UnknownTopic(_)) => {
                client.forget(topic);
                Err(self.unknown_or_late(topic).await)
            }
            Err(failure) => Err(failure),
        }
    }

    /// A client of the cluster's present epoch. No client is built while no broker takes connections.
    async fn connected(&self) -> Result<Rc<Client>, Failure> {
        let pause = self.shared.config.reconnect_pause();
        let cluster = self
            .shared
            .cluster
            .up_within(pause)
            .await
            .ok_or_else(|| Failure::unavailable("no broker takes connections"))?;
        let client = self.client.get(|| self.connect(cluster.epoch)).await?;
        if client.epoch >= cluster.epoch {
            return Ok(client);
        }
        self.discard(&client).await;
        self.client.get(|| self.connect(cluster.epoch)).await
    }

    async fn connect(&self, epoch: u64) -> Result<Client, Failure> {
        let config = &self.shared.config;
        let runtime = self.clients.new_runtime()?;
        let mut producer = DefaultMQProducer::builder(runtime.clone());
        if let Some(signer) = self.clients.signer() {
            producer = producer.rpc_hook(signer);
        }
        let mut producer = producer
            .client_config(self.clients.new_config())
            .producer_group(config.producer_group.clone())
            .send_msg_timeout(u32::try_from(config.send_message_timeout_ms).unwrap_or(u32::MAX))
            .max_message_size(u32::try_from(config.max_message_size_bytes).unwrap_or(u32::MAX))
            // Attempts are counted here, where each gets a client that did not fail.
            .retry_times_when_send_failed(0)
            .build();
        if let Err(failure) = within(config.request_timeout(), "producer start", producer.start()).await {
            tokio::task::spawn_local(end(runtime));
            return Err(failure);
        }
        Ok(Client { producer, runtime, epoch, queues: RefCell::default() })
    }

    async fn end_client(self: Rc<Self>) {
        if let Some(client) = self.client.take().await {
            end(client.runtime.clone()).await;
        }
    }

    /// Ends the client in the background, once, whoever saw it fail.
    async fn discard(&self, failed: &Rc<Client>) {
        if let Some(failed) = self.client.discard(failed).await {
            tokio::task::spawn_local(end(failed.runtime.clone()));
        }
    }

    /// The broker's queue for a queue number. Where several brokers have it, the number decides: the same one each time.
    async fn queue(&self, client: &Client, topic: &str, queue: u16) -> Result<MessageQueue, Failure> {
        let deadline = tokio::time::Instant::now() + Duration::from_millis(self.shared.config.route_wait_ms);
        loop {
            let failure = match self.route(client, topic).await {
                Ok(route) => return pick(&route, queue).ok_or_else(|| no_such_queue(topic, queue)),
                Err(Failure::UnknownTopic(_)) => self.unknown_or_late(topic).await,
                Err(failure) => failure,
            };
            let late = matches!(failure, Failure::Busy(_));
            if !late || tokio::time::Instant::now() >= deadline {
                return Err(failure);
            }
            tokio::time::sleep(ROUTE_POLL).await;
        }
    }

    async fn route(&self, client: &Client, topic: &str) -> Result<Vec<MessageQueue>, Failure> {
        if let Some(known) = client.known(topic) {
            return Ok(known);
        }
        let mut producer = client.producer.clone();
        let asked = producer.fetch_publish_message_queues(topic);
        let mut route = match within(self.shared.config.request_timeout(), "topic route", asked).await {
            // The client gives no code to a topic without queues, nor to one that is unknown on some paths.
            Err(Failure::Unavailable(reason)) if self.shared.cluster.now().is_up() => {
                return Err(Failure::UnknownTopic(reason));
            }
            other => other?,
        };
        route.sort_by(|a, b| (a.broker_name(), a.queue_id()).cmp(&(b.broker_name(), b.queue_id())));
        client.remember(topic, route.clone());
        Ok(route)
    }

    /// Unknown for good, or only not yet: the brokers decide, because a name server that has just started knows no topic.
    async fn unknown_or_late(&self, topic: &str) -> Failure {
        match self.shared.admin.topic_exists(topic).await {
            Ok(true) => Failure::Busy(format!("the route to {topic} is not known yet")),
            Ok(false) => Failure::UnknownTopic(topic.to_owned()),
            Err(failure) => failure,
        }
    }
}

impl Client {
    fn known(&self, topic: &str) -> Option<Vec<MessageQueue>> {
        self.queues.borrow().get(topic).cloned()
    }

    fn remember(&self, topic: &str, route: Vec<MessageQueue>) {
        self.queues.borrow_mut().insert(topic.to_owned(), route);
    }

    fn forget(&self, topic: &str) {
        self.queues.borrow_mut().remove(topic);
    }
}

fn pick(route: &[MessageQueue], queue: u16) -> Option<MessageQueue> {
    let candidates: Vec<_> = route.iter().filter(|candidate| candidate.queue_id() == i32::from(queue)).collect();
    let chosen = usize::from(queue).checked_rem(candidates.len())?;
    candidates.get(chosen).map(|queue| (*queue).clone())
}

fn no_such_queue(topic: &str, queue: u16) -> Failure {
    Failure::Rejected(format!("topic {topic} has no queue {queue}"))
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_queue_number_means_the_same_queue_of_the_same_broker_each_time() {
        let mut route = Vec::new();
        for broker in ["a", "b"] {
            for queue in 0..4 {
                route.push(MessageQueue::from_parts("t", broker, queue));
            }
        }

        let brokers: Vec<_> = (0..4).map(|queue| pick(&route, queue).unwrap().broker_name().to_string()).collect();

        assert_eq!(brokers, ["a", "b", "a", "b"]);
        assert!(pick(&route, 4).is_none());
    }
}
