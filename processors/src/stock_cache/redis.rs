use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use domain::TicketTypeId;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Client, RedisResult, Script};

use super::{CacheUnavailable, CachedStock, StockCache};
use crate::circuit::{self, Circuit, CircuitConfig};

const DEPENDENCY: &str = "redis";
/// How long a new connection may take; a query does not wait for it.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Where Redis is, and how patient to be with it.
#[derive(Clone)]
pub struct RedisCacheConfig {
    /// `redis://:password@host:6379/0`, or `rediss://` for TLS.
    pub url: String,
    /// What the keys begin with, for a server that others use too.
    pub key_prefix: String,
    /// How long an entry is kept that nobody mentions.
    pub ttl_ms: u64,
    /// A query waits no longer; it then does without.
    pub read_timeout_ms: u64,
    pub write_timeout_ms: u64,
    pub circuit: CircuitConfig,
}

impl RedisCacheConfig {
    /// The defaults for a server.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            key_prefix: "order-ledger:".to_owned(),
            ttl_ms: 10_000,
            read_timeout_ms: 10,
            write_timeout_ms: 1_000,
            circuit: CircuitConfig { failure_threshold: 3, open_ms: 500 },
        }
    }
}

/// The address is not one of Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no redis:// or rediss:// address")]
pub struct RedisCacheConfigError;

/// A cache that all processes share. Versions are compared where the entries are, in one step.
pub struct RedisStockCache {
    connection: ConnectionManager,
    put_if_newer: Script,
    config: RedisCacheConfig,
    circuit: Circuit,
}

impl RedisStockCache {
    /// Connects when it is first asked. Must be called on a Tokio runtime.
    pub fn new(config: RedisCacheConfig) -> Result<Self, RedisCacheConfigError> {
        let wrong = |_| RedisCacheConfigError;
        let client = Client::open(config.url.as_str()).map_err(wrong)?;
        let patience = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(Duration::from_millis(config.write_timeout_ms)))
            .set_number_of_retries(1);
        Ok(Self {
            connection: client.get_connection_manager_lazy(patience).map_err(wrong)?,
            put_if_newer: Script::new(include_str!("put_if_newer.lua")),
            circuit: Circuit::new(config.circuit.clone()),
            config,
        })
    }

    fn key(&self, id: TicketTypeId) -> String {
        format!("{}stock:{id}", self.config.key_prefix)
    }

    /// One call in its time, if Redis is not being left alone.
    async fn within<T>(
        &self,
        limit_ms: u64,
        call: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, CacheUnavailable> {
        let pass = self.circuit.admit().map_err(|open| CacheUnavailable(open.to_string()))?;
        let answer = match tokio::time::timeout(Duration::from_millis(limit_ms), call).await {
            Ok(answer) => answer.map_err(|error| CacheUnavailable(error.to_string())),
            Err(_) => Err(CacheUnavailable(format!("no answer within {limit_ms} ms"))),
        };
        let changed = if answer.is_ok() { pass.worked() } else { pass.failed() };
        if let Some(state) = changed {
            circuit::show(DEPENDENCY, state);
            tracing::info!(?state, "the circuit of Redis changed");
        }
        answer
    }
}

#[async_trait]
impl StockCache for RedisStockCache {
    fn ttl_ms(&self) -> u64 {
        self.config.ttl_ms
    }

    async fn get(&self, id: TicketTypeId) -> Result<Option<CachedStock>, CacheUnavailable> {
        let mut connection = self.connection.clone();
        let reading = connection.hget(self.key(id), "stock");
        let text: Option<String> = self.within(self.config.read_timeout_ms, reading).await?;
        // What cannot be read was not written by this version, and is as good as nothing.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    async fn offer(&self, news: &[CachedStock]) -> Result<Vec<bool>, CacheUnavailable> {
        if news.is_empty() {
            return Ok(Vec::new());
        }
        let mut put = self.put_if_newer.prepare_invoke();
        put.arg(self.config.ttl_ms);
        for stock in news {
            let text = serde_json::to_string(stock).map_err(|error| CacheUnavailable(error.to_string()))?;
            put.key(self.key(stock.ticket_type_id)).arg(stock.version).arg(text);
        }
        let mut connection = self.connection.clone();
        let putting = put.invoke_async(&mut connection);
        let was_new: Vec<u8> = self.within(self.config.write_timeout_ms, putting).await?;
        Ok(was_new.into_iter().map(|flag| flag == 1).collect())
    }
}
