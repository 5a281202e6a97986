//! Runs the decisions of a batch in the order of their arrival, each on what the ones before it left.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::Rejection;

use crate::error::CommandError;
use crate::job::Queued;
use crate::slot::StreamSlot;
use crate::unit_of_work::{Access, Refusal, Staged, UnitOfWork};

/// A command that waits for the append: to write, or to hear that what it was judged on is still true.
pub(crate) struct Decided {
    pub(crate) queued: Queued,
    pub(crate) decision: Decision,
    /// Indexes of the streams it looked at.
    pub(crate) touched: Vec<usize>,
}

pub(crate) enum Decision {
    Accepted(Staged),
    Rejected(Rejection),
}

impl Decided {
    pub(crate) fn staged(&self) -> Option<&Staged> {
        match &self.decision {
            Decision::Accepted(staged) => Some(staged),
            Decision::Rejected(_) => None,
        }
    }
}

/// Answers what can be answered without an append and returns the rest.
pub(crate) fn decide_all(commands: Vec<Queued>, slots: &mut [StreamSlot], now: DateTime<Utc>) -> Vec<Decided> {
    let index: HashMap<Arc<str>, usize> =
        slots.iter().enumerate().map(|(index, slot)| (slot.stream_id.clone(), index)).collect();
    commands.into_iter().filter_map(|queued| decide_one(queued, slots, &index, now)).collect()
}

fn decide_one(
    mut queued: Queued,
    slots: &mut [StreamSlot],
    index: &HashMap<Arc<str>, usize>,
    now: DateTime<Utc>,
) -> Option<Decided> {
    queued.tried = true;
    let mut accesses = Vec::with_capacity(queued.command.streams.len());
    for stream in &queued.command.streams {
        let Some(&slot) = index.get(&stream.stream_id) else { continue };
        if let Some(reason) = &slots[slot].unreadable {
            let reason = format!("stream {} cannot be read: {reason}", stream.stream_id);
            queued.fail(CommandError::Bug(reason));
            return None;
        }
        accesses.push(Access { slot, touched: Cell::new(false) });
    }
    let mut unit = UnitOfWork::new(slots, &accesses, now);
    let decision = match queued.job.decide(&mut unit).and_then(|()| unit.finish()) {
        Ok(staged) => Decision::Accepted(staged),
        Err(refusal) => {
            unit.undo();
            match refusal {
                Refusal::Rejected(rejection) => Decision::Rejected(rejection),
                Refusal::Fault(fault) => {
                    queued.fail(CommandError::Bug(fault));
                    return None;
                }
            }
        }
    };
    let touched = accesses.iter().filter(|access| access.touched.get()).map(|access| access.slot).collect();
    answer_or_keep(Decided { queued, decision, touched }, slots)
}

/// Without effects and keys, and judged on nothing but what the ledger was just seen to hold, the answer is certain.
fn answer_or_keep(decided: Decided, slots: &[StreamSlot]) -> Option<Decided> {
    let has_effects = decided.staged().is_some_and(|staged| !staged.is_empty());
    let has_keys = !decided.queued.command.keys.is_empty();
    if has_effects || has_keys || !decided.touched.iter().all(|&slot| slots[slot].is_verified()) {
        return Some(decided);
    }
    match decided.decision {
        Decision::Accepted(_) => decided.queued.job.answer(Ok(None)),
        Decision::Rejected(rejection) => decided.queued.fail(CommandError::Rejected(rejection)),
    }
    None
}
