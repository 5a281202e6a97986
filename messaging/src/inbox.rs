//! Which messages a projection has applied. The claim belongs in the transaction of the effect.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// How long claims are kept by default. It must outlive the longest time after which a message can come again: the
/// broker's retention, and the age at which a dead letter is still redriven.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(14 * 24 * 3600);

/// Claims messages for a consumer. `true` where this transaction is the first to do so, `false` where the message was
/// claimed before, or earlier in the same list.
///
/// Waits for a concurrent transaction that claims the same message; ids are claimed in sorted order, so two of them can't
/// deadlock.
pub async fn claim(
    transaction: &mut PgConnection,
    consumer: &str,
    message_ids: &[Uuid],
) -> Result<Vec<bool>, sqlx::Error> {
    let mut sorted = message_ids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let claimed: Vec<Uuid> =
        sqlx::query_scalar(include_str!("inbox/claim.sql")).bind(consumer).bind(&sorted).fetch_all(transaction).await?;
    let mut claimed: HashSet<Uuid> = claimed.into_iter().collect();
    Ok(message_ids.iter().map(|id| claimed.remove(id)).collect())
}

/// Forgets at most `max_rows` claims older than `retention`; returns how many. Call again while it returns `max_rows`.
pub async fn forget_older_than(pool: &PgPool, retention: Duration, max_rows: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(include_str!("inbox/forget.sql"))
        .bind(retention.as_secs_f64())
        .bind(max_rows)
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}
