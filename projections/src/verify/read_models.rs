//! I7: every read model equals the one rebuilt from the ledger.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::{Findings, Violation};
use crate::hash::TableHash;
use crate::ledger::RANGE;
use crate::notifications::NotificationView;
use crate::orders::OrderView;
use crate::read_model::{self, ReadModel, Table};
use crate::stock::StockView;
use crate::{ProjectionError, checkpoint};

/// Rows shown of a read model that differs.
const MAX_ROWS_SHOWN: i64 = 5;

/// Rebuilds each read model beside the live one and compares them at the live one's checkpoint.
pub async fn read_models(pool: &PgPool) -> Result<Vec<Violation>, ProjectionError> {
    let mut violations = read_model::<OrderView>(pool).await?;
    violations.extend(read_model::<StockView>(pool).await?);
    violations.extend(read_model::<NotificationView>(pool).await?);
    Ok(violations)
}

async fn read_model<M: ReadModel>(pool: &PgPool) -> Result<Vec<Violation>, ProjectionError> {
    let mut connection = pool.acquire().await?;
    let compared = compare::<M>(&mut connection).await;
    // The temporary table must not come back with the connection; closing it takes everything along.
    connection.close().await?;
    match compared {
        Err(ProjectionError::BadEvent { position, stream_id, version, reason, .. }) => {
            let message =
                format!("{}: can't be rebuilt: event {position} ({stream_id}, version {version}): {reason}", M::NAME);
            Ok(vec![Violation { invariant: "I7", message }])
        }
        compared => compared,
    }
}

async fn compare<M: ReadModel>(connection: &mut PgConnection) -> Result<Vec<Violation>, ProjectionError> {
    let shadow = Table::shadow::<M>();
    create_shadow::<M>(connection, &shadow).await?;
    // Most of the way by ranges, without a snapshot that would hold back vacuum; the rest inside one.
    let before = checkpoint::checkpoint(connection, M::NAME).await?;
    read_model::apply_range::<M>(connection, &shadow, 0, before, RANGE).await?;

    sqlx::query("begin isolation level repeatable read").execute(&mut *connection).await?;
    let at = checkpoint::checkpoint(connection, M::NAME).await?;
    read_model::apply_range::<M>(connection, &shadow, before, at, RANGE).await?;
    let shown = Table::of::<M>(active_version::<M>(connection).await?);
    let violations = if TableHash::of(connection, &shown).await? == TableHash::of(connection, &shadow).await? {
        Vec::new()
    } else {
        differences::<M>(connection, &shown, &shadow, at).await?
    };
    sqlx::query("commit").execute(connection).await?;
    Ok(violations)
}

async fn create_shadow<M: ReadModel>(connection: &mut PgConnection, shadow: &Table) -> Result<(), ProjectionError> {
    let like = Table::of::<M>(active_version::<M>(connection).await?);
    let create = format!("create temporary table {} (like {} including all)", shadow.name(), like.name());
    sqlx::query(AssertSqlSafe(create)).execute(connection).await?;
    Ok(())
}

async fn active_version<M: ReadModel>(connection: &mut PgConnection) -> Result<i32, ProjectionError> {
    Ok(sqlx::query_scalar("select active_version from projection.read_model where name = $1")
        .bind(M::NAME)
        .fetch_one(connection)
        .await?)
}

/// The first rows that differ, and in which columns.
pub(crate) async fn differences<M: ReadModel>(
    connection: &mut PgConnection,
    shown: &Table,
    rebuilt: &Table,
    at: i64,
) -> Result<Vec<Violation>, ProjectionError> {
    let statement = include_str!("../../sql/differing_rows.sql")
        .replace("{table}", shown.name())
        .replace("{rebuilt}", rebuilt.name())
        .replace("{key}", M::KEY_COLUMN);
    let rows: Vec<(Option<String>, Option<String>)> =
        sqlx::query_as(AssertSqlSafe(statement)).bind(MAX_ROWS_SHOWN).fetch_all(connection).await?;
    let mut findings = Findings::of("I7");
    for (shown, rebuilt) in &rows {
        findings.add(format!("{} at position {at}: {}", M::NAME, difference(M::KEY_COLUMN, shown, rebuilt)));
    }
    Ok(findings.into_violations())
}

fn difference(key_column: &str, shown: &Option<String>, rebuilt: &Option<String>) -> String {
    let (shown, rebuilt) = (columns(shown), columns(rebuilt));
    let key = |row: &Columns<'_>| row.get(key_column).map_or("?", |key| key.get()).to_owned();
    if shown.is_empty() {
        return format!("{key_column} {} is missing", key(&rebuilt));
    }
    if rebuilt.is_empty() {
        return format!("{key_column} {} is in no stream of the ledger", key(&shown));
    }
    let differing: Vec<String> = rebuilt
        .iter()
        .filter_map(|(column, value)| {
            let shown = shown.get(column).map_or("nothing", |shown| shown.get());
            (shown != value.get()).then(|| format!("{column} is {shown}, by the ledger {}", value.get()))
        })
        .collect();
    format!("{key_column} {}: {}", key(&rebuilt), differing.join("; "))
}

/// Values as Postgres wrote them: no amount goes through a float.
type Columns<'a> = BTreeMap<&'a str, &'a RawValue>;

fn columns(row: &Option<String>) -> Columns<'_> {
    row.as_deref().and_then(|row| serde_json::from_str(row).ok()).unwrap_or_default()
}
