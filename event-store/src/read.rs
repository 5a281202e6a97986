//! Plain reads of the ledger. Positions are gapless and in commit order, so a reader that has seen position n has seen
//! everything before it.

use chrono::{DateTime, Utc};
use domain::Decider;
use sqlx::{FromRow, PgExecutor, Row};
use uuid::Uuid;

use crate::command::CommandKey;
use crate::error::{KeyRecord, StoreError};
use crate::stream::decode_event;

/// An event as the ledger holds it.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct RecordedEvent {
    /// Its place in the whole ledger, from 1.
    pub position: i64,
    /// Its stream.
    pub stream_id: String,
    /// Its place in its stream, from 1.
    pub version: i64,
    /// Its id.
    pub event_id: Uuid,
    /// The name of the event.
    #[sqlx(rename = "type")]
    pub event_type: String,
    /// The schema its payload was written with.
    pub schema_version: i16,
    /// The event's fields, as JSON.
    pub payload: String,
    /// [`Metadata`](crate::Metadata), as JSON.
    pub metadata: String,
    /// When it was appended, by the database's clock.
    pub recorded_at: DateTime<Utc>,
    /// Its hash, part of the batch's hash chain.
    pub hash: Vec<u8>,
}

impl RecordedEvent {
    /// The event of aggregate `A`, brought up to today's schema.
    pub fn decode<A: Decider>(&self) -> Result<A::Event, StoreError> {
        decode_event::<A>(&self.event_type, self.schema_version, &self.payload).map_err(|reason| {
            StoreError::Unreadable {
                stream_id: self.stream_id.clone(),
                reason: format!("{} v{} at position {}: {reason}", self.event_type, self.schema_version, self.position),
            }
        })
    }
}

/// The newest position; 0 when nothing was appended yet.
pub async fn head(executor: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("select last_position from store.ledger_batch order by last_position desc limit 1")
        .fetch_one(executor)
        .await?)
}

/// Events after `position`, in order, at most `limit`, and none after `upto`.
pub async fn after(
    executor: impl PgExecutor<'_>,
    position: i64,
    limit: i64,
    upto: Option<i64>,
) -> Result<Vec<RecordedEvent>, StoreError> {
    Ok(sqlx::query_as(include_str!("read/after.sql")).bind(position).bind(limit).bind(upto).fetch_all(executor).await?)
}

/// Events of one stream after a version, in order, at most `limit`.
pub async fn stream(
    executor: impl PgExecutor<'_>,
    stream_id: &str,
    after_version: i64,
    limit: i64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    Ok(sqlx::query_as(include_str!("read/stream.sql"))
        .bind(stream_id)
        .bind(after_version)
        .bind(limit)
        .fetch_all(executor)
        .await?)
}

/// Deadlines of a kind whose time has come by the database's clock, the oldest first.
pub async fn due_deadlines(
    executor: impl PgExecutor<'_>,
    kind: &str,
    limit: i64,
) -> Result<Vec<(String, DateTime<Utc>)>, StoreError> {
    Ok(sqlx::query_as(include_str!("read/due_deadlines.sql")).bind(kind).bind(limit).fetch_all(executor).await?)
}

/// What is stored under a command's key, if it was used before.
pub async fn known_key(executor: impl PgExecutor<'_>, key: &CommandKey) -> Result<Option<KeyRecord>, StoreError> {
    let stored =
        sqlx::query("select request_hash, response, position from store.command_key where scope = $1 and key = $2")
            .bind(&key.scope)
            .bind(&key.key)
            .fetch_optional(executor)
            .await?;
    let Some(stored) = stored else { return Ok(None) };
    Ok(Some(KeyRecord {
        scope: key.scope.clone(),
        key: key.key.clone(),
        request_hash: stored.try_get("request_hash")?,
        response: stored.try_get("response")?,
        position: stored.try_get("position")?,
    }))
}

/// Which of these streams have events in `(after, upto]`. The caller bounds the range.
pub async fn touched_streams(
    executor: impl PgExecutor<'_>,
    stream_ids: &[String],
    after: i64,
    upto: i64,
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar(include_str!("read/touched_streams.sql"))
        .bind(stream_ids)
        .bind(after)
        .bind(upto)
        .fetch_all(executor)
        .await?)
}

/// A deadline that is set.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct SetDeadline {
    /// What to do.
    pub kind: String,
    /// With what.
    pub key: String,
    /// When, by the database's clock.
    pub due_at: DateTime<Utc>,
    /// That time has come, by the same clock.
    pub is_due: bool,
}

/// Those of the deadlines `(kind, key)` that are set, the earliest first.
pub async fn deadlines(
    executor: impl PgExecutor<'_>,
    wanted: &[(&str, String)],
) -> Result<Vec<SetDeadline>, StoreError> {
    let (kinds, keys): (Vec<&str>, Vec<&str>) = wanted.iter().map(|(kind, key)| (*kind, key.as_str())).unzip();
    Ok(sqlx::query_as(include_str!("read/deadlines.sql")).bind(kinds).bind(keys).fetch_all(executor).await?)
}
