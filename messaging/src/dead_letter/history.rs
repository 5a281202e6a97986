//! What happened to a message at a consumer. Each entry is written in the transaction of what it tells of.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};

use super::{DeadLetterError, MAX_LIST_ROWS};

/// One entry; the oldest comes first.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct HistoryEntry {
    pub at: DateTime<Utc>,
    /// `None`: the consumer itself.
    pub actor: Option<String>,
    /// `parked`, `failed_again`, `edited`, `redriven` or `discarded`.
    pub action: String,
    pub reason: Option<String>,
    /// How often the message had been tried by then.
    pub attempt: Option<i32>,
}

/// What happened to the message of this row at its consumer, the last [`MAX_LIST_ROWS`] entries.
pub async fn history(pool: &PgPool, id: i64) -> Result<Vec<HistoryEntry>, DeadLetterError> {
    Ok(sqlx::query_as(include_str!("history.sql")).bind(id).bind(MAX_LIST_ROWS).fetch_all(pool).await?)
}
