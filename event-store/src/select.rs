//! Reading a part of the ledger: one stream, one category, one type of event, or all of it, page by page.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use crate::error::StoreError;
use crate::read::{self, RecordedEvent};

/// Positions that one page of a category or of a type looks at: what bounds its time and its memory.
pub const WINDOW_POSITIONS: i64 = 10_000;

/// Which events are wanted; all of them where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this stream.
    pub stream_id: Option<String>,
    /// Of streams `<category>-…`.
    pub category: Option<String>,
    /// Of this type.
    pub event_type: Option<String>,
}

/// The next events of a selection.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// In the order of their positions.
    pub events: Vec<RecordedEvent>,
    /// Everything wanted up to this position has been given: where the next page begins.
    pub reached: i64,
}

impl Selection {
    /// Events wanted in `(after, upto]`, at most `limit`; looks at a bounded part of the range, so a page may be empty
    /// before its end. `upto` must not be beyond the head.
    pub async fn page(
        &self,
        executor: impl PgExecutor<'_>,
        after: i64,
        upto: i64,
        limit: i64,
    ) -> Result<Page, StoreError> {
        let (events, end) = match self {
            Selection { stream_id: Some(stream_id), .. } => {
                (self.of_stream(executor, stream_id, after, upto, limit).await?, upto)
            }
            Selection { category: None, event_type: None, .. } => {
                (read::after(executor, after, limit, Some(upto)).await?, upto)
            }
            Selection { .. } => {
                let end = upto.min(after.saturating_add(WINDOW_POSITIONS));
                (self.of_window(executor, after, end, limit).await?, end)
            }
        };
        let is_cut = i64::try_from(events.len()).is_ok_and(|events| events >= limit);
        let reached = events.last().filter(|_| is_cut).map_or(end, |last| last.position);
        Ok(Page { events: self.filtered(events), reached: reached.max(after) })
    }

    async fn of_stream(
        &self,
        executor: impl PgExecutor<'_>,
        stream_id: &str,
        after: i64,
        upto: i64,
        limit: i64,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let mut events: Vec<RecordedEvent> = sqlx::query_as(include_str!("select/stream.sql"))
            .bind(stream_id)
            .bind(after)
            .bind(limit)
            .fetch_all(executor)
            .await?;
        events.truncate(events.partition_point(|event| event.position <= upto));
        Ok(events)
    }

    async fn of_window(
        &self,
        executor: impl PgExecutor<'_>,
        after: i64,
        end: i64,
        limit: i64,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        Ok(sqlx::query_as(include_str!("select/window.sql"))
            .bind(after)
            .bind(end)
            .bind(self.category.as_ref().map(|category| format!("{category}-")))
            .bind(&self.event_type)
            .bind(limit)
            .fetch_all(executor)
            .await?)
    }

    /// What a stream is read by knows neither category nor type.
    fn filtered(&self, mut events: Vec<RecordedEvent>) -> Vec<RecordedEvent> {
        if self.stream_id.is_some() {
            let category = self.category.as_ref().map(|category| format!("{category}-"));
            events.retain(|event| {
                category.as_ref().is_none_or(|category| event.stream_id.starts_with(category))
                    && self.event_type.as_ref().is_none_or(|wanted| event.event_type == *wanted)
            });
        }
        events
    }
}

/// Whether a stream has events.
pub async fn stream_exists(executor: impl PgExecutor<'_>, stream_id: &str) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("select exists (select from store.events where stream_id = $1)")
        .bind(stream_id)
        .fetch_one(executor)
        .await?)
}

/// The last position recorded before a time; 0 where nothing was.
pub async fn position_before(executor: impl PgExecutor<'_>, time: DateTime<Utc>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(include_str!("select/position_before.sql")).bind(time).fetch_one(executor).await?)
}

/// The last position recorded by a time; 0 where nothing was.
pub async fn position_through(executor: impl PgExecutor<'_>, time: DateTime<Utc>) -> Result<i64, StoreError> {
    // Postgres counts in microseconds: the next one is the first that is too late.
    let next = time.checked_add_signed(TimeDelta::microseconds(1)).unwrap_or(time);
    position_before(executor, next).await
}

/// The last version of a stream at a position of the ledger; 0 where it had no event yet.
pub async fn version_at(executor: impl PgExecutor<'_>, stream_id: &str, position: i64) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(include_str!("select/version_at.sql"))
        .bind(stream_id)
        .bind(position)
        .fetch_one(executor)
        .await?)
}
