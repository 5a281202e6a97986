//! Messages that could not be applied, and those that wait behind them.
//!
//! A message that is given up becomes a row in state `dead`. While a (consumer, waiting key) has undelivered rows it is
//! blocked: later messages of that key become rows in state `behind` and are acknowledged, so that no queue stands still
//! and no order is broken. The waiting key is the order where stock is concerned, not the ticket type that the queue is
//! chosen by: one bad order must not stop the sale.
//!
//! A redrive applies a key's rows in order through the consumer's own handler and stops at the first that fails. Arrivals
//! and redrives of a key exclude each other by an advisory transaction lock, so that no message slips past the last row
//! while it is being redriven. An arrival does not wait for that lock: it stays unacknowledged in memory and asks again.
//!
//! Rows that failed alike share a cause ([`groups`]); what happened to each is its [`history`]. Many are redriven by
//! [`redrives`], one that came wrong is mended by [`edit`], one that nobody wants is given up by [`discard`], after which those
//! behind it go on by themselves. What RocketMQ itself gave up comes in by [`given_up`], what got lost on the way by [`take_in_missing`].

mod cause;
mod discard;
mod edit;
mod gauge;
pub mod given_up;
mod groups;
mod history;
mod missing;
mod park;
mod redrive;
pub mod redrives;
mod shown;
mod waiting;

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, PgPool, Row};
use thiserror::Error;
use uuid::Uuid;

pub(crate) use cause::without_particulars;
pub use cause::{WAITS, cause_of};
pub use discard::{Discarded, discard};
pub use edit::{EditRefused, edit};
pub use gauge::report;
pub use groups::{Group, groups};
pub use history::{HistoryEntry, history};
pub use missing::{MISSING, take_in_missing};
pub(crate) use park::{Arrival, Entry, blocked_keys, park_behind, park_dead};
pub use redrive::{MAX_ROWS_PER_REDRIVE, Redriven, StoppedAt, redrive};
pub use shown::{Contacts, may_name_contacts, shown_body};
pub use waiting::{Undelivered, count_undelivered};

/// Most rows one [`list`] gives.
pub const MAX_LIST_ROWS: i64 = 500;

/// Where a dead letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterState {
    /// Failed itself.
    Dead,
    /// Waits for an earlier one of its waiting key.
    Behind,
    /// Applied by a redrive.
    Redriven,
    /// Given up by a person.
    Discarded,
}

impl DeadLetterState {
    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeadLetterState::Dead => "dead",
            DeadLetterState::Behind => "behind",
            DeadLetterState::Redriven => "redriven",
            DeadLetterState::Discarded => "discarded",
        }
    }

    /// Still blocks its waiting key.
    pub const fn is_undelivered(self) -> bool {
        matches!(self, DeadLetterState::Dead | DeadLetterState::Behind)
    }

    /// The state of that name.
    pub fn parse(state: &str) -> Option<Self> {
        [Self::Dead, Self::Behind, Self::Redriven, Self::Discarded]
            .into_iter()
            .find(|candidate| candidate.as_str() == state)
    }
}

/// A row of `messaging.dead_letter`.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub id: i64,
    pub consumer: String,
    pub topic: String,
    pub broker: String,
    pub queue: i32,
    pub queue_offset: i64,
    /// What waits behind it; `None`: it could not be told, so nothing does.
    pub waiting_key: Option<String>,
    pub message_id: Option<Uuid>,
    /// Exactly what came, unless a person has replaced it.
    pub body: Vec<u8>,
    /// What came, where it was replaced.
    pub original_body: Option<Vec<u8>>,
    pub properties: HashMap<String, String>,
    pub state: DeadLetterState,
    pub reason: String,
    /// What all that failed alike have in common.
    pub cause: String,
    pub attempts: i32,
    pub created_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub resolved_by: Option<String>,
}

impl FromRow<'_, PgRow> for DeadLetter {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let state: String = row.try_get("state")?;
        Ok(DeadLetter {
            id: row.try_get("id")?,
            consumer: row.try_get("consumer")?,
            topic: row.try_get("topic")?,
            broker: row.try_get("broker")?,
            queue: row.try_get("queue")?,
            queue_offset: row.try_get("queue_offset")?,
            waiting_key: row.try_get("waiting_key")?,
            message_id: row.try_get("message_id")?,
            body: row.try_get("body")?,
            original_body: row.try_get("original_body")?,
            properties: row.try_get::<sqlx::types::Json<_>, _>("properties")?.0,
            state: DeadLetterState::parse(&state).ok_or_else(|| sqlx::Error::Decode(state.into()))?,
            reason: row.try_get("reason")?,
            cause: row.try_get("cause")?,
            attempts: row.try_get("attempts")?,
            created_at: row.try_get("created_at")?,
            resolved_at: row.try_get("resolved_at")?,
            resolved_by: row.try_get("resolved_by")?,
        })
    }
}

