//! Building a read model anew beside the one people see, and swapping them while orders come in.
//!
//! The new version is built by ranges of positions. Near the live ones it joins them: from then on the projector
//! applies all of them in one transaction under one checkpoint. It is compared with the ledger before it is shown. The
//! version shown before stays live, for a way back, until the next rebuild. A rebuild writes rows and nothing else: it
//! can't notify anybody.

use event_store::lease;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use std::time::Duration;
use uuid::Uuid;

use crate::checkpoint::LiveVersions;
use crate::read_model::{self, ReadModel, Table};
use crate::{NotificationView, OrderView, ProjectionError, SagaView, StockView, checkpoint, ledger, verify};

/// Positions applied in one transaction, and the distance from the live versions at which the new version joins the live ones.
const RANGE: i64 = 4 * ledger::RANGE;

/// A rebuild that is silent for so long is dead, and another may begin.
const LEASE_TTL: Duration = Duration::from_secs(60);

/// How a rebuild went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    pub projection: &'static str,
    /// The version that is shown now.
    pub version: i32,
    /// Whether it shows what the version before did; otherwise that one was wrong, or built by another fold.
    pub unchanged: bool,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub position: i64,
    /// Where the live versions are.
    pub live: i64,
}

/// Rebuilds the projection of this name and shows the result.
pub async fn rebuild(
    pool: &PgPool,
    projection: &str,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Rebuilt, ProjectionError> {
    match projection {
        OrderView::NAME => alone::<OrderView>(pool, progress).await,
        StockView::NAME => alone::<StockView>(pool, progress).await,
        NotificationView::NAME => alone::<NotificationView>(pool, progress).await,
        SagaView::NAME => alone::<SagaView>(pool, progress).await,
        other => Err(ProjectionError::UnknownProjection(other.to_owned())),
    }
}

/// One rebuild of a read model at a time.
async fn alone<M: ReadModel>(
    pool: &PgPool,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Rebuilt, ProjectionError> {
    let name = format!("rebuild-{}", M::NAME);
    let Some(lease) = lease::try_acquire(pool, &name, &Uuid::now_v7().to_string(), LEASE_TTL).await? else {
        return Err(ProjectionError::RebuildRuns { projection: M::NAME });
    };
    let keep = async {
        loop {
            tokio::time::sleep(LEASE_TTL / 3).await;
            if !matches!(lease.renew(pool, LEASE_TTL).await, Ok(true)) {
                return Err(ProjectionError::Fenced { projection: M::NAME });
            }
        }
    };
    let outcome = tokio::select! {
        rebuilt = run::<M>(pool, progress) => rebuilt,
        lost = keep => lost,
    };
    lease.release(pool).await?;
    outcome
}

async fn run<M: ReadModel>(
    pool: &PgPool,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Rebuilt, ProjectionError> {
    let active: i32 = sqlx::query_scalar("select active_version from projection.read_model where name = $1")
        .bind(M::NAME)
        .fetch_one(pool)
        .await?;
    let version = begin::<M>(pool, active).await?;
    let built = build::<M>(pool, version, progress).await?;
    join_live::<M>(pool, version, built).await?;

    let table = Table::of::<M>(version);
    let differences = verify::table::<M>(pool, &table).await?;
    if let Some(first) = differences.first() {
        return Err(ProjectionError::RebuildDiffers { projection: M::NAME, difference: first.message.clone() });
    }
    let unchanged = verify::table::<M>(pool, &Table::of::<M>(active)).await?.is_empty();
    show::<M>(pool, version).await?;
    Ok(Rebuilt { projection: M::NAME, version, unchanged })
}

/// Drops what earlier rebuilds left, and makes the empty table of the new version.
async fn begin<M: ReadModel>(pool: &PgPool, active: i32) -> Result<i32, ProjectionError> {
    let mut transaction = pool.begin().await?;
    LiveVersions::lock(&mut transaction, M::NAME).await?;
    let newest: i32 = sqlx::query_scalar("select max(version) from projection.checkpoint where name = $1")
        .bind(M::NAME)
        .fetch_one(&mut *transaction)
        .await?;
    let dropped: Vec<i32> =
        sqlx::query_scalar("delete from projection.checkpoint where name = $1 and version <> $2 returning version")
            .bind(M::NAME)
            .bind(active)
            .fetch_all(&mut *transaction)
            .await?;
    for version in dropped {
        drop_table(&mut transaction, &Table::of::<M>(version)).await?;
    }
    let version = newest + 1;
    Table::of::<M>(version).create_like(&mut transaction, &Table::of::<M>(active)).await?;
    sqlx::query("insert into projection.checkpoint (name, version, live) values ($1, $2, false)")
        .bind(M::NAME)
        .bind(version)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(version)
}

async fn drop_table(connection: &mut PgConnection, table: &Table) -> Result<(), ProjectionError> {
    let statement = format!("drop table {}", table.name());
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

/// Applies the ledger until the live versions are near, and never beyond them; answers how far that was.
async fn build<M: ReadModel>(
    pool: &PgPool,
    version: i32,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<i64, ProjectionError> {
    let table = Table::of::<M>(version);
    let mut position = 0;
    loop {
        let mut transaction = pool.begin().await?;
        let live = checkpoint::checkpoint(&mut transaction, M::NAME).await?;
        progress(Progress { position, live });
        if live - position <= RANGE {
            return Ok(position);
        }
        let to = position + RANGE;
        read_model::apply_range::<M>(&mut transaction, &table, position, to, ledger::RANGE).await?;
        transaction.commit().await?;
        position = to;
    }
}

/// Brings the version to the checkpoint of the live ones and makes it one of them. The projector waits meanwhile.
async fn join_live<M: ReadModel>(pool: &PgPool, version: i32, built: i64) -> Result<(), ProjectionError> {
    let mut transaction = pool.begin().await?;
    let live = LiveVersions::lock(&mut transaction, M::NAME).await?;
    let table = Table::of::<M>(version);
    read_model::apply_range::<M>(&mut transaction, &table, built, live.position, ledger::RANGE).await?;
    sqlx::query("update projection.checkpoint set position = $3, live = true where name = $1 and version = $2")
        .bind(M::NAME)
        .bind(version)
        .bind(live.position)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Queries see the version from here on.
async fn show<M: ReadModel>(pool: &PgPool, version: i32) -> Result<(), ProjectionError> {
    let mut transaction = pool.begin().await?;
    sqlx::query(
        "update projection.read_model set active_version = $2, code_version = $3, activated_at = clock_timestamp()
         where name = $1",
    )
    .bind(M::NAME)
    .bind(version)
    .bind(M::CODE_VERSION)
    .execute(&mut *transaction)
    .await?;
    let (view, table) = (Table::shown::<M>(), Table::of::<M>(version));
    let statement = format!("create or replace view {} as select * from {}", view.name(), table.name());
    sqlx::query(AssertSqlSafe(statement)).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}
