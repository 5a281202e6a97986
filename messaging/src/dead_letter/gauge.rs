//! How many messages of each group are undelivered, as a metric; with or without a running consumer.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgPool;

use crate::metric;

/// Shows the undelivered letters of these consumers, each with its group's name, until it is dropped. What can't be counted is
/// unknown, not 0.
pub async fn report(pool: PgPool, consumers: Vec<(&'static str, String)>, every: Duration) {
    loop {
        let counted = undelivered(&pool).await.ok();
        for (consumer, group) in &consumers {
            let count = counted.as_ref().map(|counted| counted.get(*consumer).copied().unwrap_or(0));
            metric::dead_letters(group, count);
        }
        tokio::time::sleep(every).await;
    }
}

async fn undelivered(pool: &PgPool) -> Result<HashMap<String, i64>, sqlx::Error> {
    let counts: Vec<(String, i64)> = sqlx::query_as(include_str!("count_by_consumer.sql")).fetch_all(pool).await?;
    Ok(counts.into_iter().collect())
}
