//! From decided commands to the arrays of one append.

use std::collections::HashSet;

use uuid::Uuid;

use crate::append::{AppendRequest, Deadlines, Events, Expected, Keys, Outbox};
use crate::contention::lock_number;
use crate::decide::{Decided, Decision};
use crate::hash::HashedEvent;
use crate::slot::StreamSlot;
use crate::unit_of_work::{Staged, StagedEvent};

/// Each takes a place in Postgres's lock table for the time of the append.
const MAX_WATCHED: usize = 64;

/// An append, and where in it everything of a command is.
pub(crate) struct PlannedAppend {
    pub(crate) request: AppendRequest,
    /// For each command its group.
    pub(crate) groups: Vec<i32>,
    /// For each command its last event's place in the request, from 1; 0 without events.
    pub(crate) last_events: Vec<i32>,
    /// For each expectation the stream it is about.
    pub(crate) expected_slots: Vec<usize>,
    /// For each key its command.
    pub(crate) key_commands: Vec<usize>,
    /// For each event its stream.
    pub(crate) event_slots: Vec<usize>,
}

pub(crate) fn plan(decided: &mut [Decided], slots: &[StreamSlot]) -> PlannedAppend {
    let groups = group(decided, slots.len());
    let mut plan = PlannedAppend {
        request: AppendRequest {
            batch_id: Uuid::now_v7(),
            expected: Expected::default(),
            events: Events::default(),
            outbox: Outbox::default(),
            keys: Keys::default(),
            deadlines: Deadlines::default(),
            watched: Vec::new(),
        },
        groups,
        last_events: Vec::with_capacity(decided.len()),
        expected_slots: Vec::new(),
        key_commands: Vec::new(),
        event_slots: Vec::new(),
    };
    plan.expect_versions(decided, slots);
    for (index, command) in decided.iter_mut().enumerate() {
        plan.add_command(index, command, slots);
    }
    plan
}

/// Commands that share a stream which one of them writes stand or fall together: each was decided on what the others
/// left. Returns a group number for each command.
fn group(decided: &[Decided], slot_count: usize) -> Vec<i32> {
    let mut is_written = vec![false; slot_count];
    for event in decided.iter().filter_map(Decided::staged).flat_map(|staged| &staged.events) {
        is_written[event.slot] = true;
    }
    let mut leaders: Vec<usize> = (0..decided.len()).collect();
    let mut first_toucher: Vec<Option<usize>> = vec![None; slot_count];
    for (index, command) in decided.iter().enumerate() {
        for &slot in command.touched.iter().filter(|&&slot| is_written[slot]) {
            let first = *first_toucher[slot].get_or_insert(index);
            let (one, other) = (leader(&mut leaders, first), leader(&mut leaders, index));
            leaders[one.max(other)] = one.min(other);
        }
    }
    (0..decided.len()).map(|index| leader(&mut leaders, index) as i32).collect()
}

fn leader(leaders: &mut [usize], mut index: usize) -> usize {
    while leaders[index] != index {
        leaders[index] = leaders[leaders[index]];
        index = leaders[index];
    }
    index
}

impl PlannedAppend {
    /// Each group expects the streams that its commands looked at to be as they were seen.
    fn expect_versions(&mut self, decided: &[Decided], slots: &[StreamSlot]) {
        let mut expected = HashSet::new();
        for (index, command) in decided.iter().enumerate() {
            let group = self.groups[index];
            for &slot in &command.touched {
                if expected.insert((group, slot)) {
                    self.expected_slots.push(slot);
                    self.request.expected.groups.push(group);
                    self.request.expected.streams.push(slots[slot].stream_id.to_string());
                    self.request.expected.versions.push(slots[slot].base_version as i64);
                    self.watch(&slots[slot]);
                }
            }
        }
    }

    /// Streams on which this process could keep others from ever getting their turn. Whoever decides on what it read
    /// just now leaves them room by reading.
    fn watch(&mut self, slot: &StreamSlot) {
        let is_written_from_cache = slot.has_base() && slot.base_version > 0 && !slot.fresh;
        if is_written_from_cache && self.request.watched.len() < MAX_WATCHED {
            self.request.watched.push(lock_number(&slot.stream_id));
        }
    }

    fn add_command(&mut self, index: usize, command: &mut Decided, slots: &[StreamSlot]) {
        let group = self.groups[index];
        let (last_event, response, is_accepted) = match &mut command.decision {
            Decision::Accepted(staged) => {
                let metadata = serde_json::to_string(&command.queued.command.metadata).unwrap_or_default();
                (self.add_effects(group, staged, slots, &metadata), staged.response.take(), true)
            }
            Decision::Rejected(_) => (0, None, false),
        };
        self.last_events.push(last_event);
        for key in &command.queued.command.keys {
            self.key_commands.push(index);
            let keys = &mut self.request.keys;
            keys.groups.push(group);
            keys.scopes.push(key.scope.clone());
            keys.keys.push(key.key.clone());
            // A rejected command stores nothing, but may be the repeat of one that was accepted.
            keys.inserts.push(is_accepted);
            keys.events.push(last_event);
            keys.request_hashes.push(key.request_hash.clone());
            keys.responses.push(response.clone());
        }
    }

    /// Returns the place of the last event, or 0.
    fn add_effects(&mut self, group: i32, staged: &mut Staged, slots: &[StreamSlot], metadata: &str) -> i32 {
        let before = self.request.events.ids.len();
        for event in staged.events.drain(..) {
            self.event_slots.push(event.slot);
            add_event(&mut self.request.events, group, event, slots, metadata);
        }
        let mut number = 0;
        let outbox = &mut self.request.outbox;
        for staged_message in staged.outbox.drain(..) {
            let event = (before + staged_message.event + 1) as i32;
            number = if outbox.events.last() == Some(&event) { number + 1 } else { 0 };
            let message = staged_message.message;
            outbox.events.push(event);
            outbox.numbers.push(number);
            outbox.lanes.push(message.lane);
            outbox.topics.push(message.topic);
            outbox.ordering_keys.push(message.ordering_key);
            outbox.business_ids.push(message.business_id);
            outbox.event_types.push(message.event_type);
            outbox.message_ids.push(message.message_id);
            outbox.bodies.push(message.body);
        }
        for deadline in staged.deadlines.drain(..) {
            let deadlines = &mut self.request.deadlines;
            deadlines.groups.push(group);
            deadlines.kinds.push(deadline.kind);
            deadlines.keys.push(deadline.key);
            deadlines.dues.push(deadline.due_at);
        }
        let after = self.request.events.ids.len();
        if after > before { after as i32 } else { 0 }
    }
}

fn add_event(events: &mut Events, group: i32, staged: StagedEvent, slots: &[StreamSlot], metadata: &str) {
    let stream_id = &slots[staged.slot].stream_id;
    let event = staged.event;
    let hashed = HashedEvent {
        stream_id,
        version: staged.version as i64,
        event_id: staged.event_id,
        event_type: &event.event_type,
        schema_version: event.schema_version,
        payload: &event.payload,
        metadata,
    };
    events.hashes.push(hashed.digest().to_vec());
    events.groups.push(group);
    events.streams.push(stream_id.to_string());
    events.versions.push(staged.version as i64);
    events.ids.push(staged.event_id);
    events.types.push(event.event_type);
    events.schemas.push(event.schema_version);
    events.payloads.push(event.payload);
    events.metadata.push(metadata.to_owned());
}
