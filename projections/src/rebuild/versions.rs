//! The versions of a read model's table: making one, showing one, going back, and dropping.

use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};

use super::record::Rebuild;
use crate::checkpoint::LiveVersions;
use crate::read_model::{ReadModel, Table};
use crate::{NAMES, ProjectionError};

/// Makes the table of the version that is to be built, where it is not there yet; one that another fold began is thrown away.
/// Its indexes come when it is full: rows go in twice as fast. A dry run mends no checkpoint: what is live stays as it is.
pub(super) async fn prepare<M: ReadModel>(
    transaction: &mut Transaction<'_, Postgres>,
    rebuild: &Rebuild,
) -> Result<(), ProjectionError> {
    match rebuild.dry_run {
        true => LiveVersions::lock_within_ledger(transaction, M::NAME).await?,
        false => LiveVersions::lock_and_align(transaction, M::NAME).await?,
    };
    let known: Option<i32> =
        sqlx::query_scalar("select code_version from projection.checkpoint where name = $1 and version = $2")
            .bind(M::NAME)
            .bind(rebuild.version)
            .fetch_optional(&mut **transaction)
            .await?;
    match known {
        Some(code_version) if code_version == rebuild.code_version => return Ok(()),
        Some(_) => drop_version(transaction, M::NAME, rebuild.version).await?,
        None => {}
    }
    let active = active_version(transaction, M::NAME).await?;
    Table::of::<M>(rebuild.version).create_bare(transaction, &Table::of::<M>(active), M::KEY_COLUMN).await?;
    sqlx::query("insert into projection.checkpoint (name, version, live, code_version) values ($1, $2, false, $3)")
        .bind(M::NAME)
        .bind(rebuild.version)
        .bind(rebuild.code_version)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Gives a table the indexes that the shown one has, once. Takes as long as that takes, and makes nobody wait.
pub(super) async fn index<M: ReadModel>(
    transaction: &mut Transaction<'_, Postgres>,
    table: &Table,
) -> Result<(), ProjectionError> {
    let connection = &mut **transaction;
    let active = Table::of::<M>(active_version(connection, M::NAME).await?);
    if !secondary_indexes(connection, table).await?.is_empty() {
        return Ok(());
    }
    // One processor, and not each of them: it may take longer.
    sqlx::query("set local max_parallel_maintenance_workers = 0").execute(&mut *connection).await?;
    for definition in secondary_indexes(connection, &active).await? {
        // `CREATE INDEX orders_v1_by_user ON projection.orders_v1 USING …`: all that is particular to a table stands before.
        let Some((_, columns)) = definition.split_once(" USING ") else { continue };
        let statement = format!("create index on {} using {columns}", table.name());
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    // Without statistics the first queries would be planned for an empty table.
    sqlx::query(AssertSqlSafe(format!("analyze {}", table.name()))).execute(connection).await?;
    Ok(())
}

async fn secondary_indexes(connection: &mut PgConnection, table: &Table) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select pg_get_indexdef(indexrelid) from pg_index where indrelid = to_regclass($1) and not indisprimary
         order by indexrelid",
    )
    .bind(table.name())
    .fetch_all(connection)
    .await
}

/// Whether the projector keeps this version.
pub(super) async fn is_live(connection: &mut PgConnection, name: &str, version: i32) -> Result<bool, ProjectionError> {
    let live = sqlx::query_scalar("select live from projection.checkpoint where name = $1 and version = $2")
        .bind(name)
        .bind(version)
        .fetch_optional(connection)
        .await?;
    Ok(live.unwrap_or(false))
}

/// Queries see this version from the commit on, and the one before stays for a way back. Older ones go. The caller bounds how
/// long it may wait for queries that are under way.
pub(super) async fn show(
    transaction: &mut Transaction<'_, Postgres>,
    name: &'static str,
    version: i32,
) -> Result<(), ProjectionError> {
    LiveVersions::lock(transaction, name).await?;
    let before = active_version(transaction, name).await?;
    point_at(transaction, name, version, before).await?;
    let others: Vec<i32> =
        sqlx::query_scalar("select version from projection.checkpoint where name = $1 and version <> all($2)")
            .bind(name)
            .bind([version, before].as_slice())
            .fetch_all(&mut **transaction)
            .await?;
    for other in others {
        drop_version(transaction, name, other).await?;
    }
    Ok(())
}

/// Shows the version again that was shown before the last rebuild, and answers its number. What was shown until now stays
/// up to date too, so that going back can be taken back. Joins the caller's transaction.
pub async fn rollback(transaction: &mut Transaction<'_, Postgres>, name: &str) -> Result<i32, ProjectionError> {
    let name = known_name(name)?;
    // Behind a long query everybody else would queue too: rather refuse now.
    sqlx::query("set local lock_timeout = '2s'").execute(&mut **transaction).await?;
    show_previous(transaction, name).await.map_err(|error| named_if_withheld(error, name))
}

/// A lock that was not had in time says nothing to whoever asked to see another version.
pub(super) fn named_if_withheld(error: ProjectionError, name: &'static str) -> ProjectionError {
    if error.is_lock_not_had_in_time() { ProjectionError::SwapWithheld { projection: name } } else { error }
}

async fn show_previous(
    transaction: &mut Transaction<'_, Postgres>,
    name: &'static str,
) -> Result<i32, ProjectionError> {
    LiveVersions::lock(transaction, name).await?;
    let (active, previous): (i32, Option<i32>) = sqlx::query_as(include_str!("../../sql/rebuild/shown_versions.sql"))
        .bind(name)
        .fetch_one(&mut **transaction)
        .await?;
    let previous = previous.ok_or(ProjectionError::NoPreviousVersion { projection: name })?;
    point_at(transaction, name, previous, active).await?;
    Ok(previous)
}

async fn point_at(
    connection: &mut PgConnection,
    name: &'static str,
    version: i32,
    previous: i32,
) -> Result<(), ProjectionError> {
    sqlx::query(include_str!("../../sql/rebuild/show.sql"))
        .bind(name)
        .bind(version)
        .bind(previous)
        .execute(&mut *connection)
        .await?;
    let (view, table) = (Table::view(name), Table::named(name, version));
    let statement = format!("create or replace view {} as select * from {}", view.name(), table.name());
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

/// The table and what is known of it go; nobody may be shown it.
pub(super) async fn drop_version(
    connection: &mut PgConnection,
    name: &'static str,
    version: i32,
) -> Result<(), ProjectionError> {
    sqlx::query("delete from projection.checkpoint where name = $1 and version = $2")
        .bind(name)
        .bind(version)
        .execute(&mut *connection)
        .await?;
    let statement = format!("drop table if exists {}", Table::named(name, version).name());
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

pub(super) async fn active_version(connection: &mut PgConnection, name: &str) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("select active_version from projection.read_model where name = $1")
        .bind(name)
        .fetch_one(connection)
        .await
}

fn known_name(name: &str) -> Result<&'static str, ProjectionError> {
    let known = NAMES.into_iter().find(|known| *known == name);
    known.ok_or_else(|| ProjectionError::UnknownProjection(name.to_owned()))
}
