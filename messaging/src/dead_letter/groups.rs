//! Dead letters by what is wrong with them.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};

use super::{DeadLetterError, Filter, MAX_LIST_ROWS};

/// Undelivered letters of one consumer and topic that failed alike, and those that wait behind them.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Group {
    pub cause: String,
    pub consumer: String,
    pub topic: String,
    /// Of one of them.
    pub reason: String,
    /// Failed themselves. None where only those are left that had waited for one that was discarded.
    pub dead: i64,
    /// Wait in a key whose first dead letter has this cause.
    pub behind: i64,
    pub keys: i64,
    pub oldest_at: DateTime<Utc>,
    pub newest_at: DateTime<Utc>,
    pub sample_id: i64,
}

/// The groups there are, the largest first and no more than [`MAX_LIST_ROWS`]; of the filter count consumer, topic, cause and
/// key.
pub async fn groups(pool: &PgPool, filter: &Filter) -> Result<Vec<Group>, DeadLetterError> {
    Ok(sqlx::query_as(include_str!("groups.sql"))
        .bind(filter.consumer.as_deref())
        .bind(filter.waiting_key.as_deref())
        .bind(filter.topic.as_deref())
        .bind(filter.cause.as_deref())
        .bind(MAX_LIST_ROWS)
        .fetch_all(pool)
        .await?)
}
