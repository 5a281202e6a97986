//! How many messages of each group are undelivered, as a metric; with or without a running consumer.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{Instant, timeout};

use crate::metric;

/// What Postgres has not told by then is unknown.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Shows the undelivered letters of these consumers, each with its group's name, until it is dropped. What can't be counted is
/// unknown, not 0.
pub async fn report(pool: PgPool, consumers: Vec<(&'static str, String)>, every: Duration) {
    loop {
        let started = Instant::now();
        let counted = timeout(TIMEOUT, undelivered(&pool)).await.ok().and_then(Result::ok);
        for (consumer, group) in &consumers {
            let count = counted.as_ref().map(|counted| counted.get(*consumer).copied().unwrap_or(0));
            metric::dead_letters(group, count);
        }
        // One that is not answered may hold its connection for a while.
        tokio::time::sleep(every.max(started.elapsed() * 2)).await;
    }
}

async fn undelivered(pool: &PgPool) -> Result<HashMap<String, i64>, sqlx::Error> {
    let counts: Vec<(String, i64)> = sqlx::query_as(include_str!("count_by_consumer.sql")).fetch_all(pool).await?;
    Ok(counts.into_iter().collect())
}
