//! Sending one lane's batch: whole if the broker takes it, else around the messages it will never take.

use std::time::{Duration, Instant};

use messaging::telemetry::Sending;
use messaging::{OutgoingMessage, Producer, SendError, Topic};

use crate::metric;
use crate::outbox::{Batch, Place};
use crate::parked::{ParkedRow, State};

/// Bounds of a send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendLimits {
    pub max_bytes: usize,
    pub timeout: Duration,
    /// The topic has been missing for so long that its messages are parked.
    pub park_unknown_topic: bool,
}

/// How far a batch came. Everything up to `through` is confirmed or parked; after it, nothing is known to be stored.
#[derive(Debug)]
pub(crate) struct Sent {
    pub lane: i16,
    pub through: Option<Place>,
    pub messages: usize,
    pub parked: Vec<ParkedRow>,
    pub drained_through: Option<i64>,
    /// Why the rest was not sent.
    pub failure: Option<SendError>,
}

pub(crate) async fn send(producer: &dyn Producer, queue: u16, mut batch: Batch, limits: SendLimits) -> Sent {
    let mut next = 0;
    let mut messages = 0;
    let mut chunk = usize::MAX;
    let mut failure = None;
    while next < batch.messages.len() {
        let end = chunk_end(&batch.messages, next, chunk, limits.max_bytes);
        match send_once(producer, batch.topic, queue, &batch.messages[next..end], limits.timeout).await {
            Ok(()) => {
                messages += end - next;
                next = end;
                chunk = chunk.saturating_mul(2);
            }
            Err(error) if !is_permanent(&error, limits) => {
                failure = Some(error);
                break;
            }
            // Halves until the message that the broker will not take stands alone.
            Err(_) if end - next > 1 => chunk = (end - next) / 2,
            Err(error) => park(&mut batch, next, error.to_string()),
        }
    }
    finish(batch, next, messages, failure)
}

pub(crate) async fn send_once(
    producer: &dyn Producer,
    topic: Topic,
    queue: u16,
    messages: &[OutgoingMessage],
    timeout: Duration,
) -> Result<(), SendError> {
    let started = Instant::now();
    let sending = Sending::begin(topic.name(), messages);
    let messages = sending.as_ref().map_or(messages, Sending::messages);
    let answer = tokio::time::timeout(timeout, producer.send(topic.name(), queue, messages)).await;
    let sent = answer.unwrap_or_else(|_| Err(SendError::Unavailable(format!("no answer within {timeout:?}"))));
    metric::sent(topic, messages.len(), started.elapsed(), sent.as_ref().err());
    if let Some(sending) = sending {
        sending.end(sent.as_ref().err());
    }
    sent
}

pub(crate) fn is_permanent(error: &SendError, limits: SendLimits) -> bool {
    match error {
        SendError::Unavailable(_) => false,
        SendError::UnknownTopic(_) => limits.park_unknown_topic,
        SendError::TooLarge { .. } | SendError::Rejected(_) => true,
    }
}

/// At least one message, at most `chunk`, and no more than `max_bytes` unless the first alone has more.
fn chunk_end(messages: &[OutgoingMessage], start: usize, chunk: usize, max_bytes: usize) -> usize {
    let mut bytes = 0;
    let fits = messages[start..].iter().take(chunk).take_while(|message| {
        bytes += message.body.len();
        bytes <= max_bytes
    });
    start + fits.count().max(1)
}

/// Takes the message out, and the later ones of its key with it.
fn park(batch: &mut Batch, index: usize, reason: String) {
    let message = batch.messages.remove(index);
    let place = batch.places.remove(index);
    batch.parked.push(ParkedRow::new(batch.lane, place, batch.topic.name(), &message, State::Parked, reason));
    let later = batch.messages.split_off(index).into_iter().zip(batch.places.split_off(index));
    for (later, place) in later {
        if later.ordering_key == message.ordering_key {
            batch.parked.push(ParkedRow::behind(batch.lane, place, batch.topic, &later));
        } else {
            batch.messages.push(later);
            batch.places.push(place);
        }
    }
}

fn finish(batch: Batch, next: usize, messages: usize, failure: Option<SendError>) -> Sent {
    let mut parked = batch.parked;
    let through = match batch.places.get(next) {
        None => Some(batch.last),
        Some(unsent) => {
            // Met again, and parked again, when the lane is read from where it stopped.
            parked.retain(|row| row.place < *unsent);
            let last_sent = next.checked_sub(1).map(|last| batch.places[last]);
            last_sent.max(parked.iter().map(|row| row.place).max())
        }
    };
    let drained_through = batch.drained_through.filter(|_| failure.is_none());
    Sent { lane: batch.lane, through, messages, parked, drained_through, failure }
}
