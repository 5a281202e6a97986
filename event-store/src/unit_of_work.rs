//! What a decision sees and does: the states of its streams, and the effects it stages.

use std::cell::Cell;

use chrono::{DateTime, Utc};
use domain::{
    Decider, FulfilmentRejection, NotificationRejection, OrderRejection, PaymentRejection, Rejection, StockRejection,
};
use thiserror::Error;
use uuid::Uuid;

use crate::slot::StreamSlot;
use crate::stream::{EncodedEvent, StreamState, encode_event, is_stream_of};

/// Why a decision had no effect.
#[derive(Debug, Clone, Error)]
pub enum Refusal {
    /// A rule of the domain.
    #[error("rejected: {}", .0.code())]
    Rejected(Rejection),
    /// The decision is written wrongly: it used a stream it had not declared, or published without an event.
    #[error("fault: {0}")]
    Fault(String),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

macro_rules! refusal_from {
    ($($rejection:ty),+) => {$(
        impl From<$rejection> for Refusal {
            fn from(rejection: $rejection) -> Self {
                Self::Rejected(rejection.into())
            }
        }
    )+};
}
refusal_from!(StockRejection, OrderRejection, PaymentRejection, FulfilmentRejection, NotificationRejection);

/// A message that leaves through the outbox, with the event that caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMessage {
    /// The same on every send.
    pub message_id: Uuid,
    /// The queue of the topic it goes to; see `messaging::lane_of`.
    pub lane: i16,
    /// The topic.
    pub topic: String,
    /// Messages of one key stay in order.
    pub ordering_key: String,
    /// Order, lock or payment id.
    pub business_id: String,
    /// The envelope's event type.
    pub event_type: String,
    /// The exact body to send.
    pub body: String,
}

/// Something to do at a time. `(kind, key)` is unique; setting it again moves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadline {
    /// What to do.
    pub kind: &'static str,
    /// With what.
    pub key: String,
    /// When, by the database's clock.
    pub due_at: DateTime<Utc>,
}

/// Everything a decision staged.
#[derive(Default)]
pub(crate) struct Staged {
    pub(crate) events: Vec<StagedEvent>,
    pub(crate) outbox: Vec<StagedMessage>,
    pub(crate) deadlines: Vec<StagedDeadline>,
    pub(crate) response: Option<String>,
}

impl Staged {
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.deadlines.is_empty()
    }
}

pub(crate) struct StagedEvent {
    /// Index of its stream in the batch.
    pub(crate) slot: usize,
    pub(crate) version: u64,
    pub(crate) event_id: Uuid,
    pub(crate) event: EncodedEvent,
}

pub(crate) struct StagedMessage {
    /// Index of its event among the command's events.
    pub(crate) event: usize,
    pub(crate) message: OutboxMessage,
}

pub(crate) struct StagedDeadline {
    pub(crate) kind: &'static str,
    pub(crate) key: String,
    /// None takes the deadline away.
    pub(crate) due_at: Option<DateTime<Utc>>,
}

/// One of the command's streams: where it is in the batch, and whether the decision looked at it.
pub(crate) struct Access {
    pub(crate) slot: usize,
    pub(crate) touched: Cell<bool>,
}

/// What a decision works with. Nothing it stages is visible outside before the append has committed.
pub struct UnitOfWork<'a> {
    slots: &'a mut [StreamSlot],
    accesses: &'a [Access],
    now: DateTime<Utc>,
    undo: Vec<Undo>,
    staged: Staged,
    fault: Option<String>,
}

struct Undo {
    slot: usize,
    state: Box<dyn StreamState>,
    version: u64,
    first_of_batch: bool,
}

impl<'a> UnitOfWork<'a> {
    pub(crate) fn new(slots: &'a mut [StreamSlot], accesses: &'a [Access], now: DateTime<Utc>) -> Self {
        Self { slots, accesses, now, undo: Vec::new(), staged: Staged::default(), fault: None }
    }

    /// The time of this decision, by the database's clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// A new id, ordered by time (UUID v7).
    pub fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    /// The state of a declared stream, with everything staged so far.
    pub fn state<A: Decider>(&self, id: &str) -> Result<&A, Refusal> {
        let slot = &self.slots[self.find::<A>(id)?];
        slot.state.as_any().downcast_ref::<A>().ok_or_else(|| wrong_aggregate::<A>(id))
    }

