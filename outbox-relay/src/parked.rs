//! Messages that can never be sent (too large, unknown topic, refused), and those that wait behind them.
//!
//! People decide: [`release`] tries again, [`skip`] gives a message up. The active relay carries it out, in the order
//! of the lane, and then sends what waited behind; nobody else sends, so nothing can be overtaken.

use chrono::{DateTime, Utc};
use messaging::{OutgoingMessage, Topic};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool, Row};
use uuid::Uuid;

use crate::outbox::Place;

/// A parked message, as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ParkedMessage {
    pub lane: i16,
    pub position: i64,
    pub n: i16,
    pub topic: String,
    pub ordering_key: String,
    pub message_id: Uuid,
    pub reason: String,
    /// `parked`, `behind`, `release`, `skip`, `sent` or `skipped`.
    pub state: String,
    pub parked_at: DateTime<Utc>,
    pub decided_by: Option<String>,
    pub decision_reason: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    pub resolved_at: Option<DateTime<Utc>>,
}

/// Where a parked message is: its identity. Ordered as [`list`] lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParkedId {
    pub lane: i16,
    pub position: i64,
    pub n: i16,
}

impl ParkedMessage {
    /// What [`release`] and [`skip`] take.
    pub fn id(&self) -> ParkedId {
        ParkedId { lane: self.lane, position: self.position, n: self.n }
    }
}

/// The next parked messages after `after`, with those already resolved if wanted.
pub async fn list(
    executor: impl PgExecutor<'_>,
    after: Option<ParkedId>,
    with_resolved: bool,
    limit: i64,
) -> sqlx::Result<Vec<ParkedMessage>> {
    let after = after.unwrap_or(ParkedId { lane: -1, ..ParkedId::default() });
    sqlx::query_as(include_str!("sql/list_parked.sql"))
        .bind(after.lane)
        .bind(after.position)
        .bind(after.n)
        .bind(with_resolved)
        .bind(limit)
        .fetch_all(executor)
        .await
}

/// The parked message of this place, decided about or not.
pub async fn find(executor: impl PgExecutor<'_>, id: ParkedId) -> sqlx::Result<Option<ParkedMessage>> {
    sqlx::query_as(include_str!("sql/find_parked.sql"))
        .bind(id.lane)
        .bind(id.position)
        .bind(id.n)
        .fetch_optional(executor)
        .await
}

/// Asks the relay to try the message again, and then those behind it. False: it is not parked, or itself waits behind
/// another.
pub async fn release(executor: impl PgExecutor<'_>, id: ParkedId, by: &str) -> sqlx::Result<bool> {
    decide(executor, id, State::Release, by, None).await
}

/// Asks the relay to give the message up for ever, and send those behind it. False as for [`release`].
pub async fn skip(executor: impl PgExecutor<'_>, id: ParkedId, by: &str, reason: &str) -> sqlx::Result<bool> {
    decide(executor, id, State::Skip, by, Some(reason)).await
}

async fn decide(
    executor: impl PgExecutor<'_>,
    id: ParkedId,
    decision: State,
    by: &str,
    reason: Option<&str>,
) -> sqlx::Result<bool> {
    let decided = sqlx::query(include_str!("sql/decide.sql"))
        .bind(id.lane)
        .bind(id.position)
        .bind(id.n)
        .bind(decision.as_str())
        .bind(by)
        .bind(reason)
        .execute(executor)
        .await?;
    Ok(decided.rows_affected() == 1)
}

/// What has become of a parked row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Parked,
    Behind,
    Release,
    Skip,
    Sent,
    Skipped,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            State::Parked => "parked",
            State::Behind => "behind",
            State::Release => "release",
            State::Skip => "skip",
            State::Sent => "sent",
            State::Skipped => "skipped",
        }
    }
}

/// A row to be parked.
#[derive(Clone, Debug)]
pub(crate) struct ParkedRow {
    pub lane: i16,
    pub place: Place,
    pub topic: String,
    pub ordering_key: String,
    pub message_id: Uuid,
    pub reason: String,
    pub state: State,
}

impl ParkedRow {
    pub(crate) fn new(
        lane: i16,
        place: Place,
        topic: &str,
        message: &OutgoingMessage,
        state: State,
        reason: String,
    ) -> ParkedRow {
        ParkedRow {
            lane,
            place,
            topic: topic.to_owned(),
            ordering_key: message.ordering_key.clone(),
            message_id: message.message_id,
            reason,
            state,
        }
    }

    pub(crate) fn behind(lane: i16, place: Place, topic: Topic, message: &OutgoingMessage) -> ParkedRow {
        let reason = format!("behind an earlier message of {}", message.ordering_key);
        ParkedRow::new(lane, place, topic.name(), message, State::Behind, reason)
    }
}

pub(crate) async fn insert(connection: &mut PgConnection, rows: &[ParkedRow]) -> sqlx::Result<()> {
    sqlx::query(include_str!("sql/park.sql"))
        .bind(rows.iter().map(|row| row.lane).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.place.position).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.place.n).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.topic.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.ordering_key.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.message_id).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.reason.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.state.as_str()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Lanes and ordering keys that have an unresolved message.
pub(crate) async fn blocked_keys(pool: &PgPool) -> sqlx::Result<Vec<(i16, String)>> {
    const BLOCKED: &str =
        "select distinct lane, ordering_key from relay.parked where state in ('parked', 'behind', 'release', 'skip')";
    let rows = sqlx::query(BLOCKED).fetch_all(pool).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
