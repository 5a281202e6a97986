//! What is measured and logged, and where it is to be had.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::bounds::positive;

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
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { listen: None, peers: None, consumer_lag_interval_ms: 5_000 }
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
        positive(60_000, &[("metrics.consumer_lag_interval_ms", self.consumer_lag_interval_ms)])
    }
}
