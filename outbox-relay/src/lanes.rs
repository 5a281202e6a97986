//! What the active relay knows of each lane.

use std::collections::HashSet;
use std::time::Instant;

use messaging::{Topic, lane_parts};

use crate::outbox::{Place, ReadFrom};

pub(crate) struct Lane {
    pub lane: i16,
    pub topic: Topic,
    pub queue: u16,
    /// The durable cursor.
    pub sent: Place,
    /// Nothing further is to be found at or below this position.
    pub drained_through: i64,
    /// A batch is under way.
    pub is_busy: bool,
    /// How many messages that batch has.
    pub in_flight_messages: usize,
    /// Not before.
    pub retry_at: Option<Instant>,
    /// How often the broker has said in a row that it does not know the topic.
    pub unknown_topic_failures: u32,
    /// Ordering keys with a parked message; only the active relay adds and removes any.
    pub blocked: HashSet<String>,
    /// People decided about a parked message, or a relay before us may have died while carrying that out.
    pub has_decisions: bool,
}

impl Lane {
    fn read_from(&self) -> ReadFrom<'_> {
        ReadFrom { lane: self.lane, topic: self.topic, after: self.sent, blocked: &self.blocked }
    }
}

pub(crate) struct Lanes(Vec<Lane>);

impl Lanes {
    pub(crate) fn new(cursors: Vec<(i16, Place)>, blocked: Vec<(i16, String)>) -> Lanes {
        let lane = |(lane, sent)| {
            let (topic, queue) = lane_parts(lane)?;
            Some(Lane {
                lane,
                topic,
                queue,
                sent,
                drained_through: 0,
                is_busy: false,
                in_flight_messages: 0,
                retry_at: None,
                unknown_topic_failures: 0,
                blocked: HashSet::new(),
                has_decisions: false,
            })
        };
        let mut lanes: Vec<Lane> = cursors.into_iter().filter_map(lane).collect();
        lanes.sort_by_key(|lane| lane.lane);
        let mut lanes = Lanes(lanes);
        for (lane, key) in blocked {
            if let Some(lane) = lanes.get_mut(lane) {
                lane.blocked.insert(key);
                lane.has_decisions = true;
            }
        }
        lanes
    }

    pub(crate) fn get_mut(&mut self, lane: i16) -> Option<&mut Lane> {
        // Sorted, and gapless from 0.
        self.0.get_mut(usize::try_from(lane).ok()?)
    }

    /// Idle lanes that may have something at or below `head`.
    pub(crate) fn readable(&self, head: i64) -> Vec<ReadFrom<'_>> {
        let now = Instant::now();
        let readable = |lane: &&Lane| {
            !lane.is_busy
                && !lane.has_decisions
                && lane.drained_through < head
                && lane.retry_at.is_none_or(|retry_at| retry_at <= now)
        };
        self.0.iter().filter(readable).map(Lane::read_from).collect()
    }

    /// Takes the idle lanes whose parked messages are to be looked at; they are busy from here.
    pub(crate) fn begin_decided(&mut self) -> impl Iterator<Item = &Lane> {
        self.0.iter_mut().filter(|lane| lane.has_decisions && !lane.is_busy).map(|lane| {
            lane.is_busy = true;
            &*lane
        })
    }

    pub(crate) fn in_flight_messages(&self) -> usize {
        self.0.iter().map(|lane| lane.in_flight_messages).sum()
    }

    /// What was under way is given up: to be read again from the durable cursors.
    pub(crate) fn release_all(&mut self) {
        for lane in &mut self.0 {
            lane.is_busy = false;
            lane.in_flight_messages = 0;
        }
    }
}
