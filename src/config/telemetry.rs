//! What is measured and logged, and where it is to be had.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::bounds::{TEN_YEARS_SECONDS, invalid, positive};

/// The RocketMQ crates tell of every connection and shard at `info`.
const DEFAULT_LOG_FILTER: &str = "info,rocketmq_auth=warn,rocketmq_broker=warn,rocketmq_client_rust=warn,rocketmq_common=warn,\
    rocketmq_namesrv=warn,rocketmq_observability=warn,rocketmq_remoting=warn,rocketmq_runtime=warn,rocketmq_store=error,\
    rocketmq_store_local=warn,rocketmq_transport=warn";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Where `relay`, `process` and `project` serve `/metrics`; none: a free port.
    pub listen: Option<SocketAddr>,
    /// `/metrics` of the other roles, merged into that of `serve` (`up` sets it). Comma separated URLs.
    pub peers: Option<String>,
    /// How often `relay` asks the broker how far the consumer groups are behind.
    pub consumer_lag_interval_ms: u64,
    /// How often `relay` looks how the broker is.
    pub broker_interval_ms: u64,
    /// Prometheus exporters beside a broker that `up` did not start: of its process, such as the JMX exporter, or of its
    /// machine, such as node_exporter. None: what it takes of processor and memory is unknown. Comma separated URLs.
    pub broker_exporter_url: Option<String>,
    /// Between two samples of the history that the console shows.
    pub history_interval_seconds: u64,
    pub history_retention_seconds: u64,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            listen: None,
            peers: None,
            consumer_lag_interval_ms: 5_000,
            broker_interval_ms: 5_000,
            broker_exporter_url: None,
            history_interval_seconds: 10,
            history_retention_seconds: 24 * 3_600,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    pub format: LogFormat,
    /// As RUST_LOG: `info`, `warn,order_ledger=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: DEFAULT_LOG_FILTER.into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl MetricsConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        positive(3_600, &[("metrics.history_interval_seconds", self.history_interval_seconds)])?;
        positive(TEN_YEARS_SECONDS, &[("metrics.history_retention_seconds", self.history_retention_seconds)])?;
        positive(
            60_000,
            &[
                ("metrics.consumer_lag_interval_ms", self.consumer_lag_interval_ms),
                ("metrics.broker_interval_ms", self.broker_interval_ms),
            ],
        )?;
        let is_url = |url: &&str| ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
        match self.broker_exporter_urls().iter().all(is_url) {
            true => Ok(()),
            false => Err(invalid("metrics.broker_exporter_url", "must start with http:// or https://")),
        }
    }

    /// Each of the exporters.
    pub fn broker_exporter_urls(&self) -> Vec<&str> {
        let urls = self.broker_exporter_url.as_deref().unwrap_or_default();
        urls.split(',').map(str::trim).filter(|url| !url.is_empty()).collect()
    }
}