/// Why a dead letter could not be worked on.
#[derive(Debug, Error)]
pub enum DeadLetterError {
    /// There is no such row.
    #[error("there is no dead letter {0}")]
    NotFound(i64),
    /// It was redriven or discarded before.
    #[error("dead letter {id} is {} already", state.as_str())]
    Resolved { id: i64, state: DeadLetterState },
    /// A redrive was given another consumer's handler.
    #[error("dead letter {id} belongs to consumer {consumer}")]
    OtherConsumer { id: i64, consumer: String },
    /// Its body can't be replaced by this one.
    #[error(transparent)]
    Edit(#[from] EditRefused),
    /// No undelivered letter is what was asked for.
    #[error("there is no undelivered dead letter like that")]
    NothingToRedrive,
    /// There is no such redrive.
    #[error("there is no redrive {0}")]
    UnknownRedrive(Uuid),
    /// Nothing of it is left to be cancelled.
    #[error("redrive {redrive_id} is {state} already")]
    RedriveEnded { redrive_id: Uuid, state: String },
    /// Postgres said no.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Which dead letters to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this consumer only.
    pub consumer: Option<String>,
    pub topic: Option<String>,
    pub cause: Option<String>,
    pub waiting_key: Option<String>,
    /// In this state only.
    pub state: Option<DeadLetterState>,
    /// Also those that were redriven or discarded.
    pub with_resolved: bool,
    /// After this id, for the next page.
    pub after_id: i64,
    /// At most this many, and never more than [`MAX_LIST_ROWS`].
    pub limit: i64,
}

/// Dead letters by id, which is the order of arrival within a key.
pub async fn list(pool: &PgPool, filter: &Filter) -> Result<Vec<DeadLetter>, DeadLetterError> {
    Ok(sqlx::query_as(include_str!("dead_letter/list.sql"))
        .bind(filter.consumer.as_deref())
        .bind(filter.topic.as_deref())
        .bind(filter.cause.as_deref())
        .bind(filter.waiting_key.as_deref())
        .bind(filter.state.map(DeadLetterState::as_str))
        .bind(filter.with_resolved)
        .bind(filter.after_id)
        .bind(filter.limit.clamp(0, MAX_LIST_ROWS))
        .fetch_all(pool)
        .await?)
}

/// What these consumers could not apply of messages that wait by one of these keys, in the order of arrival.
pub async fn undelivered_of(
    pool: &PgPool,
    consumers: &[&str],
    waiting_keys: &[&str],
) -> Result<Vec<DeadLetter>, DeadLetterError> {
    Ok(sqlx::query_as(include_str!("dead_letter/undelivered_of.sql"))
        .bind(consumers)
        .bind(waiting_keys)
        .bind(MAX_LIST_ROWS)
        .fetch_all(pool)
        .await?)
}

/// What became of these messages where one of these consumers could not apply them, in the order of arrival.
pub async fn of_messages(
    pool: &PgPool,
    consumers: &[&str],
    message_ids: &[Uuid],
) -> Result<Vec<DeadLetter>, DeadLetterError> {
    let identities: Vec<String> = message_ids.iter().map(Uuid::to_string).collect();
    Ok(sqlx::query_as(include_str!("dead_letter/of_messages.sql"))
        .bind(consumers)
        .bind(identities)
        .bind(MAX_LIST_ROWS)
        .fetch_all(pool)
        .await?)
}

/// One dead letter.
pub async fn find(pool: &PgPool, id: i64) -> Result<DeadLetter, DeadLetterError> {
    find_on(pool, id).await
}

async fn find_on(executor: impl PgExecutor<'_>, id: i64) -> Result<DeadLetter, DeadLetterError> {
    sqlx::query_as("SELECT * FROM messaging.dead_letter WHERE id = $1")
        .bind(id)
        .fetch_optional(executor)
        .await?
        .ok_or(DeadLetterError::NotFound(id))
}

/// Undelivered rows of a consumer: dead ones and those behind them.
pub async fn count(pool: &PgPool, consumer: &str) -> Result<i64, DeadLetterError> {
    Ok(sqlx::query_scalar(include_str!("dead_letter/count.sql")).bind(consumer).fetch_one(pool).await?)
}

/// Deletes at most `max_rows` rows, with their history, that were resolved longer ago than `retention`; returns how many.
pub async fn forget_resolved(pool: &PgPool, retention: Duration, max_rows: i64) -> Result<u64, DeadLetterError> {
    let forgotten: i64 = sqlx::query_scalar(include_str!("dead_letter/forget_resolved.sql"))
        .bind(retention.as_secs_f64())
        .bind(max_rows)
        .fetch_one(pool)
        .await?;
    Ok(forgotten.unsigned_abs())
}
