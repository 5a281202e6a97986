//! I2 and I7 at little cost: the sums of every stock row, and a few rows of each read model folded again.

use event_store::read;
use rand::Rng;
use sqlx::{PgConnection, PgPool};

use super::{Findings, Violation};
use crate::notifications::NotificationView;
use crate::orders::OrderView;
use crate::read_model::{self, ReadModel, Table, category_prefix, id_of};
use crate::sagas::SagaView;
use crate::stock::StockView;
use crate::{ProjectionError, checkpoint};

/// Events of a stream folded for one row; longer ones are left to the full check.
const MAX_STREAM_EVENTS: i64 = 20_000;
/// A position may be another read model's: so many are tried for each row wanted.
const TRIES_PER_ROW: i64 = 8;

/// I2 by the rows that are shown: available + locked + sold = capacity, none negative.
pub async fn stock_sums(pool: &PgPool) -> Result<Vec<Violation>, ProjectionError> {
    let wrong: Vec<(i64, i64, i64, i64, i64)> =
        sqlx::query_as(include_str!("../../sql/wrong_stock_sums.sql")).fetch_all(pool).await?;
    let mut findings = Findings::of("I2");
    for (ticket_type_id, capacity, available, locked, sold) in wrong {
        findings.add(format!(
            "ticket type {ticket_type_id}: available {available} + locked {locked} + sold {sold} against capacity {capacity}"
        ));
    }
    Ok(findings.into_violations())
}

/// I7 for about `rows` rows of each read model that people see, chosen by chance: each is what its stream folds to.
pub async fn sampled_rows(pool: &PgPool, rows: i64) -> Result<Vec<Violation>, ProjectionError> {
    let mut findings = Findings::of("I7");
    let mut connection = pool.acquire().await?;
    sample::<OrderView>(&mut connection, rows, &mut findings).await?;
    sample::<StockView>(&mut connection, rows, &mut findings).await?;
    sample::<NotificationView>(&mut connection, rows, &mut findings).await?;
    sample::<SagaView>(&mut connection, rows, &mut findings).await?;
    Ok(findings.into_violations())
}

async fn sample<M: ReadModel + PartialEq>(
    connection: &mut PgConnection,
    rows: i64,
    findings: &mut Findings,
) -> Result<(), ProjectionError> {
    // Before the rows: what was applied then is in them.
    let applied = checkpoint::checkpoint(connection, M::NAME).await?;
    let tries = rows.saturating_mul(TRIES_PER_ROW).min(applied);
    let positions: Vec<i64> = (0..tries).map(|_| rand::rng().random_range(1..=applied)).collect();
    let streams: Vec<String> = sqlx::query_scalar(include_str!("../../sql/streams_at.sql"))
        .bind(positions)
        .bind(category_prefix::<M>())
        .bind(rows)
        .fetch_all(&mut *connection)
        .await?;
    let ids: Vec<&str> = streams.iter().map(|stream_id| id_of::<M>(stream_id)).collect();
    let shown = M::load(connection, &Table::shown::<M>(), &ids).await?;
    for stream_id in &streams {
        let row = shown.iter().find(|row| row.stream_id() == *stream_id);
        compare(connection, stream_id, row, findings).await?;
    }
    Ok(())
}

/// Events never change, so the row is compared at its own version, however far the ledger is meanwhile.
async fn compare<M: ReadModel + PartialEq>(
    connection: &mut PgConnection,
    stream_id: &str,
    shown: Option<&M>,
    findings: &mut Findings,
) -> Result<(), ProjectionError> {
    let Some(shown) = shown else {
        findings.add(format!("{}: {stream_id} has no row", M::NAME));
        return Ok(());
    };
    if shown.version() > MAX_STREAM_EVENTS {
        return Ok(());
    }
    let events = read::stream(&mut *connection, stream_id, 0, shown.version()).await?;
    let mut folded = None;
    for event in &events {
        if let Err(error) = read_model::fold::<M>(&mut folded, event) {
            findings.add(error.to_string());
            return Ok(());
        }
    }
    if folded.as_ref() != Some(shown) {
        let version = shown.version();
        findings.add(format!("{}: the row of {stream_id} is not what its first {version} events say", M::NAME));
    }
    Ok(())
}
