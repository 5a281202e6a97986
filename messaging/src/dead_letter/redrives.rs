//! Redriving many letters: what was asked for, key by key, kept until it is carried out.
//!
//! A redrive names keys, not letters: order comes first, so a key is gone through from its first undelivered message to its
//! last, those included that came while it ran. With a cause it stops before a letter that is dead of another. A
//! [`runner`] carries it out, in whichever process has the handlers.

pub mod runner;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::{DeadLetter, DeadLetterError, DeadLetterState};

/// Messages a second where nobody says otherwise.
pub const DEFAULT_RATE_PER_SECOND: i32 = 500;
/// The fastest that may be asked for.
pub const MAX_RATE_PER_SECOND: i32 = 10_000;
/// Most letters that can be named by id.
pub const MAX_IDS: usize = 1_000;
/// Most redrives one [`list`] gives.
pub const MAX_LIST_ROWS: i64 = 500;

/// Which keys: those whose first undelivered message is of this consumer, topic, cause and key; and where ids are given, only
/// those one of these letters is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(rename = "key", skip_serializing_if = "Option::is_none")]
    pub waiting_key: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<i64>,
}

impl Selection {
    /// The key of one letter, named so that it is found without going through all others.
    pub fn of(letter: &DeadLetter) -> Self {
        Self {
            consumer: Some(letter.consumer.clone()),
            waiting_key: letter.waiting_key.clone(),
            ids: vec![letter.id],
            ..Self::default()
        }
    }
}

/// What a redrive would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub messages: i64,
    pub keys: i64,
    pub groups: Vec<PlannedGroup>,
}

/// Of which cause, consumer and topic the first messages of the keys are.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct PlannedGroup {
    pub cause: String,
    pub consumer: String,
    pub topic: String,
    pub messages: i64,
    pub keys: i64,
}

/// How a redrive stands.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Redrive {
    pub redrive_id: Uuid,
    /// `running`, `done`, `failed` (every key stopped) or `cancelled`.
    pub state: String,
    /// Messages to be applied, those included that came meanwhile.
    pub selected: i64,
    pub delivered: i64,
    pub keys: i64,
    /// Keys whose next message failed again, or is dead of another cause.
    pub stopped_keys: i64,
    pub rate_per_second: i32,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub started_by: String,
    /// Who carries it out; none while nobody does.
    pub worker: Option<String>,
    pub selection: serde_json::Value,
}

impl Redrive {
    /// Whether there is nothing more to come of it.
    pub fn is_over(&self) -> bool {
        self.ended_at.is_some()
    }
}

/// A key that a redrive could not finish.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct StoppedKey {
    pub consumer: String,
    pub waiting_key: Option<String>,
    pub reason: String,
}

/// What a redrive of these would do. Nothing is changed by asking: it is started, looked at and rolled back.
pub async fn plan(pool: &PgPool, selection: &Selection) -> Result<Plan, DeadLetterError> {
    let mut transaction = pool.begin().await?;
    check_ids(&mut transaction, &selection.ids).await?;
    let redrive_id = insert(&mut transaction, selection, DEFAULT_RATE_PER_SECOND, "").await?;
    let groups: Vec<PlannedGroup> =
        sqlx::query_as(include_str!("redrives/planned.sql")).bind(redrive_id).fetch_all(&mut *transaction).await?;
    transaction.rollback().await?;
    let sum = |of: fn(&PlannedGroup) -> i64| groups.iter().map(of).sum();
    Ok(Plan { messages: sum(|group| group.messages), keys: sum(|group| group.keys), groups })
}

/// Asks for a redrive, in the caller's transaction. Refused where nothing is to be done, and where a letter that is named does
/// not exist or is resolved.
pub async fn start(
    transaction: &mut PgConnection,
    selection: &Selection,
    rate_per_second: i32,
    by: &str,
) -> Result<Redrive, DeadLetterError> {
    check_ids(transaction, &selection.ids).await?;
    let redrive_id = insert(transaction, selection, rate_per_second.clamp(1, MAX_RATE_PER_SECOND), by).await?;
    let redrive = find_on(transaction, redrive_id).await?;
    if redrive.keys == 0 { Err(DeadLetterError::NothingToRedrive) } else { Ok(redrive) }
}

