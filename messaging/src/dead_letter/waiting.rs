use sqlx::{FromRow, PgPool};

use super::DeadLetterError;

/// Undelivered rows of all consumers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Undelivered {
    /// Failed themselves.
    pub dead: i64,
    /// Wait for an earlier one of their key.
    pub behind: i64,
}

/// Counts them: an index that is mostly empty.
pub async fn count_undelivered(pool: &PgPool) -> Result<Undelivered, DeadLetterError> {
    Ok(sqlx::query_as(include_str!("count_undelivered.sql")).fetch_one(pool).await?)
}
