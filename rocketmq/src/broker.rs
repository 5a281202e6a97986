//! The broker port.

use std::sync::Arc;

use async_trait::async_trait;
use messaging::{Broker, BrokerError, Consumer, Producer, QueueBacklog};

use crate::admin::Admin;
use crate::cluster::ClusterWatch;
use crate::config::{ConfigError, RocketMqConfig};
use crate::consumer::{Reads, RocketMqConsumer};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::producer::RocketMqProducer;

/// RocketMQ behind the broker port. Nothing here waits for the broker to be up: calls say that it is not.
pub struct RocketMqBroker {
    shared: Arc<Shared>,
}

/// What a broker's producers and consumers have in common.
pub(crate) struct Shared {
    pub(crate) config: RocketMqConfig,
    pub(crate) engine: Engine,
    pub(crate) admin: Arc<Admin>,
    pub(crate) cluster: ClusterWatch,
}

impl RocketMqBroker {
    /// Starts the client's runtime and the watch on the brokers. Fails on a wrong setting, not on an absent broker.
    pub fn connect(config: RocketMqConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let shared =
            Shared::start(config).map_err(|failure| ConfigError { key: "client", reason: failure.to_string() })?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A member of a group that is only given messages with one of the tags; all of them when there are none.
    pub async fn consumer_of_tags(
        &self,
        group: &str,
        topics: &[&str],
        tags: &[&str],
    ) -> Result<Box<dyn Consumer>, BrokerError> {
        let consumer = RocketMqConsumer::join(&self.shared, group, topics, Reads::ItsShare(tags)).await?;
        Ok(Box::new(consumer))
    }
}

impl Shared {
    fn start(config: RocketMqConfig) -> Result<Self, Failure> {
        let engine = Engine::start(&config)?;
        let admin = Arc::new(Admin::start(&engine, &config)?);
        let cluster = ClusterWatch::start(&engine, admin.clone())?;
        Ok(Self { config, engine, admin, cluster })
    }
}

#[async_trait]
impl Broker for RocketMqBroker {
    async fn create_topics(&self, names: &[&str], queues: u16) -> Result<(), BrokerError> {
        for name in names {
            self.shared.admin.create_topic(name, queues).await?;
        }
        Ok(())
    }

    async fn topic_queues(&self, topic: &str) -> Result<Option<u16>, BrokerError> {
        Ok(self.shared.admin.topic_queues(topic).await?)
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BrokerError> {
        Ok(Box::new(RocketMqProducer::new(&self.shared)?))
    }

    async fn consumer(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, BrokerError> {
        self.consumer_of_tags(group, topics, &[]).await
    }

    async fn listener(&self, name: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, BrokerError> {
        let listener = RocketMqConsumer::join(&self.shared, name, topics, Reads::EverythingFromNow).await?;
        Ok(Box::new(listener))
    }

    async fn backlog(&self, group: &str, topic: &str) -> Result<Option<Vec<QueueBacklog>>, BrokerError> {
        Ok(self.shared.admin.backlog(group, topic).await?)
    }

    async fn is_reachable(&self) -> bool {
        let limit = self.shared.config.request_timeout();
        let probe = async {
            // A name server that lists no broker is of no use, and neither is a listed broker that nobody can reach.
            let listed = self.shared.admin.masters().await.is_ok_and(|masters| !masters.is_empty());
            listed && self.shared.cluster.up_within(limit).await.is_some()
        };
        tokio::time::timeout(limit, probe).await.unwrap_or(false)
    }

    async fn close(&self) {
        self.shared.cluster.stop();
        let limit = self.shared.config.close_timeout();
        let closing = async {
            self.shared.admin.close().await;
            self.shared.engine.shutdown(limit).await
        };
        let _ = tokio::time::timeout(limit, closing).await;
    }
}
