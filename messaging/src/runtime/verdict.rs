//! What follows from a handler's results: order per key comes before everything a handler says.

use std::collections::HashSet;

use super::backlog::Work;
use crate::handler::{Effect, HandleError};

/// A message, and what the handler or the parser said of it.
pub(super) type Judged = (Work, Result<Effect, HandleError>);

pub(super) enum Verdict {
    /// It is done with.
    Settle(Effect),
    /// It failed, and backs off.
    TryAgain(HandleError),
    /// An earlier message of its key is not done with.
    WaitItsTurn,
    /// It becomes a dead letter.
    GiveUp(HandleError),
}

/// The verdict on each message of a batch, and its attempts counted.
pub(super) fn verdicts(judged: Vec<Judged>, max_attempts: u32) -> Vec<(Work, Verdict)> {
    let mut stopped_keys: HashSet<String> = HashSet::new();
    let mut verdict_on = |(mut work, result): Judged| {
        let key_stopped = work.waiting_key().is_some_and(|key| stopped_keys.contains(key));
        let verdict = match result {
            Ok(effect) => Verdict::Settle(effect),
            Err(_) if key_stopped => Verdict::WaitItsTurn,
            Err(problem) => {
                stopped_keys.extend(work.waiting_key().map(str::to_owned));
                of_failure(&mut work, problem, max_attempts)
            }
        };
        (work, verdict)
    };
    judged.into_iter().map(&mut verdict_on).collect()
}

fn of_failure(work: &mut Work, problem: HandleError, max_attempts: u32) -> Verdict {
    match problem {
        problem @ HandleError::Poison(_) => Verdict::GiveUp(problem),
        problem @ HandleError::Failed(_) => {
            work.attempts += 1;
            if work.attempts >= max_attempts { Verdict::GiveUp(problem) } else { Verdict::TryAgain(problem) }
        }
        problem @ (HandleError::Transient(_) | HandleError::Behind) => Verdict::TryAgain(problem),
    }
}
