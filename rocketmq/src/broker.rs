//! The broker port.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use messaging::{Broker, BrokerError, BrokerStatus, Consumer, Producer, QueueBacklog};

use crate::admin::{Admin, RuntimeInfo};
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

    async fn status(&self, name: String, address: String) -> BrokerStatus {
        // Asking one that takes no connection would cost the others the client they share.
        if !self.cluster.now().is_master_up(&address) {
            return BrokerStatus { name, is_up: false, disk_used_ratio: None };
        }
        match self.admin.runtime_info(&address).await {
            Ok(info) => BrokerStatus { name, is_up: true, disk_used_ratio: disk_used_ratio(&info) },
            // It answered, if only that access control forbids it to say more.
            Err(failure) => BrokerStatus { name, is_up: !failure.spoils_the_client(), disk_used_ratio: None },
        }
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

    async fn statuses(&self) -> Vec<BrokerStatus> {
        let masters = self.shared.cluster.now().masters;
        join_all(masters.into_iter().map(|(name, address)| self.shared.status(name, address))).await
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

/// The fuller of the disks that messages and their indexes are on. A path that is not there counts as -1 with the broker.
fn disk_used_ratio(info: &RuntimeInfo) -> Option<f64> {
    let ratio = |name: &str| info.get(name)?.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    [ratio("commitLogDiskRatio"), ratio("consumeQueueDiskRatio")].into_iter().flatten().reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(entries: &[(&str, &str)]) -> RuntimeInfo {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_fuller_disk_counts_and_one_that_is_not_told_is_unknown() {
        let told = info(&[("commitLogDiskRatio", "0.25"), ("consumeQueueDiskRatio", "0.5")]);
        assert_eq!(disk_used_ratio(&told), Some(0.5));
        assert_eq!(
            disk_used_ratio(&info(&[("commitLogDiskRatio", "0.25"), ("consumeQueueDiskRatio", "-1.0")])),
            Some(0.25)
        );
        assert_eq!(disk_used_ratio(&info(&[("commitLogDiskRatio", "-1.0")])), None);
        assert_eq!(disk_used_ratio(&info(&[])), None);
    }
}
