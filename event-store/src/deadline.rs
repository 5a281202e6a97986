//! Deadlines that wait for another time. They are set and taken away in appends, with the events that cause it; to move one
//! that could not be acted on needs no event.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use crate::error::StoreError;

/// Leaves a deadline alone for a while, by the database's clock. One that is not due at `due_at` any more was moved or taken
/// away by an append meanwhile, and stays as that left it.
pub async fn postpone(
    executor: impl PgExecutor<'_>,
    kind: &str,
    key: &str,
    due_at: DateTime<Utc>,
    pause: TimeDelta,
) -> Result<(), StoreError> {
    let postpone = sqlx::query(include_str!("deadline/postpone.sql")).bind(kind).bind(key).bind(due_at);
    postpone.bind(pause.num_milliseconds()).execute(executor).await?;
    Ok(())
}
