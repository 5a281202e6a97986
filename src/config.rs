//! Configuration: defaults < TOML file < environment (`LEDGER__…`) < flags, validated before anything starts.

mod cache;
mod notification;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use processors::payment_result::AllowedHosts;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

pub use cache::CacheSection;
pub use notification::NotificationSection;

const ENV_PREFIX: &str = "LEDGER__";
/// The RocketMQ crates tell of every connection and shard at `info`.
const DEFAULT_LOG_FILTER: &str = "info,rocketmq_auth=warn,rocketmq_broker=warn,rocketmq_client_rust=warn,rocketmq_common=warn,\
    rocketmq_namesrv=warn,rocketmq_observability=warn,rocketmq_remoting=warn,rocketmq_runtime=warn,rocketmq_store=error,\
    rocketmq_store_local=warn,rocketmq_transport=warn";
/// Those who listen for notifications keep one each; the rest is for work.
const MIN_CONNECTIONS: u32 = 4;
const MASK: &str = "********";

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
    pub log: LogConfig,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DataDir(pub PathBuf);

impl Default for DataDir {
    fn default() -> Self {
        DataDir(PathBuf::from("./.ledger"))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `postgres://…`; none: the instance that `up` runs in the data directory.
    pub url: Option<String>,
    pub max_connections: u32,
    pub acquire_timeout_ms: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: None, max_connections: 12, acquire_timeout_ms: 5_000 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    /// Where the payment provider reaches the callback; none: the listen address.
    pub public_url: Option<String>,
    pub max_body_bytes: usize,
    pub request_timeout_ms: u64,
    /// Requests worked on at once; more are answered 503 early.
    pub max_concurrent_requests: usize,
    /// Requests of one user a second, in the long run; more are answered 429. None: no limit.
    pub rate_limit_per_second: Option<u32>,
    /// How many of them may come at once after a pause.
    pub rate_limit_burst: u32,
    /// Streams of server-sent events open at once; more are answered 503 early.
    pub max_update_streams: usize,
    /// How often a silent stream of updates says that it is alive.
    pub update_heartbeat_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            max_body_bytes: 64 * 1024,
            request_timeout_ms: 15_000,
            max_concurrent_requests: 1_024,
            rate_limit_per_second: None,
            rate_limit_burst: 50,
            max_update_streams: 1_000,
            update_heartbeat_ms: 15_000,
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RocketMqSection {
    /// `host:port;host:port`; none: the broker that `up` runs.
    pub name_server: Option<String>,
    /// Whom the brokers' access control knows us as; none: they let everybody in. Both keys or neither.
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    pub producer: ProducerSection,
    pub consumer: ConsumerGroupSection,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerSection {
    pub group: String,
    pub send_message_timeout_ms: u64,
    pub retry_times_when_send_failed: u32,
    /// Bytes.
    pub max_message_size: usize,
}

impl Default for ProducerSection {
    fn default() -> Self {
        Self {
            group: "ticket-producer-group".into(),
            send_message_timeout_ms: 3_000,
            retry_times_when_send_failed: 2,
            max_message_size: 4_194_304,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerGroupSection {
    /// The groups are `<group>-<consumer>`.
    pub group: String,
    /// How many messages a processor that calls others (payment, sms, email) works on side by side when few wait. The
    /// other processors decide in the ledger's group commit, in which threads have no part.
    pub consume_thread_min: usize,
    /// The same when many wait.
    pub consume_thread_max: usize,
    /// Most messages a consumer takes into one transaction.
    pub consume_message_batch_max_size: usize,
}

impl Default for ConsumerGroupSection {
    fn default() -> Self {
        Self {
            group: "ticket-consumer-group".into(),
            consume_thread_min: 5,
            consume_thread_max: 20,
            consume_message_batch_max_size: 512,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderConfig {
    pub expire_after_seconds: u64,
    pub max_quantity: u32,
    /// Whether a confirmed order may be cancelled: refund, and the stock goes back on sale.
    pub cancel_confirmed: bool,
}

impl Default for OrderConfig {
    fn default() -> Self {
        Self { expire_after_seconds: 900, max_quantity: 10, cancel_confirmed: false }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StockConfig {
    pub lock_time_seconds: u64,
}

impl Default for StockConfig {
    fn default() -> Self {
        Self { lock_time_seconds: 300 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaymentConfig {
    /// How long paying usually takes: a lock with less than this left is renewed before it starts.
    pub expected_seconds: u64,
    /// `whsec_…`, shared with the provider. Needed by `serve` and `process`.
    pub callback_secret: Option<String>,
    /// Base URL of the provider; none: the sandbox that `serve` hosts.
    pub provider_url: Option<String>,
    /// Shown to the provider as a bearer token; none: the callback secret.
    pub provider_api_key: Option<String>,
    pub provider_timeout_ms: u64,
    /// How long the payment of a sync order is waited for in its request.
    pub sync_wait_ms: u64,
    /// Such payments waited for at once, and no more than half of http.max_concurrent_requests; further ones are answered 202.
    pub max_sync_waits: usize,
    /// How often a call to the provider is made before it counts as failed.
    pub provider_max_attempts: u32,
    /// So many failed calls in a row, and the provider is left alone.
    pub circuit_failure_threshold: u32,
    /// For so long; paying is answered 503 meanwhile.
    pub circuit_open_ms: u64,
    /// How long the provider may be silent about a payment before it is asked.
    pub query_after_seconds: u64,
    /// How long a payment may stay without an outcome before it has failed.
    pub give_up_after_seconds: u64,
    /// Who may be told how a payment ended: hosts that a `callbackUrl` may name, comma separated; none: nobody.
    pub result_callback_hosts: Option<String>,
    /// `whsec_…`, signs what they are told; none: the callback secret.
    pub result_callback_secret: Option<String>,
    pub result_callback_timeout_ms: u64,
    /// So many attempts without a good answer, and a result is given up.
    pub result_callback_max_attempts: u32,
    /// The longest pause between two of them.
    pub result_callback_max_pause_ms: u64,
    pub sandbox: SandboxConfig,
}

impl Default for PaymentConfig {
    fn default() -> Self {
        Self {
            expected_seconds: 60,
            callback_secret: None,
            provider_url: None,
            provider_api_key: None,
            provider_timeout_ms: 5_000,
            sync_wait_ms: 5_000,
            max_sync_waits: 512,
            provider_max_attempts: 3,
            circuit_failure_threshold: 5,
            circuit_open_ms: 10_000,
            query_after_seconds: 30,
            give_up_after_seconds: 600,
            result_callback_hosts: None,
            result_callback_secret: None,
            result_callback_timeout_ms: 5_000,
            result_callback_max_attempts: 12,
            result_callback_max_pause_ms: 600_000,
            sandbox: SandboxConfig::default(),
        }
    }
}

impl PaymentConfig {
    /// The hosts that may be told results.
    pub fn result_callback_hosts(&self) -> Vec<&str> {
        let hosts = self.result_callback_hosts.as_deref().unwrap_or_default();
        hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).collect()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxConfig {
    pub delay_ms: u64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self { delay_ms: 50 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SagaSection {
    /// Without a step for so long, a saga counts as stuck, unless it waits for a payment whose time is not over.
    pub stuck_after_seconds: u64,
    /// How often stuck sagas are looked for.
    pub watch_interval_ms: u64,
    /// Refusals of a refund before a person must decide.
    pub max_compensation_attempts: u32,
    /// The pause after the first refusal; doubled after each further one, up to a minute.
    pub compensation_retry_ms: u32,
}

impl Default for SagaSection {
    fn default() -> Self {
        Self {
            stuck_after_seconds: 120,
            watch_interval_ms: 5_000,
            max_compensation_attempts: 5,
            compensation_retry_ms: 2_000,
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Signs and checks bearer tokens (HS256), at least 32 bytes. Needed by `serve` and `token`.
    pub token_key: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSection {
    pub max_batch_commands: usize,
    pub max_queue_commands: usize,
    pub snapshot_every_events: u64,
    /// How long an idempotency key is kept.
    pub idempotency_retention_seconds: u64,
    /// How long a consumer remembers a message: longer than any redelivery.
    pub inbox_retention_seconds: u64,
}

impl Default for LedgerSection {
    fn default() -> Self {
        Self {
            max_batch_commands: 512,
            max_queue_commands: 8_192,
            snapshot_every_events: 1_000,
            idempotency_retention_seconds: 24 * 3_600,
            inbox_retention_seconds: 14 * 24 * 3_600,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelaySection {
    pub lease_ttl_ms: u64,
    pub poll_interval_ms: u64,
    /// Messages in one batch of one lane.
    pub max_batch_messages: usize,
    pub outbox_retention_seconds: u64,
}

impl Default for RelaySection {
    fn default() -> Self {
        Self {
            lease_ttl_ms: 3_000,
            poll_interval_ms: 250,
            max_batch_messages: 500,
            outbox_retention_seconds: 3 * 24 * 3_600,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerSection {
    /// Tries of a message that fails before it becomes a dead letter.
    pub max_attempts: u32,
    /// How long a dead letter is kept after it was redriven or discarded.
    pub dead_letter_retention_seconds: u64,
}

impl Default for ConsumerSection {
    fn default() -> Self {
        Self { max_attempts: 5, dead_letter_retention_seconds: 30 * 24 * 3_600 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectionSection {
    pub poll_interval_ms: u64,
    pub max_batch_events: usize,
}

impl Default for ProjectionSection {
    fn default() -> Self {
        Self { poll_interval_ms: 250, max_batch_events: 5_000 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutSection {
    /// `policy`: orders are taken as the stored policy says. `async`, `sync`: this instance takes all of them so.
    pub instance_mode: InstanceMode,
    /// The longest a change of the policy, or the loss of the broker, goes unnoticed.
    pub poll_interval_ms: u64,
    /// New orders go around the broker while the outbox is older.
    pub outbox_age_limit_seconds: u64,
    /// How long all must be well before they go through it again.
    pub recover_after_seconds: u64,
    /// Orders of one mode noted for the report in half a second; of more, chance keeps so many.
    pub max_sampled_orders: usize,
    pub sample_retention_seconds: u64,
}

impl Default for RolloutSection {
    fn default() -> Self {
        Self {
            instance_mode: InstanceMode::Policy,
            poll_interval_ms: 250,
            outbox_age_limit_seconds: 30,
            recover_after_seconds: 10,
            max_sampled_orders: 250,
            sample_retention_seconds: 7 * 24 * 3_600,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceMode {
    Policy,
    Async,
    Sync,
}

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
        let positive: &[(&str, u64)] = &[
            ("database.max_connections", self.database.max_connections.into()),
            ("database.acquire_timeout_ms", self.database.acquire_timeout_ms),
            ("http.max_body_bytes", self.http.max_body_bytes as u64),
            ("http.request_timeout_ms", self.http.request_timeout_ms),
            ("http.max_concurrent_requests", self.http.max_concurrent_requests as u64),
            ("http.rate_limit_per_second", self.http.rate_limit_per_second.unwrap_or(1).into()),
            ("http.rate_limit_burst", self.http.rate_limit_burst.into()),
            ("http.max_update_streams", self.http.max_update_streams as u64),
            ("http.update_heartbeat_ms", self.http.update_heartbeat_ms),
            ("saga.stuck_after_seconds", self.saga.stuck_after_seconds),
            ("saga.watch_interval_ms", self.saga.watch_interval_ms),
            ("saga.max_compensation_attempts", self.saga.max_compensation_attempts.into()),
            ("saga.compensation_retry_ms", self.saga.compensation_retry_ms.into()),
            ("rocketmq.producer.send_message_timeout_ms", self.rocketmq.producer.send_message_timeout_ms),
            ("rocketmq.producer.max_message_size", self.rocketmq.producer.max_message_size as u64),
            ("rocketmq.consumer.consume_thread_min", self.rocketmq.consumer.consume_thread_min as u64),
            (
                "rocketmq.consumer.consume_message_batch_max_size",
                self.rocketmq.consumer.consume_message_batch_max_size as u64,
            ),
            ("order.expire_after_seconds", self.order.expire_after_seconds),
            ("order.max_quantity", self.order.max_quantity.into()),
            ("stock.lock_time_seconds", self.stock.lock_time_seconds),
            ("payment.provider_timeout_ms", self.payment.provider_timeout_ms),
            ("payment.provider_max_attempts", self.payment.provider_max_attempts.into()),
            ("payment.circuit_failure_threshold", self.payment.circuit_failure_threshold.into()),
            ("payment.circuit_open_ms", self.payment.circuit_open_ms),
            ("payment.query_after_seconds", self.payment.query_after_seconds),
            ("payment.result_callback_timeout_ms", self.payment.result_callback_timeout_ms),
            ("payment.result_callback_max_attempts", self.payment.result_callback_max_attempts.into()),
            ("payment.result_callback_max_pause_ms", self.payment.result_callback_max_pause_ms),
            ("ledger.max_batch_commands", self.ledger.max_batch_commands as u64),
            ("ledger.max_queue_commands", self.ledger.max_queue_commands as u64),
            ("relay.max_batch_messages", self.relay.max_batch_messages as u64),
            ("consumer.max_attempts", self.consumer.max_attempts.into()),
            ("consumer.dead_letter_retention_seconds", self.consumer.dead_letter_retention_seconds),
            ("projection.max_batch_events", self.projection.max_batch_events as u64),
            ("rollout.outbox_age_limit_seconds", self.rollout.outbox_age_limit_seconds),
            ("rollout.sample_retention_seconds", self.rollout.sample_retention_seconds),
        ];
        for &(key, value) in positive {
            if value == 0 {
                return Err(invalid(key, "must be at least 1"));
            }
        }
        if self.database.max_connections < MIN_CONNECTIONS {
            return Err(invalid("database.max_connections", &format!("must be at least {MIN_CONNECTIONS}")));
        }
        self.validate_bounds()?;
        self.notification.validate()?;
        self.cache.validate()?;
        self.validate_secrets()
    }

    fn validate_bounds(&self) -> Result<(), String> {
        for (key, group) in [
            ("rocketmq.producer.group", &self.rocketmq.producer.group),
            ("rocketmq.consumer.group", &self.rocketmq.consumer.group),
        ] {
            if !is_group_name(group) {
                return Err(invalid(key, "must be 1 to 200 letters, digits, '-' or '_'"));
            }
        }
        let consumer = &self.rocketmq.consumer;
        if consumer.consume_thread_max < consumer.consume_thread_min {
            return Err(invalid("rocketmq.consumer.consume_thread_max", "must not be below consume_thread_min"));
        }
        if consumer.consume_message_batch_max_size > 10_000 {
            return Err(invalid("rocketmq.consumer.consume_message_batch_max_size", "must be at most 10000"));
        }
        if !(500..=600_000).contains(&self.relay.lease_ttl_ms) {
            return Err(invalid("relay.lease_ttl_ms", "must be between 500 and 600000"));
        }
        // A minute a try and a dozen tries: what is beyond is a slip of the unit.
        let producer = &self.rocketmq.producer;
        if producer.send_message_timeout_ms > 60_000 {
            return Err(invalid("rocketmq.producer.send_message_timeout_ms", "must be at most 60000"));
        }
        if producer.retry_times_when_send_failed > 16 {
            return Err(invalid("rocketmq.producer.retry_times_when_send_failed", "must be at most 16"));
        }
        for (key, value) in [
            ("relay.poll_interval_ms", self.relay.poll_interval_ms),
            ("projection.poll_interval_ms", self.projection.poll_interval_ms),
            ("metrics.consumer_lag_interval_ms", self.metrics.consumer_lag_interval_ms),
        ] {
            if !(1..=60_000).contains(&value) {
                return Err(invalid(key, "must be between 1 and 60000"));
            }
        }
        // A change must be in force within a second.
        if !(10..=500).contains(&self.rollout.poll_interval_ms) {
            return Err(invalid("rollout.poll_interval_ms", "must be between 10 and 500"));
        }
        if self.payment.sync_wait_ms >= self.http.request_timeout_ms {
            return Err(invalid("payment.sync_wait_ms", "must be below http.request_timeout_ms"));
        }
        if self.rollout.max_sampled_orders > 10_000 {
            return Err(invalid("rollout.max_sampled_orders", "must be at most 10000"));
        }
        if self.order.max_quantity > 1_000 {
            return Err(invalid("order.max_quantity", "must be at most 1000"));
        }
        // Ten years: what is beyond is a slip of the unit.
        for (key, value) in [
            ("order.expire_after_seconds", self.order.expire_after_seconds),
            ("stock.lock_time_seconds", self.stock.lock_time_seconds),
            ("payment.give_up_after_seconds", self.payment.give_up_after_seconds),
            ("saga.stuck_after_seconds", self.saga.stuck_after_seconds),
            ("consumer.dead_letter_retention_seconds", self.consumer.dead_letter_retention_seconds),
            ("rollout.outbox_age_limit_seconds", self.rollout.outbox_age_limit_seconds),
            ("rollout.recover_after_seconds", self.rollout.recover_after_seconds),
            ("rollout.sample_retention_seconds", self.rollout.sample_retention_seconds),
        ] {
            if value > 315_360_000 {
                return Err(invalid(key, "must be at most 315360000 (ten years)"));
            }
        }
        self.validate_payment()
    }

    fn validate_payment(&self) -> Result<(), String> {
        if self.payment.give_up_after_seconds < self.payment.query_after_seconds {
            return Err(invalid("payment.give_up_after_seconds", "must not be below query_after_seconds"));
        }
        if self.payment.circuit_open_ms > 3_600_000 {
            return Err(invalid("payment.circuit_open_ms", "must be at most 3600000 (an hour)"));
        }
        if self.payment.result_callback_max_pause_ms > 86_400_000 {
            return Err(invalid("payment.result_callback_max_pause_ms", "must be at most 86400000 (a day)"));
        }
        if let Err(error) = AllowedHosts::parse(&self.payment.result_callback_hosts()) {
            return Err(invalid("payment.result_callback_hosts", &error.to_string()));
        }
        self.validate_shared_secrets()
    }

    /// Whoever has the callback secret can say that a payment succeeded, so it is shared with the provider alone, and never
    /// travels.
    fn validate_shared_secrets(&self) -> Result<(), String> {
        let payment = &self.payment;
        let tells_own_secret =
            payment.result_callback_secret.is_none() || payment.result_callback_secret == payment.callback_secret;
        if !payment.result_callback_hosts().is_empty() && tells_own_secret {
            let why = "must be set where payment.result_callback_hosts is, and differ from payment.callback_secret";
            return Err(invalid("payment.result_callback_secret", why));
        }
        if payment.provider_url.is_some() && payment.provider_api_key.is_none() {
            return Err(invalid("payment.provider_api_key", "must be set where payment.provider_url is"));
        }
        Ok(())
    }

    fn validate_secrets(&self) -> Result<(), String> {
        if let Some(url) = &self.database.url
            && !(url.starts_with("postgres://") || url.starts_with("postgresql://"))
        {
            return Err(invalid("database.url", "must start with postgres://"));
        }
        if let Some(servers) = &self.rocketmq.name_server
            && !servers.split(';').all(is_host_port)
        {
            return Err(invalid("rocketmq.name_server", "must be host:port, several separated by ';'"));
        }
        if self.rocketmq.access_key.is_some() != self.rocketmq.secret_key.is_some() {
            return Err(invalid("rocketmq.secret_key", "and rocketmq.access_key are set together"));
        }
        if self.auth.token_key.as_ref().is_some_and(|key| key.len() < 32) {
            return Err(invalid("auth.token_key", "must be at least 32 bytes"));
        }
        for (key, secret) in [
            ("payment.callback_secret", &self.payment.callback_secret),
            ("payment.result_callback_secret", &self.payment.result_callback_secret),
        ] {
            if secret.as_ref().is_some_and(|secret| !secret.starts_with("whsec_")) {
                return Err(invalid(key, "must start with whsec_"));
            }
        }
        Ok(())
    }

    /// The effective values, secrets masked.
    pub fn masked(&self) -> Config {
        let mut masked = self.clone();
        for secret in [
            &mut masked.auth.token_key,
            &mut masked.payment.callback_secret,
            &mut masked.payment.provider_api_key,
            &mut masked.rocketmq.secret_key,
            &mut masked.payment.result_callback_secret,
        ] {
            mask_secret(secret);
        }
        masked.notification.mask();
        masked.cache.mask();
        if let Some(url) = &mut masked.database.url {
            *url = mask_password(url);
        }
        masked
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir.0
    }
}

fn invalid(key: &str, why: &str) -> String {
    format!("configuration: {key} {why}")
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

/// As RocketMQ has it, with room for the consumer's name.
fn is_group_name(group: &str) -> bool {
    (1..=200).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_host_port(server: &str) -> bool {
    server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}

fn mask_secret(secret: &mut Option<String>) {
    if secret.is_some() {
        *secret = Some(MASK.into());
    }
}

/// `postgres://user:secret@host/db` → `postgres://user:********@host/db`.
fn mask_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return MASK.into() };
    let Some((credentials, host)) = rest.rsplit_once('@') else { return url.into() };
    match credentials.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{MASK}@{host}"),
        None => url.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn from_toml(text: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), |figment| figment).map_err(|failure| match failure {
            Failure::Usage(message) => message,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_defaults_are_valid() {
        let config = from_toml("").unwrap();
        assert_eq!(config.order.expire_after_seconds, 900);
        assert_eq!(config.rocketmq.producer.max_message_size, 4_194_304);
    }

    #[test]
    fn a_wrong_value_is_one_line_that_names_the_key() {
        for (toml, key) in [
            ("[order]\nexpire_after_seconds = \"soon\"", "order.expire_after_seconds"),
            ("[order]\nexpire_after_seconds = 0", "order.expire_after_seconds"),
            ("[order]\nmax_quantity = 5000", "order.max_quantity"),
            ("[http]\nlisten = \"nowhere\"", "http.listen"),
            ("[http]\nlissten = \"127.0.0.1:1\"", "lissten"),
            ("[rocketmq]\nname_server = \"nowhere\"", "rocketmq.name_server"),
            ("[rocketmq]\naccess_key = \"ledger\"", "rocketmq.secret_key"),
            ("[rocketmq.consumer]\nconsume_thread_max = 1", "rocketmq.consumer.consume_thread_max"),
            ("[rocketmq.consumer]\nconsume_message_batch_max_size = 0", "consume_message_batch_max_size"),
            ("[rocketmq.consumer]\ngroup = \"ticket consumers\"", "rocketmq.consumer.group"),
            ("[rocketmq.producer]\ngroup = \"\"", "rocketmq.producer.group"),
            ("[rocketmq.producer]\nretry_times_when_send_failed = 17", "retry_times_when_send_failed"),
            ("[rocketmq.producer]\nsend_message_timeout_ms = 3000000", "send_message_timeout_ms"),
            ("[rocketmq.producer]\nmax_message_size = 0", "rocketmq.producer.max_message_size"),
            ("[http]\nrate_limit_per_second = 0", "http.rate_limit_per_second"),
            ("[relay]\nlease_ttl_ms = 1", "relay.lease_ttl_ms"),
            ("[consumer]\ndead_letter_retention_seconds = 0", "consumer.dead_letter_retention_seconds"),
            ("[rollout]\npoll_interval_ms = 2000", "rollout.poll_interval_ms"),
            ("[rollout]\ninstance_mode = \"both\"", "rollout.instance_mode"),
            ("[rollout]\noutbox_age_limit_seconds = 0", "rollout.outbox_age_limit_seconds"),
            ("[payment]\nsync_wait_ms = 20000", "payment.sync_wait_ms"),
            ("[auth]\ntoken_key = \"short\"", "auth.token_key"),
            ("[payment]\ncallback_secret = \"secret\"", "payment.callback_secret"),
            ("[payment]\nresult_callback_secret = \"secret\"", "payment.result_callback_secret"),
            ("[payment]\nresult_callback_hosts = \"shop.example, 127.0.0.1\"", "payment.result_callback_hosts"),
            ("[payment]\ngive_up_after_seconds = 10", "payment.give_up_after_seconds"),
            ("[payment]\ncircuit_failure_threshold = 0", "payment.circuit_failure_threshold"),
            ("[payment]\ncircuit_open_ms = 3600001", "payment.circuit_open_ms"),
            ("[payment]\nresult_callback_max_pause_ms = 86400001", "payment.result_callback_max_pause_ms"),
            ("[database]\nurl = \"mysql://x\"", "database.url"),
            ("[notification.smtp]\nurl = \"mail.example\"", "notification.smtp.url"),
            ("[notification.smtp]\nurl = \"smtp://mail.example\"", "notification.smtp.from"),
            ("[notification.smtp]\nmax_connections = 0", "notification.smtp.max_connections"),
            ("[notification.sms]\nurl = \"sms.example\"", "notification.sms.url"),
            ("[cache]\nredis_url = \"http://localhost\"", "cache.redis_url"),
            ("[cache]\nttl_ms = 0", "cache.ttl_ms"),
        ] {
            let message = from_toml(toml).unwrap_err();
            assert!(message.contains(key), "{toml}: {message}");
            assert!(!message.contains('\n'), "{toml}: {message}");
        }
    }

    #[test]
    fn secrets_are_masked() {
        let config = from_toml(
            "[database]\nurl = \"postgres://ledger:hunter2@db/ledger\"\n[auth]\ntoken_key = \"0123456789abcdef0123456789abcdef\"\n\
             [rocketmq]\naccess_key = \"ledger\"\nsecret_key = \"hunter3\"\n\
             [notification.smtp]\nurl = \"smtps://ledger:hunter2@mail\"\nfrom = \"a@b\"\n[notification.sms]\napi_key = \"hunter2\"\n\
             [cache]\nredis_url = \"redis://:hunter2@cache\"",
        )
        .unwrap();
        let printed = toml::to_string(&config.masked()).unwrap();
        assert!(!["hunter2", "hunter3", "0123456789abcdef"].iter().any(|secret| printed.contains(secret)), "{printed}");
        assert!(printed.contains("postgres://ledger:********@db/ledger"), "{printed}");
    }
}
