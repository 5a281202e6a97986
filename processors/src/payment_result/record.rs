//! Whom we told what, or could not: for the bound of attempts, and for operators.

use std::time::Duration;

use sqlx::PgPool;

use crate::provider::PaymentCallback;

/// Where telling a result stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Trying,
    Delivered,
    GivenUp,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Trying => "trying",
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
        }
    }
}

/// Counts an attempt before it is made; says the how-manieth it is.
pub async fn begin(pool: &PgPool, webhook_id: &str, host: &str, result: &PaymentCallback) -> Result<u32, sqlx::Error> {
    let attempt: i32 = sqlx::query_scalar(include_str!("begin.sql"))
        .bind(webhook_id)
        .bind(result.order_id.as_str())
        .bind(result.payment_id.as_str())
        .bind(result.status.as_str())
        .bind(host)
        .fetch_one(pool)
        .await?;
    Ok(u32::try_from(attempt).unwrap_or(u32::MAX))
}

/// Writes down how the attempt went.
pub async fn end(pool: &PgPool, webhook_id: &str, state: State, error: Option<&str>) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE processing.payment_result SET state = $2, last_error = $3 WHERE webhook_id = $1")
        .bind(webhook_id)
        .bind(state.as_str())
        .bind(error)
        .execute(pool)
        .await?;
    Ok(())
}

/// Forgets at most `max_rows` results that were done with longer than `retention` ago; returns how many.
pub async fn forget_older_than(pool: &PgPool, retention: Duration, max_rows: i64) -> Result<u64, sqlx::Error> {
    let done =
        sqlx::query(include_str!("forget.sql")).bind(retention.as_secs_f64()).bind(max_rows).execute(pool).await?;
    Ok(done.rows_affected())
}
