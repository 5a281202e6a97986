//! Calling a handler so that neither a panic nor one bad message takes others with it.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use crate::handler::{Effect, HandleError, Handler};
use crate::received::ReceivedMessage;

type Outcome = Result<Effect, HandleError>;

/// Applies a batch in at most `partitions` parts of about one size, side by side. A waiting key is in one part only, in its
/// order, whatever its messages say they are ordered by; and so is an ordering key, so that who came first is served first.
pub(super) async fn apply_side_by_side(
    handler: &dyn Handler,
    batch: &[&ReceivedMessage],
    partitions: usize,
) -> Vec<Outcome> {
    let partitions = partitions.clamp(1, batch.len().max(1));
    let mut parts: Vec<(Vec<usize>, Vec<ReceivedMessage>)> = vec![Default::default(); partitions];
    let mut of_waiting_key: HashMap<&str, usize> = HashMap::new();
    let mut of_ordering_key: HashMap<&str, usize> = HashMap::new();
    for (index, message) in batch.iter().enumerate() {
        let smallest = || (0..partitions).min_by_key(|part| parts[*part].0.len()).unwrap_or_default();
        let by_ordering_key = || *of_ordering_key.entry(&message.ordering_key).or_insert_with(smallest);
        let part = *of_waiting_key.entry(&message.waiting_key).or_insert_with(by_ordering_key);
        let (indices, messages) = &mut parts[part];
        indices.push(index);
        messages.push((*message).clone());
    }
    let applied = join_all(parts.iter().map(|(_, messages)| apply(handler, messages))).await;
    let mut outcomes: Vec<(usize, Outcome)> =
        parts.iter().flat_map(|(indices, _)| indices.iter().copied()).zip(applied.into_iter().flatten()).collect();
    outcomes.sort_unstable_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Applies a batch. When all of several messages fail, the cause may be one of them: the batch is halved until those that
/// fail by themselves stand alone.
pub(crate) fn apply<'a>(handler: &'a dyn Handler, batch: &'a [ReceivedMessage]) -> BoxFuture<'a, Vec<Outcome>> {
    async move {
        if batch.is_empty() {
            return Vec::new();
        }
        let outcomes = call(handler, batch).await;
        let all_failed = outcomes.iter().all(|outcome| matches!(outcome, Err(HandleError::Failed(_))));
        if batch.len() == 1 || !all_failed {
            return outcomes;
        }
        let (first, second) = batch.split_at(batch.len() / 2);
        let mut outcomes = apply(handler, first).await;
        outcomes.extend(apply_after(handler, first, &outcomes, second).await);
        outcomes
    }
    .boxed()
}

/// Applies the second half but for the keys that failed in the first.
async fn apply_after(
    handler: &dyn Handler,
    first: &[ReceivedMessage],
    first_outcomes: &[Outcome],
    second: &[ReceivedMessage],
) -> Vec<Outcome> {
    let stopped: HashSet<&str> = first
        .iter()
        .zip(first_outcomes)
        .filter(|(_, outcome)| outcome.is_err())
        .map(|(message, _)| message.waiting_key.as_str())
        .collect();
    let is_free = |message: &ReceivedMessage| !stopped.contains(message.waiting_key.as_str());
    let free: Vec<ReceivedMessage> = second.iter().filter(|message| is_free(message)).cloned().collect();
    let mut applied = apply(handler, &free).await.into_iter();
    second
        .iter()
        .map(|message| {
            if is_free(message) { applied.next().unwrap_or(Err(HandleError::Behind)) } else { Err(HandleError::Behind) }
        })
        .collect()
}

async fn call(handler: &dyn Handler, batch: &[ReceivedMessage]) -> Vec<Outcome> {
    let problem = match AssertUnwindSafe(handler.handle(batch)).catch_unwind().await {
        Ok(outcomes) if outcomes.len() == batch.len() => return outcomes,
        Ok(outcomes) => format!("the handler gave {} results for {} messages", outcomes.len(), batch.len()),
        Err(panic) => format!("the handler panicked: {}", panic_message(&*panic)),
    };
    vec![Err(HandleError::Failed(problem)); batch.len()]
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
