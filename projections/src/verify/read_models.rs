//! I7: every read model equals the one rebuilt from the ledger.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use super::{Findings, Violation};
use crate::hash::TableHash;
use crate::ledger::RANGE;
use crate::notifications::NotificationView;
use crate::orders::OrderView;
use crate::pace::Pace;
use crate::read_model::{self, ReadModel, Table};
use crate::sagas::SagaView;
use crate::stock::StockView;
use crate::{ProjectionError, checkpoint};

/// Rows shown of a read model that differs.
const MAX_ROWS_SHOWN: i64 = 5;

/// Rebuilds each read model beside the one that queries see and compares them at the latter's checkpoint.
pub async fn read_models(pool: &PgPool) -> Result<Vec<Violation>, ProjectionError> {
    let mut violations = shown::<OrderView>(pool).await?;
    violations.extend(shown::<StockView>(pool).await?);
    violations.extend(shown::<NotificationView>(pool).await?);
    violations.extend(shown::<SagaView>(pool).await?);
    Ok(violations)
}

async fn shown<M: ReadModel>(pool: &PgPool) -> Result<Vec<Violation>, ProjectionError> {
    table::<M>(pool, &Table::active::<M>(pool).await?, Pace::UNBROKEN).await
}

/// The same for one live table.
pub(crate) async fn table<M: ReadModel>(
    pool: &PgPool,
    table: &Table,
    pace: Pace,
) -> Result<Vec<Violation>, ProjectionError> {
    // The snapshot and the temporary table must not come back to the pool, even if this future is dropped: with a connection
    // of their own they end with it.
    let mut connection = pool.acquire().await?.detach();
    let compared = compare::<M>(&mut connection, table, pace).await;
    connection.close().await?;
    match compared {
        Err(error @ ProjectionError::BadEvent { .. }) => {
            let message = format!("can't be rebuilt: {error}");
            Ok(vec![Violation { invariant: "I7", message }])
        }
        compared => compared,
    }
}

async fn compare<M: ReadModel>(
    connection: &mut PgConnection,
    table: &Table,
    pace: Pace,
) -> Result<Vec<Violation>, ProjectionError> {
    let rebuilt = Table::temporary::<M>();
    rebuilt.create_like(connection, table).await?;
    // Most of the way by ranges, without a snapshot that would hold back vacuum; the rest inside one.
    let before = apply_until_near::<M>(connection, &rebuilt, pace).await?;

    sqlx::query("begin isolation level repeatable read").execute(&mut *connection).await?;
    let at = checkpoint::checkpoint(connection, M::NAME).await?;
    read_model::apply_range::<M>(connection, &rebuilt, before, at, RANGE).await?;
    let equal = TableHash::of(connection, table).await? == TableHash::of(connection, &rebuilt).await?;
    let violations = if equal { Vec::new() } else { differences::<M>(connection, table.name(), &rebuilt, at).await? };
    sqlx::query("commit").execute(connection).await?;
    Ok(violations)
}

/// Folds the ledger at that pace until no more than a range is left, and answers how far it came.
async fn apply_until_near<M: ReadModel>(
    connection: &mut PgConnection,
    rebuilt: &Table,
    pace: Pace,
) -> Result<i64, ProjectionError> {
    let mut position = 0;
    loop {
        let live = checkpoint::checkpoint(connection, M::NAME).await?;
        if live - position <= pace.max_range_events {
            return Ok(position);
        }
        while position < live {
            let started = Instant::now();
            let to = live.min(position + pace.max_range_events);
            read_model::apply_range::<M>(connection, rebuilt, position, to, RANGE).await?;
            position = to;
            pace.rest_after(started.elapsed()).await;
        }
    }
}

/// The first rows of a table, or of a subquery, that differ from those of another, and in which columns.
pub(crate) async fn differences<M: ReadModel>(
    connection: &mut PgConnection,
    table: &str,
    rebuilt: &Table,
    at: i64,
) -> Result<Vec<Violation>, ProjectionError> {
    let statement = include_str!("../../sql/differing_rows.sql")
        .replace("{table}", table)
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
