//! The record of what operators did: who, what, to what, why.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgExecutor};

/// Something an operator does.
#[derive(Debug, Clone)]
pub struct Action<'a> {
    /// `user:1`, or `system` where a rule acted by itself.
    pub actor: &'a str,
    /// What was done: `rollout.change`.
    pub action: &'a str,
    /// To what: an order's id, a consumer's name.
    pub subject: &'a str,
    pub detail: Value,
}

/// An action as it was recorded.
#[derive(Debug, Clone, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct RecordedAction {
    pub action_id: i64,
    pub recorded_at: DateTime<Utc>,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub detail: Value,
}

/// Records an action. Call it in the transaction of the action itself.
pub async fn record(executor: impl PgExecutor<'_>, action: Action<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO operations.action (actor, action, subject, detail) VALUES ($1, $2, $3, $4)")
        .bind(action.actor)
        .bind(action.action)
        .bind(action.subject)
        .bind(action.detail)
        .execute(executor)
        .await?;
    Ok(())
}

/// Which actions; without a condition all of them.
#[derive(Debug, Clone, Default)]
pub struct ActionFilter<'a> {
    pub actor: Option<&'a str>,
    /// An action, or what comes before the dot of several.
    pub action: Option<&'a str>,
    pub subject: Option<&'a str>,
    /// Only those recorded before this one.
    pub before: Option<i64>,
}

/// The newest actions first, those before `before` where it is given.
pub async fn list(
    executor: impl PgExecutor<'_>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<RecordedAction>, sqlx::Error> {
    find(executor, &ActionFilter { before, ..ActionFilter::default() }, limit).await
}

/// The newest actions of this kind first.
pub async fn find(
    executor: impl PgExecutor<'_>,
    filter: &ActionFilter<'_>,
    limit: i64,
) -> Result<Vec<RecordedAction>, sqlx::Error> {
    sqlx::query_as(include_str!("audit/list.sql"))
        .bind(filter.before)
        .bind(filter.actor)
        .bind(filter.action)
        .bind(filter.subject)
        .bind(limit)
        .fetch_all(executor)
        .await
}
