//! Spans of messages, named by OpenTelemetry's messaging conventions: one where a message is sent, one where it is processed,
//! each below the one before it.

use event_store::span::{self, KeyValue, Span, SpanKind};

use crate::broker::{OutgoingMessage, SendError, property};
use crate::handler::{Effect, HandleError};
use crate::received::ReceivedMessage;

/// A batch on its way to the broker, each message with a span of its own.
pub struct Sending {
    messages: Vec<OutgoingMessage>,
    spans: Vec<Span>,
}

impl Sending {
    /// Begins a span for each message, below the one that its event was written in. `None` while there are no traces: the
    /// messages are sent as they are.
    pub fn begin(topic: &str, messages: &[OutgoingMessage]) -> Option<Sending> {
        if !span::is_on() {
            return None;
        }
        let mut messages = messages.to_vec();
        let spans = messages.iter_mut().map(|message| send_span(topic, message)).collect();
        Some(Sending { messages, spans })
    }

    /// What is to be sent: the same, with `traceparent` naming the new spans.
    pub fn messages(&self) -> &[OutgoingMessage] {
        &self.messages
    }

    /// The broker confirmed the batch, or did not.
    pub fn end(mut self, failure: Option<&SendError>) {
        if let Some(failure) = failure {
            self.spans.iter_mut().for_each(|span| span.fail(error_type(failure), failure.to_string()));
        }
    }
}

fn send_span(topic: &str, message: &mut OutgoingMessage) -> Span {
    let parent = message.properties.iter().find(|(name, _)| *name == property::TRACEPARENT);
    let mut attributes = attributes(topic, "send", &message.message_id.to_string());
    attributes.push(KeyValue::new("messaging.rocketmq.message.tag", message.event_type.clone()));
    let parent = parent.map(|(_, traceparent)| traceparent.as_str());
    let span = Span::begin(format!("send {topic}"), SpanKind::Producer, parent, [], attributes);
    if let Some(traceparent) = span.traceparent().filter(|_| span.is_recording()) {
        message.properties.retain(|(name, _)| *name != property::TRACEPARENT);
        message.properties.push((property::TRACEPARENT, traceparent));
    }
    span
}

/// A batch that a consumer works on.
pub(crate) struct Processing {
    messages: Vec<ReceivedMessage>,
    spans: Vec<Span>,
    _batch: Span,
}

impl Processing {
    /// Begins a span for each message below the one it was sent in, and one for the batch that is linked to all of them. What
    /// the messages cause is below those. `None` while there are no traces.
    pub(crate) fn begin(group: &str, messages: &[&ReceivedMessage]) -> Option<Processing> {
        if !span::is_on() || messages.is_empty() {
            return None;
        }
        let batch = batch_span(group, messages);
        let link = batch.traceparent();
        let mut messages: Vec<ReceivedMessage> = messages.iter().map(|message| (*message).clone()).collect();
        let spans = messages.iter_mut().map(|message| process_span(group, message, link.as_deref())).collect();
        Some(Processing { messages, spans, _batch: batch })
    }

    /// The same messages, whose `traceparent` names the new spans.
    pub(crate) fn messages(&self) -> Vec<&ReceivedMessage> {
        self.messages.iter().collect()
    }

    /// What became of each.
    pub(crate) fn end(self, results: &[Result<Effect, HandleError>]) {
        for (mut span, result) in self.spans.into_iter().zip(results) {
            match result {
                Ok(Effect::Applied) => span.set("ledger.outcome", "applied"),
                Ok(Effect::Duplicate) => span.set("ledger.outcome", "duplicate"),
                Err(problem) => span.fail(problem_type(problem), problem.to_string()),
            }
        }
    }
}

/// A batch of one has nothing to say that its message's span does not.
fn batch_span(group: &str, messages: &[&ReceivedMessage]) -> Span {
    if messages.len() < 2 {
        return Span::none();
    }
    let links = messages.iter().filter_map(|message| message.traceparent.as_deref());
    let mut attributes = of_operation("process");
    attributes.push(KeyValue::new("messaging.consumer.group.name", group.to_owned()));
    attributes.push(KeyValue::new("messaging.batch.message_count", messages.len() as i64));
    let topic = messages[0].topic;
    // A batch of several topics has no destination to be named by.
    let mut name = "process".to_owned();
    if messages.iter().all(|message| message.topic == topic) {
        attributes.push(KeyValue::new("messaging.destination.name", topic.name()));
        name = format!("process {topic}");
    }
    Span::begin(name, SpanKind::Consumer, None, links, attributes)
}

fn process_span(group: &str, message: &mut ReceivedMessage, batch: Option<&str>) -> Span {
    let topic = message.topic.name();
    let mut attributes = attributes(topic, "process", &message.message_id.to_string());
    attributes.push(KeyValue::new("messaging.consumer.group.name", group.to_owned()));
    if message.replay {
        attributes.push(KeyValue::new("ledger.replay", true));
    }
    let parent = message.traceparent.as_deref();
    let span = Span::begin(format!("process {topic}"), SpanKind::Consumer, parent, batch, attributes);
    if let Some(traceparent) = span.traceparent().filter(|_| span.is_recording()) {
        message.traceparent = Some(traceparent);
    }
    span
}

/// Of a span of one message, on which the conventions want no count.
fn attributes(topic: &str, operation: &'static str, message_id: &str) -> Vec<KeyValue> {
    let mut attributes = of_operation(operation);
    attributes.push(KeyValue::new("messaging.destination.name", topic.to_owned()));
    attributes.push(KeyValue::new("messaging.message.id", message_id.to_owned()));
    attributes
}

fn of_operation(operation: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "rocketmq"),
        // Required of RocketMQ; ours is the one without a name.
        KeyValue::new("messaging.rocketmq.namespace", ""),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
    ]
}

fn error_type(failure: &SendError) -> &'static str {
    match failure {
        SendError::Unavailable(_) => "unavailable",
        SendError::UnknownTopic(_) => "unknown_topic",
        SendError::TooLarge { .. } => "too_large",
        SendError::Rejected(_) => "rejected",
    }
}

fn problem_type(problem: &HandleError) -> &'static str {
    match problem {
        HandleError::Transient(_) => "transient",
        HandleError::Failed(_) => "failed",
        HandleError::Poison(_) => "poison",
        HandleError::Behind => "behind",
    }
}
