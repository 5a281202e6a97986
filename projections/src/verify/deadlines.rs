//! I8: nothing is past its deadline without a step taken.

use std::time::Duration;

use sqlx::PgPool;

use super::{Findings, Violation};
use crate::ProjectionError;

/// Deadlines overdue by more than this, by the database's clock, are violations.
pub const DEFAULT_OVERDUE: Duration = Duration::from_secs(60);

/// Counts the deadlines that came more than `overdue` ago and are still there.
pub async fn deadlines(pool: &PgPool, overdue: Duration) -> Result<Vec<Violation>, ProjectionError> {
    let late: Vec<(String, i64, String, f64)> = sqlx::query_as(include_str!("../../sql/overdue_deadlines.sql"))
        .bind(overdue.as_secs_f64())
        .fetch_all(pool)
        .await?;
    let mut findings = Findings::of("I8");
    for (kind, count, oldest, overdue_seconds) in late {
        findings.add(format!("{count} deadlines {kind} are overdue, {oldest} by {overdue_seconds:.0} s"));
    }
    Ok(findings.into_violations())
}
