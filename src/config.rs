//! Configuration: defaults < TOML file < environment (`LEDGER__…`) < flags, validated before anything starts.

mod bounds;
mod cache;
mod consumer;
mod database;
mod http;
mod ledger;
mod notification;
mod order;
mod payment;
mod projection;
mod relay;
mod rocketmq;
mod rollout;
mod secrets;
mod telemetry;
#[cfg(test)]
mod tests;
mod tracing;
mod watch;

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

use bounds::invalid;

use crate::exit::Failure;

pub use cache::CacheSection;
pub use consumer::ConsumerSection;
pub use database::DatabaseConfig;
pub use http::{AuthConfig, HttpConfig};
pub use ledger::LedgerSection;
pub use notification::NotificationSection;
pub use order::{OrderConfig, SagaSection, StockConfig};
pub use payment::PaymentConfig;
pub use projection::ProjectionSection;
pub use relay::RelaySection;
pub use rocketmq::{ProducerSection, RocketMqSection};
pub use rollout::{InstanceMode, RolloutSection};
pub use telemetry::{LogConfig, LogFormat, MetricsConfig};
pub use tracing::TracingSection;
pub use watch::WatchSection;

const ENV_PREFIX: &str = "LEDGER__";

/// Everything that can be set. Units are in the names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where `up` keeps its state, and where the other commands find a running instance.
    pub data_dir: DataDir,
    pub database: DatabaseConfig,
    pub http: HttpConfig,
    pub rocketmq: RocketMqSection,
    pub order: OrderConfig,
    pub stock: StockConfig,
    pub payment: PaymentConfig,
    pub saga: SagaSection,
    pub auth: AuthConfig,
    pub ledger: LedgerSection,
    pub relay: RelaySection,
    pub consumer: ConsumerSection,
    pub projection: ProjectionSection,
    pub rollout: RolloutSection,
    pub notification: NotificationSection,
    pub cache: CacheSection,
    pub metrics: MetricsConfig,
    pub watch: WatchSection,
    pub log: LogConfig,
    pub tracing: TracingSection,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DataDir(pub PathBuf);

impl Default for DataDir {
    fn default() -> Self {
        DataDir(PathBuf::from("./.ledger"))
    }
}

impl Config {
    /// Reads and validates; the message names the key that is wrong.
    pub fn load(file: Option<&Path>, flags: impl FnOnce(Figment) -> Figment) -> Result<Self, Failure> {
        let mut figment = Figment::from(Serialized::defaults(Config::default()));
        if let Some(path) = file {
            if !path.is_file() {
                return Err(Failure::Usage(format!("configuration file {} does not exist", path.display())));
            }
            figment = figment.merge(Toml::file_exact(path));
        }
        // Env::split lowercases and splits on `__`, so LEDGER__HTTP__LISTEN is http.listen.
        let figment = flags(figment.merge(Env::prefixed(ENV_PREFIX).split("__")));
        let config: Config = figment.extract().map_err(|error| Failure::Usage(first_line(&error)))?;
        config.validate().map_err(Failure::Usage)?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), String> {
        self.database.validate()?;
        self.http.validate()?;
        self.auth.validate()?;
        self.rocketmq.validate()?;
        self.order.validate()?;
        self.stock.validate()?;
        self.saga.validate()?;
        self.payment.validate()?;
        self.ledger.validate()?;
        self.relay.validate()?;
        self.consumer.validate()?;
        self.projection.validate()?;
        self.rollout.validate()?;
        self.notification.validate()?;
        self.cache.validate()?;
        self.metrics.validate()?;
        self.tracing.validate()?;
        // A replay sends what the outbox still has: whoever had it must still know it.
        if self.relay.outbox_retention_seconds > self.ledger.inbox_retention_seconds {
            return Err(invalid("relay.outbox_retention_seconds", "must not be above ledger.inbox_retention_seconds"));
        }
        self.watch.validate()?;
        if self.payment.sync_wait_ms >= self.http.request_timeout_ms {
            return Err(invalid("payment.sync_wait_ms", "must be below http.request_timeout_ms"));
        }
        Ok(())
    }

    /// The effective values, secrets masked.
    pub fn masked(&self) -> Config {
        let mut masked = self.clone();
        masked.auth.mask();
        masked.payment.mask();
        masked.rocketmq.mask();
        masked.notification.mask();
        masked.cache.mask();
        masked.database.mask();
        masked
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir.0
    }
}

fn first_line(error: &figment::Error) -> String {
    let key = error.path.join(".");
    // What was found is left out: it may be a secret, also in the line that a syntax error quotes.
    let why = match &error.kind {
        Kind::InvalidType(_, wanted) | Kind::InvalidValue(_, wanted) => format!("must be {wanted}"),
        kind => kind.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    match key.is_empty() {
        true => format!("configuration: {why}"),
        false => format!("configuration: {key}: {why}"),
    }
}
