//! Which messages a projection has applied. The claim belongs in the transaction of the effect. [`effects`] tells it of
//! processors as well.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use crate::received::INBOX_SCOPE_PREFIX;

/// How long claims are kept by default. It must outlive the longest time after which a message can come again: the
/// broker's retention. What an undelivered letter needs is kept as long as it.
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

/// That a consumer has applied a message.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ConsumerEffect {
    pub consumer: String,
    pub message_id: Uuid,
    pub applied_at: DateTime<Utc>,
    /// Ledger position of what it caused; `None`: nothing in the ledger.
    pub position: Option<i64>,
}

/// Which of these consumers have applied which of these messages, as long as they remember it.
pub async fn effects(
    executor: impl PgExecutor<'_>,
    consumers: &[&str],
    message_ids: &[Uuid],
) -> Result<Vec<ConsumerEffect>, sqlx::Error> {
    let scopes: Vec<String> = consumers.iter().map(|consumer| format!("{INBOX_SCOPE_PREFIX}{consumer}")).collect();
    let keys: Vec<String> = message_ids.iter().map(Uuid::to_string).collect();
    sqlx::query_as(include_str!("inbox/effects.sql"))
        .bind(scopes)
        .bind(keys)
        .bind(consumers)
        .bind(INBOX_SCOPE_PREFIX)
        .bind(message_ids)
        .fetch_all(executor)
        .await
}

/// Which of these messages a consumer has applied, as long as it remembers it.
pub async fn applied(
    executor: impl PgExecutor<'_>,
    consumer: &str,
    message_ids: &[Uuid],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let effects = effects(executor, &[consumer], message_ids).await?;
    Ok(effects.into_iter().map(|effect| effect.message_id).collect())
}

/// Scope and key of what processors remember of undelivered letters: their redrives must find what was applied.
pub async fn needed_keys(pool: &PgPool) -> Result<Vec<(String, String)>, sqlx::Error> {
    sqlx::query_as(include_str!("inbox/needed_keys.sql")).bind(INBOX_SCOPE_PREFIX).fetch_all(pool).await
}

/// Forgets at most `max_rows` claims older than `retention`, but none of an undelivered letter: its redrive must find what
/// was applied. Returns how many; call again while it returns `max_rows`.
pub async fn forget_older_than(pool: &PgPool, retention: Duration, max_rows: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(include_str!("inbox/forget.sql"))
        .bind(retention.as_secs_f64())
        .bind(max_rows)
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}
