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
    /// The broker has all of it.
    pub is_confirmed: bool,
}

/// Bounds of a lane's page.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageLimits {
    /// Looked at.
    pub rows: usize,
    /// Sent.
    pub messages: usize,
}

/// The next messages of each of these lanes, as copies.
pub(super) async fn read_pages(
    pool: &PgPool,
    request: &ReplayRequest,
    lanes: &[LaneProgress],
    limits: PageLimits,
) -> Result<Vec<LanePage>, ReplayError> {
    let mut rows = sqlx::query(include_str!("sql/page.sql"))
        .bind(lanes.iter().map(|lane| lane.lane).collect::<Vec<_>>())
        .bind(lanes.iter().map(|lane| lane.reached.position).collect::<Vec<_>>())
        .bind(lanes.iter().map(|lane| lane.reached.n).collect::<Vec<_>>())
        .bind(lanes.iter().map(|lane| lane.end.position).collect::<Vec<_>>())
        .bind(lanes.iter().map(|lane| lane.end.n).collect::<Vec<_>>())
        .bind(limits.rows as i64)
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
        page.fill(&found[begin..end], limits, &request.target);
    }
    Ok(pages)
}

fn empty_page(lane: &LaneProgress) -> Option<LanePage> {
    let (_, queue) = lane_parts(lane.lane)?;
    Some(LanePage { lane: lane.lane, queue, messages: Vec::new(), reached: lane.end, is_confirmed: true })
}

impl LanePage {
    /// Takes the rows that were read of its lane, up to before the first wanted one that is too many.
    fn fill(&mut self, rows: &[(OutboxRow, bool)], limits: PageLimits, target: &Target) {
        let mut wanted = rows.iter().enumerate().filter(|(_, (_, is_wanted))| *is_wanted);
        let too_many = wanted.nth(limits.messages).map(|(at, _)| at);
        let taken = &rows[..too_many.unwrap_or(rows.len())];
        // Fewer than asked for: the lane has no more.
        if let Some((last, _)) = taken.last().filter(|_| too_many.is_some() || rows.len() >= limits.rows) {
            self.reached = last.place;
        }
        let wanted = taken.iter().filter(|(_, is_wanted)| *is_wanted);
        self.messages.extend(wanted.map(|(row, _)| copy_of(&row.message, target)));
        self.is_confirmed = self.messages.is_empty();
    }
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
