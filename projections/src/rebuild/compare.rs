//! Whether what was built is right: it is held against what is shown, and where the two differ, against the ledger.
//!
//! What is shown was folded event by event as they came, what is built range by range, so that where the two are equal
//! they bear each other out. Where they differ, one of them is wrong or another fold built it: the streams of those rows
//! are folded once more, and the built row must be that. All of it happens in one snapshot, at one position, while orders
//! come in.

use std::collections::HashMap;

use event_store::read::RecordedEvent;
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use super::RebuildConfig;
use crate::hash::TableHash;
use crate::read_model::{ReadModel, Table, category_prefix, fold};
use crate::verify::{self, Violation};
use crate::{ProjectionError, checkpoint};

/// Streams folded at once.
const STREAMS_PER_READ: usize = 500;

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Rows in which what is shown and what was built differ, and the first of them in words.
    pub differences: i64,
    pub examples: Vec<String>,
    /// Where what was built is not what the ledger says. Then nobody may see it.
    pub wrong: Option<String>,
}

/// Compares two live versions of a read model.
pub(super) async fn compare<M: ReadModel>(
    pool: &PgPool,
    config: &RebuildConfig,
    shown: &Table,
    built: &Table,
) -> Result<Comparison, ProjectionError> {
    // The snapshot and the temporary table must not come back to the pool, even if this future is dropped: with a connection
    // of their own they end with it.
    let mut connection = pool.acquire().await?.detach();
    let compared = in_one_snapshot::<M>(&mut connection, config, shown, built).await;
    connection.close().await?;
    let (mut comparison, all_of_it) = compared?;
    if all_of_it {
        comparison.wrong = first(verify::table::<M>(pool, built, config.pace()).await?);
    }
    Ok(comparison)
}

/// True: so many rows differ that all of the ledger must be folded to judge them.
async fn in_one_snapshot<M: ReadModel>(
    connection: &mut PgConnection,
    config: &RebuildConfig,
    shown: &Table,
    built: &Table,
) -> Result<(Comparison, bool), ProjectionError> {
    sqlx::query("begin isolation level repeatable read").execute(&mut *connection).await?;
    let at = checkpoint::checkpoint(connection, M::NAME).await?;
    let mut comparison = Comparison::default();
    if TableHash::of(connection, shown).await? == TableHash::of(connection, built).await? {
        return Ok((comparison, false));
    }
    comparison.differences = sqlx::query_scalar(both::<M>(
        include_str!("../../sql/rebuild/count_differing_rows.sql"),
        shown.name(),
        built.name(),
    ))
    .fetch_one(&mut *connection)
    .await?;
    let told = verify::differences::<M>(connection, shown.name(), built, at).await?;
    comparison.examples = told.into_iter().map(|violation| violation.message).collect();
    if comparison.differences > config.max_streams_refolded {
        return Ok((comparison, true));
    }
    comparison.wrong = judge::<M>(connection, shown, built, at).await?;
    Ok((comparison, false))
}

/// Folds the streams of the rows that differ, and holds the built ones against them.
async fn judge<M: ReadModel>(
    connection: &mut PgConnection,
    shown: &Table,
    built: &Table,
    at: i64,
) -> Result<Option<String>, ProjectionError> {
    let keys: Vec<String> =
        sqlx::query_scalar(both::<M>(include_str!("../../sql/rebuild/differing_keys.sql"), shown.name(), built.name()))
            .fetch_all(&mut *connection)
            .await?;
    let folded = Table::temporary::<M>();
    folded.create_like(connection, built).await?;
    for keys in keys.chunks(STREAMS_PER_READ) {
        let rows = match fold_streams::<M>(connection, keys, at).await {
            Err(error @ ProjectionError::BadEvent { .. }) => return Ok(Some(error.to_string())),
            rows => rows?,
        };
        if !rows.is_empty() {
            M::upsert(connection, &folded, &rows).await?;
        }
    }
    // Only the rows in question; all others are equal to what is shown.
    let differing = both::<M>(include_str!("../../sql/rebuild/differing_keys.sql"), shown.name(), built.name()).0;
    let in_question = format!("(select * from {} where {}::text in ({differing}))", built.name(), M::KEY_COLUMN);
    Ok(first(verify::differences::<M>(connection, &in_question, &folded, at).await?))
}

/// The rows of these ids as the ledger has them at a position.
async fn fold_streams<M: ReadModel>(
    connection: &mut PgConnection,
    keys: &[String],
    at: i64,
) -> Result<Vec<M>, ProjectionError> {
    let prefix = category_prefix::<M>();
    let stream_ids: Vec<String> = keys.iter().map(|key| format!("{prefix}{key}")).collect();
    let mut rows: HashMap<String, Option<M>> = HashMap::new();
    let mut events = sqlx::query_as::<_, RecordedEvent>(include_str!("../../sql/rebuild/events_of_streams.sql"))
        .bind(stream_ids)
        .bind(at)
        .fetch(connection);
    while let Some(event) = events.try_next().await? {
        match rows.get_mut(&event.stream_id) {
            Some(row) => fold(row, &event)?,
            None => {
                let mut row = None;
                fold(&mut row, &event)?;
                rows.insert(event.stream_id, row);
            }
        }
    }
    Ok(rows.into_values().flatten().collect())
}

/// A statement of ours about two tables, whose names are made of constants and a number.
fn both<M: ReadModel>(template: &'static str, table: &str, rebuilt: &str) -> AssertSqlSafe<String> {
    let statement = template.replace("{table}", table).replace("{rebuilt}", rebuilt).replace("{key}", M::KEY_COLUMN);
    AssertSqlSafe(statement)
}

fn first(violations: Vec<Violation>) -> Option<String> {
    violations.into_iter().next().map(|violation| violation.message)
}
