//! What a replay would send, counted before anything is sent.

use sqlx::PgConnection;

use super::{ReplayRequest, lanes};
use crate::outbox::Place;

/// What a replay finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Messages to send.
    pub messages: i64,
    /// Positions of the first and the last of them.
    pub first_position: Option<i64>,
    pub last_position: Option<i64>,
    /// The same by the type of the event that caused them.
    pub event_types: Vec<EventTypeCount>,
    /// In the range and not sent yet: they leave by themselves.
    pub unsent: i64,
    /// In the range and parked instead of sent.
    pub parked: i64,
    /// Messages of the range that are no longer in the outbox. They can't be made again: their ids are random, and some hold
    /// an address that no event holds.
    pub expired: i64,
    /// There may be fewer of those, as the range or a filter cuts what was counted together.
    pub expired_is_bound: bool,
    /// The last position that has lost messages: a range that begins behind it is whole.
    pub expired_through: Option<i64>,
    pub(super) ends: Vec<(i16, Place)>,
}

/// Messages caused by events of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTypeCount {
    pub event_type: String,
    pub messages: i64,
}

/// Counts what a replay would send, and changes nothing.
pub async fn plan(connection: &mut PgConnection, request: &ReplayRequest) -> sqlx::Result<Plan> {
    let lanes = lanes(request.topic);
    let ends: Vec<(i16, i64, i16)> = sqlx::query_as(include_str!("sql/lane_ends.sql"))
        .bind(&lanes)
        .bind(request.upto)
        .fetch_all(&mut *connection)
        .await?;
    let ends: Vec<(i16, Place)> = ends.into_iter().map(|(lane, position, n)| (lane, Place { position, n })).collect();
    let counts: Vec<(String, i64, i64, i64)> = sqlx::query_as(include_str!("sql/count.sql"))
        .bind(ends.iter().map(|(lane, _)| *lane).collect::<Vec<_>>())
        .bind(ends.iter().map(|(_, end)| end.position).collect::<Vec<_>>())
        .bind(ends.iter().map(|(_, end)| end.n).collect::<Vec<_>>())
        .bind(request.after)
        .bind(&request.stream_id)
        .bind(&request.key)
        .fetch_all(&mut *connection)
        .await?;
    let (unsent, parked, expired, expired_through, is_cut): (i64, i64, i64, Option<i64>, bool) =
        sqlx::query_as(include_str!("sql/left_out.sql"))
            .bind(&lanes)
            .bind(request.after)
            .bind(request.upto)
            .fetch_one(&mut *connection)
            .await?;
    let is_filtered = request.stream_id.is_some() || request.key.is_some();
    Ok(Plan {
        messages: counts.iter().map(|(_, messages, ..)| messages).sum(),
        first_position: counts.iter().map(|(_, _, first, _)| *first).min(),
        last_position: counts.iter().map(|(_, _, _, last)| *last).max(),
        event_types: counts
            .into_iter()
            .map(|(event_type, messages, ..)| EventTypeCount { event_type, messages })
            .collect(),
        unsent,
        parked,
        expired,
        expired_is_bound: expired > 0 && (is_cut || is_filtered),
        expired_through,
        ends,
    })
}
