//! What a verdict means for each command and each stream of the batch.

use std::collections::HashSet;
use std::sync::Arc;

use crate::append::Verdict;
use crate::contention::lock_number;
use crate::decide::{Decided, Decision};
use crate::error::{CommandError, KeyRecord};
use crate::job::Queued;
use crate::request::PlannedAppend;
use crate::slot::StreamSlot;

#[derive(Default)]
pub(crate) struct Settlement {
    /// Commands to decide anew, in their order.
    pub(crate) redo: Vec<Queued>,
    /// Streams on which another process was met.
    pub(crate) contended: Vec<Arc<str>>,
    /// Streams whose locks were not granted in time.
    pub(crate) waited_in_vain: Vec<Arc<str>>,
    /// Position of the last appended event.
    pub(crate) head: Option<i64>,
}

pub(crate) fn settle(
    plan: &PlannedAppend,
    mut verdict: Verdict,
    decided: Vec<Decided>,
    slots: &mut [StreamSlot],
    max_attempts: u32,
) -> Settlement {
    let mut duplicates = duplicates_by_command(plan, &mut verdict, decided.len());
    let refused: HashSet<i32> = verdict.refused.iter().copied().collect();
    let conflicted = conflicted_groups(plan, &verdict, &refused);
    let positions = positions(plan, verdict.base, &refused);
    let appended = positions.iter().filter(|&&position| position > 0).count();
    metrics::counter!("ledger_events_appended_total").increment(appended as u64);
    metrics::counter!("ledger_append_conflicts_total").increment(conflicted.len() as u64);
    let head = (appended > 0).then_some(verdict.base + appended as i64);
    let mut settlement = Settlement { head, ..Default::default() };
    settle_streams(plan, &verdict, &refused, &positions, slots, &mut settlement);

    for (index, command) in decided.into_iter().enumerate() {
        let Decided { mut queued, decision, .. } = command;
        let group = plan.groups[index];
        if let Some(record) = duplicates[index].take() {
            queued.fail(CommandError::Duplicate(record));
        } else if verdict.known && matches!(decision, Decision::Rejected(_)) && !queued.command.keys.is_empty() {
            // Whether it repeats an accepted command was said in the answer that was lost.
            settlement.redo.push(queued);
        } else if !refused.contains(&group) {
            answer(queued, decision, position_of(plan.last_events[index], &positions));
        } else {
            if conflicted.contains(&group) {
                queued.conflicts += 1;
                queued.command.expect_existing_streams();
            }
            if queued.conflicts >= max_attempts {
                queued.fail(CommandError::Contended);
            } else {
                settlement.redo.push(queued);
            }
        }
    }
    settlement
}

fn answer(queued: Queued, decision: Decision, position: Option<i64>) {
    match decision {
        Decision::Accepted(_) => queued.job.answer(Ok(position)),
        Decision::Rejected(rejection) => queued.fail(CommandError::Rejected(rejection)),
    }
}

fn duplicates_by_command(plan: &PlannedAppend, verdict: &mut Verdict, commands: usize) -> Vec<Option<KeyRecord>> {
    let mut records: Vec<Option<KeyRecord>> = vec![None; commands];
    for duplicate in verdict.take_duplicates() {
        records[plan.key_commands[duplicate.index]].get_or_insert(KeyRecord {
            scope: plan.request.keys.scopes[duplicate.index].clone(),
            key: plan.request.keys.keys[duplicate.index].clone(),
            request_hash: duplicate.request_hash,
            response: duplicate.response,
            position: duplicate.position,
        });
    }
    records
}

/// A batch that was known already says which groups it refused and not why: conflicts are the safe reading.
fn conflicted_groups(plan: &PlannedAppend, verdict: &Verdict, refused: &HashSet<i32>) -> HashSet<i32> {
    if verdict.known {
        return refused.clone();
    }
    verdict.conflicts().map(|index| plan.request.expected.groups[index]).collect()
}

/// The position of each event; 0 for those of refused groups.
fn positions(plan: &PlannedAppend, base: i64, refused: &HashSet<i32>) -> Vec<i64> {
    let mut last = base;
    let next = |group| {
        if refused.contains(group) {
            return 0;
        }
        last += 1;
        last
    };
    plan.request.events.groups.iter().map(next).collect()
}

fn position_of(last_event: i32, positions: &[i64]) -> Option<i64> {
    usize::try_from(last_event - 1).ok().and_then(|index| positions.get(index).copied())
}

fn settle_streams(
    plan: &PlannedAppend,
    verdict: &Verdict,
    refused: &HashSet<i32>,
    positions: &[i64],
    slots: &mut [StreamSlot],
    settlement: &mut Settlement,
) {
    for (event, &slot) in plan.event_slots.iter().enumerate() {
        if positions[event] > 0 {
            slots[slot].commit(positions[event]);
        }
    }
    let lost: Vec<usize> = if verdict.known {
        let is_refused = |&index: &usize| refused.contains(&plan.request.expected.groups[index]);
        (0..plan.expected_slots.len()).filter(is_refused).collect()
    } else {
        verdict.conflicts().collect()
    };
    for slot in lost.into_iter().map(|index| plan.expected_slots[index]) {
        slots[slot].suspect = true;
        settlement.contended.push(slots[slot].stream_id.clone());
    }
    let wanted = verdict.wanted.as_deref().unwrap_or_default();
    if !wanted.is_empty() {
        let is_wanted = |slot: &&mut StreamSlot| wanted.contains(&lock_number(&slot.stream_id));
        settlement.contended.extend(slots.iter_mut().filter(is_wanted).map(|slot| slot.stream_id.clone()));
    }
    // What was not committed just now was refused, or never appended.
    slots.iter_mut().for_each(StreamSlot::roll_back);
}
