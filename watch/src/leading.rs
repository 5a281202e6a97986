//! One process of many does it: a lease, and a loop that works while it is held.

use std::time::Duration;

use event_store::lease::{self, Lease};
use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;
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
    is_kept: bool,
    keeper: Option<AbortOnDropHandle<()>>,
}

impl Leading {
    /// Another process takes over when this one has not asked for `ttl`.
    pub(crate) fn new(pool: PgPool, name: &'static str, ttl: Duration) -> Self {
        Self { pool, name, holder: Uuid::now_v7().to_string(), ttl, lease: None, is_kept: false, keeper: None }
    }

    /// For work with long pauses: the lease is kept meanwhile, and another process takes over when this one has been gone for
    /// `ttl`.
    pub(crate) fn kept(pool: PgPool, name: &'static str, ttl: Duration) -> Self {
        Self { is_kept: true, ..Self::new(pool, name, ttl) }
    }

    /// Whether it is this one, until `ttl` from now.
    pub(crate) async fn is_leader(&mut self) -> Result<bool, WatchError> {
        if let Some(lease) = &self.lease
            && lease.renew(&self.pool, self.ttl).await?
        {
            return Ok(true);
        }
        self.keeper = None;
        self.lease = lease::try_acquire(&self.pool, self.name, &self.holder, self.ttl).await?;
        if let Some(lease) = self.lease.as_ref().filter(|_| self.is_kept) {
            let keeping = keep(self.pool.clone(), lease.clone(), self.ttl);
            self.keeper = Some(AbortOnDropHandle::new(tokio::spawn(keeping)));
        }
        Ok(self.lease.is_some())
    }

    /// Lets the next one begin at once.
    pub(crate) async fn resign(&mut self) {
        self.keeper = None;
        if let Some(lease) = self.lease.take() {
            // Only a courtesy: the lease ends by itself.
            lease.release(&self.pool).await.ok();
        }
    }
}

/// Until it is lost. A renewal that fails is made good by the next.
async fn keep(pool: PgPool, lease: Lease, ttl: Duration) {
    while !matches!(lease.renew(&pool, ttl).await, Ok(false)) {
        tokio::time::sleep(ttl / 3).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// So long that a busy machine keeps it.
    const TTL: Duration = Duration::from_secs(10);
    const SOON: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_kept_lease_lasts_between_two_questions_and_ends_with_its_holder() {
        let pool = PgPool::connect(&embedded_postgres::testing::database().url).await.unwrap();
        event_store::migrate(&pool).await.unwrap();
        let mut first = Leading::kept(pool.clone(), "test", TTL);
        let mut second = Leading::kept(pool.clone(), "test", TTL);
        assert!(first.is_leader().await.unwrap());
        let since = std::time::Instant::now();
        while since.elapsed() < TTL * 3 / 2 {
            assert!(!second.is_leader().await.unwrap(), "it is kept");
            tokio::time::sleep(TTL / 10).await;
        }

        // As a kill -9 does: nobody resigns.
        drop(first);
        let taken_over = async {
            while !second.is_leader().await.unwrap() {
                tokio::time::sleep(TTL / 10).await;
            }
        };
        tokio::time::timeout(SOON, taken_over).await.expect("the second one takes over");
    }
}
