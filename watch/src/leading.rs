//! One process of many does it: a lease, and a loop that works while it is held.

use std::time::Duration;

use event_store::lease::{self, Lease};
use sqlx::PgPool;
use uuid::Uuid;

use crate::WatchError;

/// Stands for whoever may do something that only one should.
#[derive(Debug)]
pub(crate) struct Leading {
    pool: PgPool,
    name: &'static str,
    holder: String,
    ttl: Duration,
    lease: Option<Lease>,
}

impl Leading {
    /// Another process takes over when this one has been silent for `ttl`.
    pub(crate) fn new(pool: PgPool, name: &'static str, ttl: Duration) -> Self {
        Self { pool, name, holder: Uuid::now_v7().to_string(), ttl, lease: None }
    }

    /// Whether it is this one, until `ttl` from now.
    pub(crate) async fn is_leader(&mut self) -> Result<bool, WatchError> {
        if let Some(lease) = &self.lease
            && lease.renew(&self.pool, self.ttl).await?
        {
            return Ok(true);
        }
        self.lease = lease::try_acquire(&self.pool, self.name, &self.holder, self.ttl).await?;
        Ok(self.lease.is_some())
    }

    /// Lets the next one begin at once.
    pub(crate) async fn resign(&mut self) {
        if let Some(lease) = self.lease.take() {
            // Only a courtesy: the lease ends by itself.
            lease.release(&self.pool).await.ok();
        }
    }
}
