//! The policy in Postgres: read by every process, changed with the record of who changed it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::Mode;
use processors::audit::{self, Action};
use serde_json::json;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};

use crate::error::RolloutError;
use crate::fallback::FallbackState;
use crate::policy::{Fallback, RolloutPolicy};

/// Announces that the policy or the fallback changed.
pub(crate) const CHANNEL: &str = "rollout";

/// What the records of changes are about.
pub(crate) const SUBJECT: &str = "rollout";

/// The policy as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub policy: RolloutPolicy,
    /// Grows with every change.
    pub version: i64,
    pub changed_at: DateTime<Utc>,
    pub changed_by: String,
    pub fallback: FallbackState,
}

/// Reads the policy.
pub async fn load(executor: impl PgExecutor<'_>) -> Result<Stored, RolloutError> {
    sqlx::query_as::<_, Row>(include_str!("sql/load.sql")).fetch_one(executor).await?.read()
}

/// Replaces the policy, whole or not at all. With `expected` only if it is still at that version.
pub async fn put(
    pool: &PgPool,
    actor: &str,
    policy: &RolloutPolicy,
    expected: Option<i64>,
) -> Result<Stored, RolloutError> {
    policy.validate()?;
    let mut transaction = pool.begin().await?;
    sqlx::query("SELECT FROM operations.rollout FOR UPDATE").execute(&mut *transaction).await?;
    let before = load(&mut *transaction).await?;
    if let Some(expected) = expected.filter(|expected| *expected != before.version) {
        return Err(RolloutError::Changed { expected, actual: before.version });
    }
    if before.policy == *policy {
        return Ok(before);
    }
    write(&mut transaction, actor, policy).await?;
    let detail = json!({ "version": before.version + 1, "from": before.policy, "to": policy });
    audit::record(&mut *transaction, Action { actor, action: "rollout.change", subject: SUBJECT, detail }).await?;
    announce(&mut transaction).await?;
    let after = load(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(after)
}

/// Tells the other processes, once this is committed.
pub(crate) async fn announce(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(connection).await.map(drop)
}

async fn write(connection: &mut PgConnection, actor: &str, policy: &RolloutPolicy) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("sql/put.sql"))
        .bind(policy.mode.as_str())
        .bind(i16::from(policy.async_percent))
        .bind(Json(&policy.groups))
        .bind(policy.fallback.as_str())
        .bind(actor)
        .execute(connection)
        .await
        .map(drop)
}

#[derive(FromRow)]
struct Row {
    version: i64,
    mode: String,
    async_percent: i16,
    groups: Json<BTreeMap<String, Mode>>,
    fallback: String,
    changed_at: DateTime<Utc>,
    changed_by: String,
    is_active: bool,
    reason: Option<String>,
    fallback_changed_at: DateTime<Utc>,
    unhealthy_ago_ms: Option<i64>,
}

impl Row {
    fn read(self) -> Result<Stored, RolloutError> {
        let unreadable = |what: &str| RolloutError::Unreadable(what.to_owned());
        let policy = RolloutPolicy {
            mode: Mode::parse(&self.mode).ok_or_else(|| unreadable("mode"))?,
            async_percent: u8::try_from(self.async_percent).map_err(|_| unreadable("async_percent"))?,
            groups: self.groups.0,
            fallback: Fallback::parse(&self.fallback).ok_or_else(|| unreadable("fallback"))?,
        };
        let fallback = FallbackState {
            is_active: self.is_active,
            reason: self.reason,
            changed_at: self.fallback_changed_at,
            unhealthy_ago_ms: self.unhealthy_ago_ms,
        };
        let Self { version, changed_at, changed_by, .. } = self;
        Ok(Stored { policy, version, changed_at, changed_by, fallback })
    }
}
