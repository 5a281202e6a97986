//! One row, always current: what the read model has, and the events after it from the ledger.

use event_store::read;
use sqlx::PgPool;

use crate::ProjectionError;
use crate::read_model::{self, ReadModel, Table, id_of};

/// Events of one stream read at once.
const EVENTS_PER_READ: i64 = 1_000;

/// The row as the ledger has it now; without a row yet, folded from the first event on.
pub(crate) async fn read<M: ReadModel>(pool: &PgPool, stream_id: &str) -> Result<Option<M>, ProjectionError> {
    let mut connection = pool.acquire().await?;
    let mut row = M::load(&mut connection, &Table::shown::<M>(), &[id_of::<M>(stream_id)]).await?.pop();
    loop {
        let version = row.as_ref().map_or(0, M::version);
        let events = read::stream(&mut *connection, stream_id, version, EVENTS_PER_READ).await?;
        for event in &events {
            read_model::fold(&mut row, event)?;
        }
        if (events.len() as i64) < EVENTS_PER_READ {
            return Ok(row);
        }
    }
}

/// The row as the ledger has it now, from one that may be old or made up: the event it tells of must be in the ledger, at
/// that position.
pub(crate) async fn read_from<M: ReadModel>(
    pool: &PgPool,
    stream_id: &str,
    kept: M,
    position: i64,
) -> Result<Option<M>, ProjectionError> {
    let version = kept.version();
    let events = read::stream(pool, stream_id, version - 1, EVENTS_PER_READ).await?;
    let bears_out = events.first().is_some_and(|event| event.version == version && event.position == position);
    if !bears_out || events.len() as i64 == EVENTS_PER_READ {
        return Ok(None);
    }
    let mut row = Some(kept);
    for event in &events[1..] {
        read_model::fold(&mut row, event)?;
    }
    Ok(row)
}