    /// The version of a declared stream, with everything staged so far; 0 means that it does not exist.
    pub fn version<A: Decider>(&self, id: &str) -> Result<u64, Refusal> {
        Ok(self.slots[self.find::<A>(id)?].version)
    }

    /// Decides the command, applies and stages its events, and returns them.
    pub fn handle<A: Decider>(&mut self, id: &str, command: A::Command) -> Result<Vec<A::Event>, Refusal> {
        let index = self.find::<A>(id)?;
        let slot = &self.slots[index];
        let state = slot.state.as_any().downcast_ref::<A>().ok_or_else(|| wrong_aggregate::<A>(id))?;
        let events = state.decide(command).map_err(|error| Refusal::Rejected(error.into()))?;
        if events.is_empty() {
            return Ok(events);
        }
        self.remember(index);
        for event in &events {
            self.stage::<A>(index, event).map_err(|fault| self.fail(fault))?;
        }
        Ok(events)
    }

    /// Stages a message with the last staged event.
    pub fn publish(&mut self, message: OutboxMessage) -> Result<(), Refusal> {
        let Some(event) = self.staged.events.len().checked_sub(1) else {
            return Err(self.fail(format!("a message to {} without an event", message.topic)));
        };
        self.staged.outbox.push(StagedMessage { event, message });
        Ok(())
    }

    /// The answer to store with the command's unique keys.
    pub fn respond(&mut self, response_json: String) {
        self.staged.response = Some(response_json);
    }

    /// Sets or moves a deadline.
    pub fn set_deadline(&mut self, deadline: Deadline) {
        let Deadline { kind, key, due_at } = deadline;
        self.staged.deadlines.push(StagedDeadline { kind, key, due_at: Some(due_at) });
    }

    /// Takes a deadline away; nothing happens if there is none.
    pub fn clear_deadline(&mut self, kind: &'static str, key: &str) {
        self.staged.deadlines.push(StagedDeadline { kind, key: key.to_owned(), due_at: None });
    }

    /// What was staged, unless something went wrong on the way, whatever the decision then made of it.
    pub(crate) fn finish(&mut self) -> Result<Staged, Refusal> {
        match self.fault.take() {
            Some(fault) => Err(Refusal::Fault(fault)),
            None => Ok(std::mem::take(&mut self.staged)),
        }
    }

    /// Takes back what the decision changed in memory.
    pub(crate) fn undo(&mut self) {
        for undo in self.undo.drain(..).rev() {
            let slot = &mut self.slots[undo.slot];
            slot.state = undo.state;
            slot.version = undo.version;
            if undo.first_of_batch {
                slot.drop_base();
            }
        }
    }

    fn find<A: Decider>(&self, id: &str) -> Result<usize, Refusal> {
        self.accesses
            .iter()
            .find(|access| is_stream_of::<A>(&self.slots[access.slot].stream_id, id))
            .map(|access| {
                access.touched.set(true);
                access.slot
            })
            .ok_or_else(|| Refusal::Fault(format!("stream {}-{id} was not declared", A::CATEGORY)))
    }

    /// A fault stays with the unit of work: a decision that goes on in spite of it must not be appended.
    fn fail(&mut self, fault: String) -> Refusal {
        self.fault.get_or_insert_with(|| fault.clone());
        Refusal::Fault(fault)
    }

    fn remember(&mut self, index: usize) {
        if self.undo.iter().any(|undo| undo.slot == index) {
            return;
        }
        let slot = &mut self.slots[index];
        let first_of_batch = !slot.has_base();
        if first_of_batch {
            slot.keep_base();
        }
        self.undo.push(Undo { slot: index, state: slot.state.clone_box(), version: slot.version, first_of_batch });
    }

    fn stage<A: Decider>(&mut self, index: usize, event: &A::Event) -> Result<(), String> {
        let slot = &mut self.slots[index];
        let encoded = encode_event(event)?;
        let state = slot
            .state
            .as_any_mut()
            .downcast_mut::<A>()
            .ok_or_else(|| format!("stream {} belongs to another aggregate", slot.stream_id))?;
        state.apply(event.clone());
        slot.version += 1;
        let version = slot.version;
        self.staged.events.push(StagedEvent { slot: index, version, event_id: Uuid::now_v7(), event: encoded });
        Ok(())
    }
}

fn wrong_aggregate<A: Decider>(id: &str) -> Refusal {
    Refusal::Fault(format!("stream {}-{id} belongs to another aggregate", A::CATEGORY))
}
