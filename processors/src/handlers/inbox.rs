//! From a command's outcome to a message's.

use std::future::Future;

use event_store::{CommandError, Committed};
use futures_util::future::{self, BoxFuture};
use futures_util::{FutureExt, StreamExt, stream};
use messaging::{Effect, HandleError, ReceivedMessage};

use super::replay;

/// A message whose command was submitted, or that could not become one.
pub type Submitted = Result<BoxFuture<'static, Result<Effect, HandleError>>, HandleError>;

/// The outcome of a submitted command, as its message's.
pub fn submitted(outcome: impl Future<Output = Result<Committed<()>, CommandError>> + Send + 'static) -> Submitted {
    Ok(outcome.map(effect_of).boxed())
}

/// Waits for a batch that was submitted in order.
pub async fn all(batch: Vec<Submitted>) -> Vec<Result<Effect, HandleError>> {
    future::join_all(batch.into_iter().map(|submitted| async { submitted?.await })).await
}

/// Handles a batch whose messages call somebody outside, a bounded number at a time; what is replayed calls nobody.
pub async fn outside<'a>(
    batch: &'a [ReceivedMessage],
    max_concurrent_calls: usize,
    handle: impl Fn(&'a ReceivedMessage) -> BoxFuture<'a, Result<Effect, HandleError>>,
) -> Vec<Result<Effect, HandleError>> {
    // Collected first: a closure over borrowed messages inside a stream is not general enough for an async trait.
    let calls: Vec<_> = batch
        .iter()
        .map(|message| match replay::quiet(message) {
            Some(effect) => future::ready(Ok(effect)).boxed(),
            None => handle(message),
        })
        .collect();
    stream::iter(calls).buffered(max_concurrent_calls.max(1)).collect().await
}

/// What a command's outcome means for the message it came from.
pub fn effect_of(outcome: Result<Committed<()>, CommandError>) -> Result<Effect, HandleError> {
    match outcome {
        Ok(_) => Ok(Effect::Applied),
        Err(CommandError::Duplicate(_)) => Ok(Effect::Duplicate),
        Err(error @ (CommandError::Unavailable(_) | CommandError::Overloaded | CommandError::Contended)) => {
            Err(HandleError::Transient(error.to_string()))
        }
        Err(error @ (CommandError::Rejected(_) | CommandError::Invalid { .. } | CommandError::Bug(_))) => {
            Err(HandleError::Failed(error.to_string()))
        }
    }
}
