//! The cache that stock queries read.

use serde::{Deserialize, Serialize};

use super::bounds::{between, invalid};
use super::secrets::mask_password;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSection {
    /// `redis://:password@host:6379/0`, or `rediss://` for TLS; none: each `serve` has a cache of its own.
    pub redis_url: Option<String>,
    /// What the keys in Redis begin with.
    pub redis_key_prefix: String,
    /// How long a query waits for Redis before it does without.
    pub redis_timeout_ms: u64,
    /// Bound on a write of the `cache` consumer.
    pub redis_write_timeout_ms: u64,
    /// How long what was heard of a ticket type counts: the bound on how old a cached answer can be.
    pub ttl_ms: u64,
}

impl Default for CacheSection {
    fn default() -> Self {
        Self {
            redis_url: None,
            redis_key_prefix: "order-ledger:".into(),
            redis_timeout_ms: 10,
            redis_write_timeout_ms: 1_000,
            ttl_ms: 10_000,
        }
    }
}

impl CacheSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        for (key, value, max) in [
            ("cache.redis_timeout_ms", self.redis_timeout_ms, 60_000),
            ("cache.redis_write_timeout_ms", self.redis_write_timeout_ms, 60_000),
            ("cache.ttl_ms", self.ttl_ms, 24 * 3_600_000),
        ] {
            between(key, value, 1, max)?;
        }
        if let Some(url) = &self.redis_url
            && !["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme))
        {
            return Err(invalid("cache.redis_url", "must start with redis:// or rediss://"));
        }
        Ok(())
    }

    pub(super) fn mask(&mut self) {
        self.redis_url = self.redis_url.take().map(|url| mask_password(&url));
    }
}
