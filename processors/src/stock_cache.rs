//! The stock that was last heard of: quick to read, and possibly behind the ledger. Queries may read it, decisions never
//! do, so that a cache that is old, wrong or away sells no ticket twice.

mod in_process;
mod redis;

use async_trait::async_trait;
use domain::{Decider, Stock, TicketTypeId};
use messaging::message::StockSync;
use messaging::{Poison, ReceivedMessage};
use serde::{Deserialize, Serialize};

pub use in_process::InProcessStockCache;
pub use redis::{RedisCacheConfig, RedisCacheConfigError, RedisStockCache};

/// What was left of a ticket type at one version of its stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedStock {
    pub ticket_type_id: TicketTypeId,
    pub capacity: i64,
    pub available: i64,
    pub locked: i64,
    pub sold: i64,
    /// Version of the stock's stream.
    pub version: i64,
    /// Ledger position of that version's event.
    pub position: i64,
}

/// Stock by ticket type. An entry is forgotten some time after it was last heard of, so that news that never came cannot
/// be missed for long.
#[async_trait]
pub trait StockCache: Send + Sync {
    /// How old an entry may become, and so how old news may be that makes one.
    fn ttl_ms(&self) -> u64;

    /// What is known of a ticket type's stock.
    async fn get(&self, id: TicketTypeId) -> Result<Option<CachedStock>, CacheUnavailable>;

    /// Takes in news. What is older than what is known is refused; what is known already stays known for longer. Says of
    /// each whether it was new.
    async fn offer(&self, news: &[CachedStock]) -> Result<Vec<bool>, CacheUnavailable>;
}

/// The cache does not answer, or not in time. Nothing is lost by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stock cache is unavailable: {0}")]
pub struct CacheUnavailable(pub String);

impl CachedStock {
    /// The news of a `stock-sync`; `None` where it does not say which event of the ledger it tells of.
    pub fn told_by(message: &ReceivedMessage) -> Result<Option<Self>, Poison> {
        let sync: StockSync = message.decode()?;
        let stream_id = Stock::stream_id(&sync.ticket_type_id.to_string());
        let is_its_event =
            message.stream_id.as_ref() == Some(&stream_id) && message.stream_version == Some(sync.stream_version);
        let position = message.position.filter(|_| is_its_event);
        let version = i64::try_from(sync.stream_version).ok();
        Ok(position.zip(version).map(|(position, version)| Self {
            ticket_type_id: sync.ticket_type_id,
            capacity: sync.capacity.into(),
            available: sync.available.into(),
            locked: sync.locked.into(),
            sold: sync.sold.into(),
            version,
            position,
        }))
    }
}
