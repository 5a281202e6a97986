//! The member's line to its broker: built when it is needed, and built anew after anything went wrong with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::config::RuntimeConfig;
use crate::broker::{Broker, BrokerError, Consumer, Delivery, QueueRef};
use crate::metric;
use crate::topic::Topic;

pub(super) struct Connection {
    broker: Arc<dyn Broker>,
    group: String,
    topics: Vec<&'static str>,
    consumer: Option<Box<dyn Consumer>>,
    checked_at: Instant,
    check_every: Duration,
    close_timeout: Duration,
}

impl Connection {
    pub(super) fn new(broker: Arc<dyn Broker>, group: &str, topics: &[Topic], config: &RuntimeConfig) -> Connection {
        Connection {
            broker,
            group: group.to_owned(),
            topics: topics.iter().map(|topic| topic.name()).collect(),
            consumer: None,
            checked_at: Instant::now(),
            check_every: Duration::from_millis(config.reachable_check_every_ms),
            close_timeout: Duration::from_millis(config.close_timeout_ms),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.consumer.is_some()
    }

    pub(super) async fn poll(&mut self, max_messages: usize, max_wait: Duration) -> Result<Vec<Delivery>, BrokerError> {
        self.connected().await?.poll(max_messages, max_wait).await
    }

    /// What was polled before the line was lost can't be committed on a new one, and need not be: it comes again.
    pub(super) async fn commit(&mut self, next_offsets: &[(QueueRef, i64)]) -> Result<(), BrokerError> {
        match self.consumer.as_mut() {
            Some(consumer) => consumer.commit(next_offsets).await,
            None => Err(BrokerError::Unavailable("not connected".into())),
        }
    }

    /// To an idle consumer a broker that has nothing looks like one that is gone; after the latter it must be built anew.
    pub(super) async fn check_idle(&mut self) -> Result<(), BrokerError> {
        if self.checked_at.elapsed() < self.check_every { Ok(()) } else { self.check_reachable().await }
    }

    pub(super) async fn close(&mut self) {
        metric::up(&self.group, false);
        if let Some(consumer) = self.consumer.take()
            && tokio::time::timeout(self.close_timeout, consumer.close()).await.is_err()
        {
            warn!(group = self.group, "consumer did not leave its group in time");
        }
    }

    async fn connected(&mut self) -> Result<&mut Box<dyn Consumer>, BrokerError> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.connect().await?,
        };
        Ok(self.consumer.insert(consumer))
    }

    /// A client may say that all is well while nobody answers, so the broker is asked first.
    async fn connect(&mut self) -> Result<Box<dyn Consumer>, BrokerError> {
        self.check_reachable().await?;
        let consumer = self.broker.consumer(&self.group, &self.topics).await?;
        metric::up(&self.group, true);
        Ok(consumer)
    }

    async fn check_reachable(&mut self) -> Result<(), BrokerError> {
        self.checked_at = Instant::now();
        if self.broker.is_reachable().await {
            return Ok(());
        }
        Err(BrokerError::Unavailable("not reachable".into()))
    }
}
