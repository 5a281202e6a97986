//! Carries out what people decided about a lane's parked messages, in the order of the lane.

use std::collections::HashSet;

use messaging::{Producer, SendError, Topic};
use sqlx::{PgPool, Row};

use crate::outbox::{OutboxRow, Place};
use crate::parked::State;
use crate::send::{SendLimits, is_permanent, send_once};

/// Rows looked at in one transaction.
const CHUNK_ROWS: i64 = 200;

/// The lane whose parked messages are to be settled, and the lease it is held under.
pub(crate) struct LaneToSettle {
    pub lane: i16,
    pub topic: Topic,
    pub queue: u16,
    pub token: i64,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Settled {
    pub lane: i16,
    pub messages: usize,
    /// Ordering keys that still have a parked message. None: nobody knows, the lease is lost.
    pub blocked: Option<HashSet<String>>,
    pub failure: Option<SendError>,
}

/// What became of one row, with the new reason if there is one.
struct Change {
    place: Place,
    state: State,
    reason: Option<String>,
}

pub(crate) async fn settle(
    pool: &PgPool,
    producer: &dyn Producer,
    lane: LaneToSettle,
    limits: SendLimits,
) -> sqlx::Result<Settled> {
    let mut settled = Settled { lane: lane.lane, messages: 0, blocked: Some(HashSet::new()), failure: None };
    let mut after = Place::default();
    loop {
        let rows = unresolved(pool, lane.lane, after).await?;
        let Some((last, _)) = rows.last() else { return Ok(settled) };
        after = last.place;
        let mut changes = Vec::new();
        for (row, state) in rows {
            let blocked = settled.blocked.get_or_insert_default();
            let place = row.place;
            let key = row.message.ordering_key.clone();
            match act(producer, &lane, row, state, blocked, limits).await {
                Action::Keep => {
                    blocked.insert(key);
                }
                Action::Change(state, reason) => {
                    settled.messages += usize::from(state == State::Sent);
                    if state == State::Parked {
                        blocked.insert(key);
                    }
                    changes.push(Change { place, state, reason });
                }
                Action::GiveUp(failure) => {
                    // The rest stays as it is, and all of it is looked at again.
                    settled.failure = Some(failure);
                    break;
                }
            }
        }
        if !write(pool, &lane, &changes).await? {
            settled.blocked = None;
            return Ok(settled);
        }
        if settled.failure.is_some() {
            return Ok(settled);
        }
    }
}

enum Action {
    Keep,
    Change(State, Option<String>),
    GiveUp(SendError),
}

async fn act(
    producer: &dyn Producer,
    lane: &LaneToSettle,
    row: OutboxRow,
    state: State,
    blocked: &HashSet<String>,
    limits: SendLimits,
) -> Action {
    match state {
        State::Skip => return Action::Change(State::Skipped, None),
        State::Release | State::Behind if !blocked.contains(&row.message.ordering_key) => {}
        _ => return Action::Keep,
    }
    if row.topic != lane.topic.name() {
        return Action::Change(State::Parked, None);
    }
    match send_once(producer, lane.topic, lane.queue, std::slice::from_ref(&row.message), limits.timeout).await {
        Ok(()) => Action::Change(State::Sent, None),
        Err(failure) if is_permanent(&failure, limits) => Action::Change(State::Parked, Some(failure.to_string())),
        Err(failure) => Action::GiveUp(failure),
    }
}

async fn unresolved(pool: &PgPool, lane: i16, after: Place) -> sqlx::Result<Vec<(OutboxRow, State)>> {
    let rows = sqlx::query(include_str!("sql/unresolved.sql"))
        .bind(lane)
        .bind(after.position)
        .bind(after.n)
        .bind(CHUNK_ROWS)
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| {
            let state = match row.try_get::<&str, _>(12)? {
                "behind" => State::Behind,
                "release" => State::Release,
                "skip" => State::Skip,
                _ => State::Parked,
            };
            Ok((OutboxRow::decode(row)?, state))
        })
        .collect()
}

/// False: the lease is lost, and nothing was written.
async fn write(pool: &PgPool, lane: &LaneToSettle, changes: &[Change]) -> sqlx::Result<bool> {
    if changes.is_empty() {
        return Ok(true);
    }
    let mut transaction = pool.begin().await?;
    let is_ours = sqlx::query("select from relay.cursor where lane = $1 and token = $2 for update")
        .bind(lane.lane)
        .bind(lane.token)
        .fetch_optional(&mut *transaction)
        .await?
        .is_some();
    if !is_ours {
        return Ok(false);
    }
    sqlx::query(include_str!("sql/resolve.sql"))
        .bind(lane.lane)
        .bind(changes.iter().map(|change| change.place.position).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.place.n).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.state.as_str()).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.reason.as_deref()).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}
