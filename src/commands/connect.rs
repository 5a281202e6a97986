//! From the configuration, or the instance that `up` runs, to connections.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use event_store::LedgerConfig;
use messaging::Broker;
use projections::RebuildConfig;
use rocketmq::{Credentials, RocketMqBroker, RocketMqConfig};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use watch::MissingConfig;

use crate::config::Config;
use crate::instance::Instance;

/// Two workers: the machine it is made for has two cores, and nothing here blocks.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

pub fn database_url(config: &Config) -> anyhow::Result<String> {
    if let Some(url) = &config.database.url {
        return Ok(url.clone());
    }
    let instance = Instance::find(config.data_dir()).ok_or_else(|| no_instance(config, "LEDGER__DATABASE__URL"))?;
    Ok(instance.database_url)
}

pub async fn pool(config: &Config) -> anyhow::Result<PgPool> {
    let options: PgConnectOptions = database_url(config)?.parse().context("configuration: database.url")?;
    PgPoolOptions::new()
        .max_connections(config.database.max_connections)
        // A ping before each use would double the round trips of a query; a connection that died is replaced when used.
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_millis(config.database.acquire_timeout_ms))
        // Short queries, of which none would earn back what compiling it takes.
        .connect_with(options.application_name("order-ledger").options([("jit", "off")]))
        .await
        .context("cannot reach Postgres")
}

fn rocketmq_config(config: &Config) -> anyhow::Result<RocketMqConfig> {
    let name_server = match &config.rocketmq.name_server {
        Some(name_server) => name_server.clone(),
        None => {
            let found = Instance::find(config.data_dir());
            found.ok_or_else(|| no_instance(config, "LEDGER__ROCKETMQ__NAME_SERVER"))?.name_server
        }
    };
    let producer = &config.rocketmq.producer;
    Ok(RocketMqConfig {
        name_server,
        credentials: credentials(config),
        producer_group: producer.group.clone(),
        send_message_timeout_ms: producer.send_message_timeout_ms,
        retry_times_when_send_failed: producer.retry_times_when_send_failed,
        max_message_size_bytes: producer.max_message_size,
        ..RocketMqConfig::default()
    })
}

/// Validated to be both or neither.
fn credentials(config: &Config) -> Option<Credentials> {
    let (access_key, secret_key) = (config.rocketmq.access_key.clone()?, config.rocketmq.secret_key.clone()?);
    Some(Credentials { access_key, secret_key })
}

pub fn broker(config: &Config) -> anyhow::Result<Arc<dyn Broker>> {
    let broker = RocketMqBroker::connect(rocketmq_config(config)?).context("cannot set up the RocketMQ client")?;
    Ok(Arc::new(broker))
}

pub fn ledger_config(config: &Config) -> LedgerConfig {
    LedgerConfig {
        max_batch_commands: config.ledger.max_batch_commands,
        max_queue_commands: config.ledger.max_queue_commands,
        snapshot_every_events: config.ledger.snapshot_every_events,
        ..LedgerConfig::default()
    }
}

pub fn rebuild_config(config: &Config) -> RebuildConfig {
    let projection = &config.projection;
    RebuildConfig {
        poll_interval: Duration::from_millis(projection.rebuild_poll_interval_ms),
        lease_ttl: Duration::from_millis(projection.rebuild_lease_ttl_ms),
        max_range_events: i64::try_from(projection.rebuild_max_range_events).unwrap_or(i64::MAX),
        max_ranges_at_once: projection.rebuild_max_ranges_at_once,
        max_busy_percent: projection.rebuild_max_busy_percent,
        ..RebuildConfig::default()
    }
}

/// Traces are forgotten a while after their events: nothing is judged that comes near.
pub fn missing_config(config: &Config) -> MissingConfig {
    let inbox_seconds = config.ledger.inbox_retention_seconds;
    let kept_seconds = inbox_seconds.min(config.consumer.dead_letter_retention_seconds);
    MissingConfig {
        interval: Duration::from_secs(config.watch.missing_interval_seconds),
        confirm_after: Duration::from_secs(config.watch.missing_confirm_after_seconds),
        traces_kept_for: Duration::from_secs(kept_seconds / 10 * 9),
        ..MissingConfig::default()
    }
}

fn no_instance(config: &Config, key: &str) -> anyhow::Error {
    anyhow!("no instance runs on {}: start one with `order-ledger up`, or set {key}", config.data_dir().display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_seeds_keys_reach_the_client() {
        let mut config = Config::default();
        config.rocketmq.name_server = Some("192.168.1.100:9876;192.168.1.101:9876".into());
        config.rocketmq.producer.group = "shop-producers".into();
        config.rocketmq.producer.send_message_timeout_ms = 1_234;
        config.rocketmq.producer.retry_times_when_send_failed = 7;
        config.rocketmq.producer.max_message_size = 99;

        let client = rocketmq_config(&config).unwrap();

        assert_eq!(client.name_server, "192.168.1.100:9876;192.168.1.101:9876");
        assert_eq!(client.producer_group, "shop-producers");
        assert_eq!((client.send_message_timeout_ms, client.retry_times_when_send_failed), (1_234, 7));
        assert_eq!(client.max_message_size_bytes, 99);
    }
}
