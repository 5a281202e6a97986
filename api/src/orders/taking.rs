//! How long an order took to be answered, noted for the comparison of the modes.

use std::time::Instant;

use event_store::{CommandError, Committed};
use processors::commands::{NewOrder, UseCaseError};
use rollout::Assignment;

use crate::state::ApiState;

/// An order that is being taken. Dropped before it was answered, which a time-out or a caller who hung up does, it counts as
/// failed.
pub(super) struct Taking<'a> {
    api: &'a ApiState,
    assignment: Assignment,
    since: Instant,
    is_finished: bool,
}

impl<'a> Taking<'a> {
    pub(super) fn start(api: &'a ApiState, assignment: Assignment) -> Self {
        Self { api, assignment, since: Instant::now(), is_finished: false }
    }

    /// A repeated request is not another order, and one that the caller got wrong says nothing of the mode.
    pub(super) fn finish(mut self, placed: &Result<Committed<NewOrder>, UseCaseError>) {
        self.is_finished = true;
        let samples = self.api.rollout.samples();
        match placed {
            Ok(placed) => samples.note(self.assignment, Some(&placed.value.order_id), self.since.elapsed()),
            Err(error) if is_ours(error) => samples.note(self.assignment, None, self.since.elapsed()),
            Err(_) => {}
        }
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.api.rollout.samples().note(self.assignment, None, self.since.elapsed());
        }
    }
}

fn is_ours(error: &UseCaseError) -> bool {
    match error {
        UseCaseError::Store(_) => true,
        UseCaseError::Command(error) => !matches!(error, CommandError::Rejected(_) | CommandError::Duplicate(_)),
        _ => false,
    }
}
