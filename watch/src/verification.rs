//! What checks of the invariants found, so that people can see when it was last looked and what came of it.

use chrono::{DateTime, Utc};
use event_store::verify::Violation;
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, PgPool};

use crate::metric;

/// Checks are kept so long; enough to see a pattern.
const KEPT_DAYS: i32 = 30;
/// Violations kept of one check; the first ones say enough.
const MAX_KEPT: usize = 100;

/// Who made a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeBy {
    /// `order-ledger verify`: all of it.
    Verify,
    /// The watch: what is cheap, and of the rest a sample.
    Watch,
}

impl MadeBy {
    const fn as_str(self) -> &'static str {
        match self {
            MadeBy::Verify => "verify",
            MadeBy::Watch => "watch",
        }
    }
}

/// A check that was made.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    pub checked_at: DateTime<Utc>,
    /// `verify` or `watch`.
    pub made_by: String,
    /// Those that were judged: by `verify` whole, by the watch in part.
    pub invariants: Vec<String>,
    /// The ledger's last position when it began.
    pub position: i64,
    /// How many violations it found.
    pub violations: i64,
}

/// Writes down what a check found.
pub async fn record(
    pool: &PgPool,
    made_by: MadeBy,
    invariants: &[&str],
    position: i64,
    violations: &[Violation],
) -> Result<(), sqlx::Error> {
    let found: Vec<_> = violations
        .iter()
        .take(MAX_KEPT)
        .map(|violation| json!({ "invariant": violation.invariant, "message": violation.message }))
        .collect();
    sqlx::query(include_str!("sql/record_verification.sql"))
        .bind(made_by.as_str())
        .bind(invariants)
        .bind(position)
        .bind(serde_json::Value::Array(found))
        .bind(KEPT_DAYS)
        .execute(pool)
        .await?;
    Ok(())
}

/// What an earlier check found and no later one looks at again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The last `verify` that judged the invariant: it lasts until the next one finds it gone.
    pub by_verify: Vec<Violation>,
    /// The watch, in the hash chain, where it goes on behind a break.
    pub in_chain: Vec<Violation>,
}

pub(crate) async fn standing(pool: &PgPool) -> Result<Standing, sqlx::Error> {
    let found: Vec<(String, String, String)> = sqlx::query_as(include_str!("sql/standing.sql")).fetch_all(pool).await?;
    let mut standing = Standing::default();
    for (made_by, invariant, message) in found {
        // One that this version does not know has no series.
        let Some(invariant) = metric::INVARIANTS.into_iter().find(|known| *known == invariant) else { continue };
        let of = if made_by == MadeBy::Verify.as_str() { &mut standing.by_verify } else { &mut standing.in_chain };
        of.push(Violation { invariant, message });
    }
    Ok(standing)
}

/// The last check, if there was one.
pub async fn last(pool: &PgPool) -> Result<Option<Verification>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/last_verification.sql")).fetch_optional(pool).await
}