/// One redrive.
pub async fn find(pool: &PgPool, redrive_id: Uuid) -> Result<Redrive, DeadLetterError> {
    find_on(&mut *pool.acquire().await?, redrive_id).await
}

/// Redrives, the newest first, those before `before` where it is given.
pub async fn list(pool: &PgPool, before: Option<Uuid>, limit: i64) -> Result<Vec<Redrive>, DeadLetterError> {
    Ok(sqlx::query_as(include_str!("redrives/list.sql"))
        .bind(None::<Uuid>)
        .bind(before)
        .bind(limit.clamp(0, MAX_LIST_ROWS))
        .fetch_all(pool)
        .await?)
}

/// Whether any redrive is being carried out just now.
pub async fn is_one_at_work(pool: &PgPool) -> Result<bool, DeadLetterError> {
    Ok(sqlx::query_scalar(include_str!("redrives/at_work.sql")).fetch_one(pool).await?)
}

/// The keys that stopped, by their first letter, no more than `limit`.
pub async fn stopped_keys(pool: &PgPool, redrive_id: Uuid, limit: i64) -> Result<Vec<StoppedKey>, DeadLetterError> {
    Ok(sqlx::query_as(include_str!("redrives/stopped.sql"))
        .bind(redrive_id)
        .bind(limit.clamp(0, MAX_LIST_ROWS))
        .fetch_all(pool)
        .await?)
}

/// Ends a redrive after the messages that are being applied, in the caller's transaction. What is delivered stays so.
pub async fn cancel(transaction: &mut PgConnection, redrive_id: Uuid) -> Result<Redrive, DeadLetterError> {
    let cancelled =
        sqlx::query(include_str!("redrives/cancel.sql")).bind(redrive_id).execute(&mut *transaction).await?;
    let redrive = find_on(transaction, redrive_id).await?;
    if cancelled.rows_affected() == 0 {
        return Err(DeadLetterError::RedriveEnded { redrive_id, state: redrive.state });
    }
    Ok(redrive)
}

/// Deletes at most `max_rows` redrives that ended longer ago than `retention`; returns how many.
pub async fn forget_ended(pool: &PgPool, retention: Duration, max_rows: i64) -> Result<u64, DeadLetterError> {
    let done = sqlx::query(include_str!("redrives/forget_ended.sql"))
        .bind(retention.as_secs_f64())
        .bind(max_rows)
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}

async fn check_ids(connection: &mut PgConnection, ids: &[i64]) -> Result<(), DeadLetterError> {
    if ids.is_empty() {
        return Ok(());
    }
    let undeliverable: Option<(i64, Option<String>)> =
        sqlx::query_as(include_str!("redrives/undeliverable.sql")).bind(ids).fetch_optional(connection).await?;
    match undeliverable {
        None => Ok(()),
        Some((id, state)) => Err(match state.as_deref().and_then(DeadLetterState::parse) {
            Some(state) => DeadLetterError::Resolved { id, state },
            None => DeadLetterError::NotFound(id),
        }),
    }
}

async fn insert(
    transaction: &mut PgConnection,
    selection: &Selection,
    rate_per_second: i32,
    by: &str,
) -> Result<Uuid, DeadLetterError> {
    let redrive_id = Uuid::now_v7();
    sqlx::query(include_str!("redrives/insert.sql"))
        .bind(redrive_id)
        .bind(sqlx::types::Json(selection))
        .bind(selection.cause.as_deref())
        .bind(rate_per_second)
        .bind(by)
        .execute(&mut *transaction)
        .await?;
    let ids = (!selection.ids.is_empty()).then_some(selection.ids.as_slice());
    sqlx::query(include_str!("redrives/insert_keys.sql"))
        .bind(redrive_id)
        .bind(selection.consumer.as_deref())
        .bind(selection.topic.as_deref())
        .bind(selection.cause.as_deref())
        .bind(selection.waiting_key.as_deref())
        .bind(ids)
        .execute(transaction)
        .await?;
    Ok(redrive_id)
}

async fn find_on(connection: &mut PgConnection, redrive_id: Uuid) -> Result<Redrive, DeadLetterError> {
    sqlx::query_as(include_str!("redrives/list.sql"))
        .bind(redrive_id)
        .bind(None::<Uuid>)
        .bind(1_i64)
        .fetch_optional(connection)
        .await?
        .ok_or(DeadLetterError::UnknownRedrive(redrive_id))
}
