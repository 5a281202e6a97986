//! The next messages of a replay, a page of each lane.

use futures_util::TryStreamExt;
use messaging::{OutgoingMessage, lane_parts, property};
use sqlx::{PgPool, Row};

use super::store::LaneProgress;
use super::{ReplayError, ReplayRequest, Target};
use crate::outbox::{OutboxRow, Place};

/// The next messages of a lane, and where it is when they are sent.
pub(super) struct LanePage {
    pub lane: i16,
    pub queue: u16,
    pub messages: Vec<OutgoingMessage>,
    pub reached: Place,
}

/// The next `limit` messages of each of these lanes, as copies.
pub(super) async fn read_pages(
    pool: &PgPool,
    request: &ReplayRequest,
    lanes: &[LaneProgress],
    limit: usize,
) -> Result<Vec<LanePage>, ReplayError> {
    let mut rows = sqlx::query(include_str!("sql/page.sql"))
        .bind(lanes.iter().map(|lane| lane.lane).collect::<Vec<_>>())
        .bind(lanes.iter().map(|lane| lane.reached.position).collect::<Vec<_>>())
        .bind(lanes.iter().map(|lane| lane.reached.n).collect::<Vec<_>>())
        .bind(lanes.iter().map(|lane| lane.end.position).collect::<Vec<_>>())
        .bind(lanes.iter().map(|lane| lane.end.n).collect::<Vec<_>>())
        .bind(limit as i64)
        .bind(&request.stream_id)
        .bind(&request.key)
        .fetch(pool);
    let mut found: Vec<(OutboxRow, bool)> = Vec::new();
    while let Some(row) = rows.try_next().await? {
        found.push((OutboxRow::decode(&row)?, row.try_get(12)?));
    }
    found.sort_by_key(|(row, _)| (row.lane, row.place));
    let mut pages: Vec<LanePage> = lanes.iter().filter_map(empty_page).collect();
    for (lane, page) in lanes.iter().zip(&mut pages) {
        let begin = found.partition_point(|(row, _)| row.lane < lane.lane);
        let end = found.partition_point(|(row, _)| row.lane <= lane.lane);
        let of_lane = &found[begin..end];
        // Fewer than asked for: the lane has no more.
        if let Some((last, _)) = of_lane.last().filter(|_| of_lane.len() >= limit) {
            page.reached = last.place;
        }
        let wanted = of_lane.iter().filter(|(_, is_wanted)| *is_wanted);
        page.messages.extend(wanted.map(|(row, _)| copy_of(&row.message, &request.target)));
    }
    Ok(pages)
}

fn empty_page(lane: &LaneProgress) -> Option<LanePage> {
    let (_, queue) = lane_parts(lane.lane)?;
    Some(LanePage { lane: lane.lane, queue, messages: Vec::new(), reached: lane.end })
}

/// The same message, which says that it is a copy, and for whom.
fn copy_of(message: &OutgoingMessage, target: &Target) -> OutgoingMessage {
    let mut copy = message.clone();
    copy.properties.push((property::REPLAY, "true".to_owned()));
    if let Target::Consumer(name) = target {
        copy.properties.push((property::REPLAY_FOR, name.clone()));
    }
    copy
}
