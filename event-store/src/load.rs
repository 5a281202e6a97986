//! Building states from snapshots and events, many streams in one query.

use std::collections::HashMap;

use domain::Decider;
use futures_util::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};

use crate::error::StoreError;
use crate::slot::{StoredEvent, StreamSlot};
use crate::stream::StreamKind;

/// A stream's state as of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<A> {
    /// The folded events.
    pub state: A,
    /// How many events that were; 0 when the stream does not exist.
    pub version: u64,
    /// Position of the last of them; 0 when the stream does not exist.
    pub position: i64,
}

/// One stream, from its snapshot on.
pub(crate) async fn load_one<A: Decider>(pool: &PgPool, id: &str) -> Result<Loaded<A>, StoreError> {
    let mut slot = StreamSlot::empty(A::stream_id(id).into(), StreamKind::of::<A>());
    catch_up(&mut *pool.acquire().await?, vec![&mut slot]).await?;
    if let Some(reason) = slot.unreadable {
        return Err(StoreError::Unreadable { stream_id: slot.stream_id.to_string(), reason });
    }
    let state = slot.state.as_any().downcast_ref::<A>().cloned().unwrap_or_default();
    Ok(Loaded { state, version: slot.version, position: slot.position })
}

/// Brings every slot up to what the ledger holds now.
pub(crate) async fn catch_up(connection: &mut PgConnection, slots: Vec<&mut StreamSlot>) -> Result<(), sqlx::Error> {
    let mut again = apply_newer(connection, slots, true).await?;
    if !again.is_empty() {
        for slot in &mut again {
            slot.forget_everything();
            // Until it is read again nothing is known of it, also when reading fails.
            slot.load = true;
            slot.fresh = false;
        }
        apply_newer(connection, again, false).await?;
    }
    Ok(())
}

/// Returns the slots that must be folded from their first event: those whose snapshot is of no use, and those that are
/// suspect while the ledger holds nothing newer, for a ledger that was restored to an earlier time is behind them.
async fn apply_newer<'a>(
    connection: &mut PgConnection,
    mut slots: Vec<&'a mut StreamSlot>,
    use_snapshots: bool,
) -> Result<Vec<&'a mut StreamSlot>, sqlx::Error> {
    let stream_ids: Vec<&str> = slots.iter().map(|slot| &*slot.stream_id).collect();
    let versions: Vec<i64> = slots.iter().map(|slot| slot.base_version as i64).collect();
    // The same for all streams of an aggregate, and not free.
    let mut known_schemas = HashMap::new();
    for slot in slots.iter().filter(|slot| use_snapshots && slot.base_version == 0) {
        known_schemas.entry(slot.kind.name).or_insert_with(slot.kind.snapshot_schema);
    }
    let schemas: Vec<Option<&str>> =
        slots.iter().map(|slot| known_schemas.get(slot.kind.name).map(String::as_str)).collect();
    let mut unusable = vec![false; slots.len()];
    {
        let mut rows = sqlx::query(include_str!("load/newer.sql"))
            .bind(stream_ids)
            .bind(versions.clone())
            .bind(schemas)
            .fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let index = (row.try_get::<i64, _>("ordinal")? - 1) as usize;
            if let Some(slot) = slots.get_mut(index)
                && !unusable[index]
            {
                unusable[index] = !apply_row(slot, &row)?;
            }
        }
    }
    let mut again = Vec::new();
    for (index, slot) in slots.into_iter().enumerate() {
        let is_behind_us = slot.suspect && versions[index] > 0 && slot.base_version as i64 == versions[index];
        slot.fresh = true;
        slot.load = false;
        slot.suspect = false;
        if unusable[index] || is_behind_us {
            again.push(slot);
        }
    }
    Ok(again)
}

/// False when the row is a snapshot that cannot be restored.
fn apply_row(slot: &mut StreamSlot, row: &PgRow) -> Result<bool, sqlx::Error> {
    let version = row.try_get::<i64, _>("version")? as u64;
    let position: i64 = row.try_get("position")?;
    let body: &str = row.try_get("body")?;
    let Some(event_type) = row.try_get::<Option<&str>, _>("type")? else {
        let Ok(state) = (slot.kind.restore)(body) else { return Ok(false) };
        slot.restore(state, version, position);
        return Ok(true);
    };
    if slot.unreadable.is_none() {
        let schema_version = row.try_get("schema_version")?;
        slot.catch_up(version, position, StoredEvent { event_type, schema_version, payload: body });
    }
    Ok(true)
}
