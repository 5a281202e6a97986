//! Takes away outbox rows that were sent longer ago than the retention. Until then a replay can send them again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use messaging::LANES;
use sqlx::PgPool;

use crate::RelayConfig;

/// Where earlier runs came to in each lane, so that a run does not walk over the rows they deleted.
#[derive(Debug, Default)]
pub struct Cleaner {
    cleaned_through: HashMap<i16, i64>,
}

impl Cleaner {
    /// Deletes what is behind its lane's cursor and older than the retention, in chunks of a bounded number of rows.
    /// Parked messages stay until they are resolved. Returns how many rows went.
    pub async fn run(&mut self, pool: &PgPool, retention_seconds: u64, chunk_messages: usize) -> sqlx::Result<u64> {
        let expired = recorded_before(pool, retention_seconds).await?;
        let mut deleted = 0;
        for lane in 0..LANES {
            deleted += self.clean_lane(pool, lane, expired, chunk_messages).await?;
        }
        Ok(deleted)
    }

    async fn clean_lane(&mut self, pool: &PgPool, lane: i16, expired: i64, chunk: usize) -> sqlx::Result<u64> {
        let cleaned_through = self.cleaned_through.entry(lane).or_default();
        let mut deleted = 0;
        while *cleaned_through < expired {
            let (last, rows): (Option<i64>, i64) = sqlx::query_as(include_str!("sql/clean.sql"))
                .bind(lane)
                .bind(*cleaned_through)
                .bind(expired)
                .bind(chunk as i64)
                .fetch_one(pool)
                .await?;
            deleted += rows.unsigned_abs();
            let Some(last) = last else { break };
            *cleaned_through = last;
        }
        Ok(deleted)
    }
}

/// The last position recorded longer ago than that; 0 when there is none.
pub async fn recorded_before(pool: &PgPool, seconds: u64) -> sqlx::Result<i64> {
    sqlx::query_scalar(include_str!("sql/expired_position.sql")).bind(seconds as f64).fetch_one(pool).await
}

/// Cleans up from time to time, in the active relay only: several at once would do no harm, and no good.
pub(crate) async fn run_while_active(pool: PgPool, config: RelayConfig, is_active: Arc<AtomicBool>) {
    let mut cleaner = Cleaner::default();
    loop {
        tokio::time::sleep(Duration::from_millis(config.cleanup_interval_ms)).await;
        if !is_active.load(Ordering::Relaxed) {
            continue;
        }
        match cleaner.run(&pool, config.outbox_retention_seconds, config.cleanup_chunk_messages).await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "took sent messages out of the outbox"),
            Err(error) => tracing::warn!(%error, "cannot clean up the outbox, trying again later"),
        }
    }
}
