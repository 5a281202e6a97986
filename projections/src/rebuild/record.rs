//! What is written down of a rebuild: wanted by whom, how far it is, and how it ended.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::{NAMES, ProjectionError, code_version};

/// A rebuild, under way or over.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Rebuild {
    pub id: i64,
    pub name: String,
    /// Of the table that is built.
    pub version: i32,
    /// The fold that builds it.
    pub code_version: i32,
    #[sqlx(try_from = "String")]
    pub state: RebuildState,
    /// Only compares; what is shown stays.
    pub dry_run: bool,
    /// The last ledger position that is built.
    pub position: i64,
    /// Where it has to come to.
    pub target: i64,
    /// Ledger events passed; `None` while nobody works on it.
    pub events_per_second: Option<f64>,
    /// The fencing token of who works on it.
    pub(crate) lease_token: i64,
    /// `user:1`, `cli`, `system`.
    pub requested_by: String,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Rows in which what was shown and what was built differ, once they were compared.
    pub differences: Option<i64>,
    /// The first of them in words.
    pub examples: Vec<String>,
    /// Why it failed.
    pub problem: Option<String>,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildState {
    /// Wanted, being built, or left behind by a process that died.
    Running,
    /// Built, and being compared.
    Verifying,
    Done,
    /// Nothing was changed by it.
    Failed,
}

impl RebuildState {
    /// The state as REST and SQL spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Verifying => "verifying",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl TryFrom<String> for RebuildState {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let all = [Self::Running, Self::Verifying, Self::Done, Self::Failed];
        all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| format!("{text} is no state of a rebuild"))
    }
}

impl Rebuild {
    /// Whether something remains to be done.
    pub fn is_open(&self) -> bool {
        matches!(self.state, RebuildState::Running | RebuildState::Verifying)
    }

    /// Whether what was built shows what was shown; otherwise that was wrong, or built by another fold.
    pub fn unchanged(&self) -> Option<bool> {
        self.differences.map(|differences| differences == 0)
    }

    /// How long the rest of the building takes at the present rate.
    pub fn eta_seconds(&self) -> Option<f64> {
        let rate = self.events_per_second.filter(|rate| *rate > 0.0)?;
        Some((self.target - self.position).max(0) as f64 / rate)
    }

    /// Why another one is refused meanwhile.
    pub fn runs(&self) -> ProjectionError {
        ProjectionError::RebuildRuns {
            projection: self.name.clone(),
            dry_run: self.dry_run,
            version: self.version,
            position: self.position,
            target: self.target,
        }
    }
}

/// Writes down that a rebuild is wanted; whoever holds its lease next carries it out. `dry_run`: only compare. Refused while
/// another one of the same read model is not over.
pub async fn request(
    connection: &mut PgConnection,
    name: &str,
    dry_run: bool,
    requested_by: &str,
) -> Result<Rebuild, ProjectionError> {
    let code_version = code_version(name).ok_or_else(|| ProjectionError::UnknownProjection(name.to_owned()))?;
    let requested: Option<i64> = sqlx::query_scalar(include_str!("../../sql/rebuild/request.sql"))
        .bind(name)
        .bind(code_version)
        .bind(dry_run)
        .bind(requested_by)
        .fetch_optional(&mut *connection)
        .await?;
    let last = last(connection, name).await?.ok_or_else(|| ProjectionError::UnknownProjection(name.to_owned()))?;
    if requested == Some(last.id) { Ok(last) } else { Err(last.runs()) }
}

/// The unfinished rebuild of this read model, which may be nobody's any more; otherwise requests one. True: it was there.
/// Refused where that one compares and this one is to be shown, or the other way round: somebody waits for it.
pub async fn resume_or_request(
    connection: &mut PgConnection,
    name: &str,
    dry_run: bool,
    requested_by: &str,
) -> Result<(Rebuild, bool), ProjectionError> {
    match last(&mut *connection, name).await?.filter(Rebuild::is_open) {
        Some(open) if open.dry_run == dry_run => Ok((open, true)),
        Some(open) => Err(open.runs()),
        None => Ok((request(connection, name, dry_run, requested_by).await?, false)),
    }
}

/// The last rebuild of each read model, as far as there is one.
pub async fn last_of_all(executor: impl PgExecutor<'_>) -> Result<Vec<Rebuild>, ProjectionError> {
    Ok(sqlx::query_as(include_str!("../../sql/rebuild/find.sql")).bind(NAMES.as_slice()).fetch_all(executor).await?)
}

/// The last rebuild of one.
pub async fn last(executor: impl PgExecutor<'_>, name: &str) -> Result<Option<Rebuild>, ProjectionError> {
    Ok(sqlx::query_as(include_str!("../../sql/rebuild/find.sql"))
        .bind([name].as_slice())
        .fetch_optional(executor)
        .await?)
}

/// Makes it the work of the holder of this lease. False: it is over, somebody with a newer lease has it, or a newer fold.
pub(super) async fn claim(
    executor: impl PgExecutor<'_>,
    id: i64,
    lease_token: i64,
    code_version: i32,
) -> Result<bool, ProjectionError> {
    let claimed = sqlx::query(include_str!("../../sql/rebuild/claim.sql"))
        .bind(id)
        .bind(lease_token)
        .bind(code_version)
        .execute(executor)
        .await?;
    Ok(claimed.rows_affected() == 1)
}

/// Notes how far it is, in the transaction of the rows.
pub(super) async fn advance(
    executor: impl PgExecutor<'_>,
    rebuild: &Rebuild,
    position: i64,
    target: i64,
    events_per_second: Option<f64>,
) -> Result<(), ProjectionError> {
    let moved = sqlx::query(include_str!("../../sql/rebuild/advance.sql"))
        .bind(rebuild.id)
        .bind(rebuild.lease_token)
        .bind(rebuild.position)
        .bind(position)
        .bind(target)
        .bind(events_per_second)
        .execute(executor)
        .await?;
    expect_one(moved.rows_affected(), rebuild)
}

/// Notes that everything is built.
pub(super) async fn verifying(executor: impl PgExecutor<'_>, rebuild: &Rebuild) -> Result<(), ProjectionError> {
    let moved = sqlx::query(
        "update projection.rebuild set state = 'verifying', updated_at = clock_timestamp()
         where id = $1 and lease_token = $2 and state in ('running', 'verifying')",
    )
    .bind(rebuild.id)
    .bind(rebuild.lease_token)
    .execute(executor)
    .await?;
    expect_one(moved.rows_affected(), rebuild)
}

/// Notes how it ended, in the transaction of what that changes.
pub(super) async fn end(executor: impl PgExecutor<'_>, rebuild: &Rebuild) -> Result<(), ProjectionError> {
    let ended = sqlx::query(include_str!("../../sql/rebuild/end.sql"))
        .bind(rebuild.id)
        .bind(rebuild.lease_token)
        .bind(rebuild.state.as_str())
        .bind(rebuild.differences)
        .bind(&rebuild.examples)
        .bind(&rebuild.problem)
        .execute(executor)
        .await?;
    expect_one(ended.rows_affected(), rebuild)
}

fn expect_one(rows: u64, rebuild: &Rebuild) -> Result<(), ProjectionError> {
    if rows == 1 { Ok(()) } else { Err(ProjectionError::RebuildTaken { projection: rebuild.name.clone() }) }
}
