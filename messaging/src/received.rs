//! A delivered message, checked. What does not hold is poison, with a reason a person can read.

use std::collections::HashMap;

use domain::Mode;
use event_store::{CommandKey, Metadata};
use serde_json::value::RawValue;
use thiserror::Error;
use uuid::Uuid;

use crate::broker::{Delivery, is_replay, property};
use crate::dead_letter::without_particulars;
use crate::envelope::Envelope;
use crate::message::{
    EmailNotification, MessageData, OrderCancel, OrderCreate, OrderPayment, OrderStatusUpdate, SmsNotification,
    StockDeduct, StockLock, StockRollback, StockSync, UserNotification,
};
use crate::topic::Topic;

/// How the scopes of consumers' inbox keys begin, for whoever forgets old ones.
pub const INBOX_SCOPE_PREFIX: &str = "inbox:";

/// A message that passed the checks.
#[derive(Clone, Debug)]
pub struct ReceivedMessage {
    pub message_id: Uuid,
    pub topic: Topic,
    pub ordering_key: String,
    /// While this message can't be applied, later ones with the same key wait.
    pub waiting_key: String,
    /// Epoch milliseconds.
    pub timestamp: i64,
    pub source: String,
    pub version: String,
    pub data: Box<RawValue>,
    pub stream_id: Option<String>,
    pub stream_version: Option<u64>,
    /// Ledger position of the event that caused the message.
    pub position: Option<i64>,
    pub correlation_id: Option<String>,
    pub causation_id: Option<String>,
    pub traceparent: Option<String>,
    pub mode: Option<Mode>,
    /// Sent again on purpose, by a replay.
    pub replay: bool,
}

/// A message that can never be handled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Poison {
    pub reason: String,
}

impl Poison {
    fn new(reason: impl Into<String>) -> Self {
        Poison { reason: reason.into() }
    }
}

impl ReceivedMessage {
    /// Checks a delivery: its topic, version, `eventType`, data and properties.
    pub fn parse(delivery: &Delivery) -> Result<ReceivedMessage, Poison> {
        Self::from_parts(&delivery.queue.topic, &delivery.body, &delivery.properties)
    }

    /// Checks a message by its parts, as a dead letter keeps them.
    pub fn from_parts(
        topic: &str,
        body: &[u8],
        properties: &HashMap<String, String>,
    ) -> Result<ReceivedMessage, Poison> {
        let topic = Topic::parse(topic).ok_or_else(|| Poison::new(format!("unknown topic {topic}")))?;
        let envelope: Envelope = serde_json::from_slice(body)
            .map_err(|error| Poison::new(format!("body is no message envelope: {error}")))?;
        check_version(&envelope.version)?;
        check_event_type(topic, &envelope.event_type)?;
        let in_data = keys_of(topic, &envelope.data)?;
        let text = |name| text(properties, name);
        let ordering_key = text(property::ORDERING_KEY)?.unwrap_or(in_data.ordering_key);
        let waiting_key = if topic.waits_by_ordering_key() { ordering_key.clone() } else { in_data.waiting_key };
        Ok(ReceivedMessage {
            message_id: envelope.message_id,
            topic,
            ordering_key,
            waiting_key,
            timestamp: envelope.timestamp,
            source: envelope.source,
            version: envelope.version,
            data: envelope.data,
            stream_id: text(property::STREAM_ID)?,
            stream_version: number(properties, property::STREAM_VERSION)?,
            position: number(properties, property::POSITION)?,
            correlation_id: text(property::CORRELATION_ID)?,
            causation_id: text(property::CAUSATION_ID)?,
            traceparent: text(property::TRACEPARENT)?,
            mode: mode(properties)?,
            replay: is_replay(properties),
        })
    }

    /// The data as its type.
    pub fn decode<D: MessageData>(&self) -> Result<D, Poison> {
        if D::TOPIC != self.topic {
            return Err(Poison::new(format!("a message of {} is not one of {}", self.topic, D::TOPIC)));
        }
        decode(self.topic, &self.data)
    }

    /// Metadata for what this message causes.
    pub fn metadata(&self) -> Metadata {
        Metadata {
            correlation_id: self.correlation_id.clone(),
            causation_id: Some(self.message_id.to_string()),
            actor: None,
            traceparent: self.traceparent.clone(),
            mode: self.mode,
        }
    }

    /// The unique key that makes this message's append happen once per consumer.
    pub fn inbox_key(&self, consumer: &str) -> CommandKey {
        CommandKey {
            scope: format!("{INBOX_SCOPE_PREFIX}{consumer}"),
            key: self.message_id.to_string(),
            request_hash: None,
        }
    }
}

/// What can still be told of a message that does not parse: enough to keep its order and to find it again.
pub(crate) struct Remains {
    pub message_id: Option<Uuid>,
    pub waiting_key: Option<String>,
}

impl Remains {
    pub(crate) fn of(delivery: &Delivery) -> Remains {
        let body: Option<serde_json::Value> = serde_json::from_slice(&delivery.body).ok();
        let body = body.as_ref();
        Remains {
            message_id: body.and_then(|body| body.get("messageId")?.as_str()).and_then(|id| Uuid::parse_str(id).ok()),
            waiting_key: Topic::parse(&delivery.queue.topic).and_then(|topic| {
                let ordering_key = text(&delivery.properties, property::ORDERING_KEY).ok().flatten();
                let sent_beside = ordering_key.filter(|_| topic.waits_by_ordering_key());
                sent_beside.or_else(|| member_of_data(body?, topic.waiting_member()))
            }),
        }
    }
}

fn member_of_data(body: &serde_json::Value, member: &str) -> Option<String> {
    match body.get("data")?.get(member)? {
        serde_json::Value::String(key) if !key.is_empty() && !key.contains('\0') => Some(key.clone()),
        serde_json::Value::Number(key) => Some(key.to_string()),
        _ => None,
    }
}

fn check_version(version: &str) -> Result<(), Poison> {
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    if minor.is_empty() || !minor.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Poison::new(format!("version {version:?} is not of the form 1.x")));
    }
    if major != "1" {
        return Err(Poison::new(format!("version {version:?} is not supported, only 1.x is")));
    }
    Ok(())
}

fn check_event_type(topic: Topic, event_type: &str) -> Result<(), Poison> {
    match Topic::of_event_type(event_type) {
        Some(of) if of == topic => Ok(()),
        Some(of) => Err(Poison::new(format!("eventType {event_type} belongs to topic {of}, not to {topic}"))),
        None => Err(Poison::new(format!("unknown eventType {event_type:?}"))),
    }
}

struct Keys {
    ordering_key: String,
    waiting_key: String,
}

fn keys_of(topic: Topic, data: &RawValue) -> Result<Keys, Poison> {
    fn keys<D: MessageData>(topic: Topic, data: &RawValue) -> Result<Keys, Poison> {
        let data: D = decode(topic, data)?;
        Ok(Keys { ordering_key: data.ordering_key(), waiting_key: data.waiting_key() })
    }
    match topic {
        Topic::OrderCreate => keys::<OrderCreate>(topic, data),
        Topic::OrderPayment => keys::<OrderPayment>(topic, data),
        Topic::OrderCancel => keys::<OrderCancel>(topic, data),
        Topic::OrderStatusUpdate => keys::<OrderStatusUpdate>(topic, data),
        Topic::StockLock => keys::<StockLock>(topic, data),
        Topic::StockDeduct => keys::<StockDeduct>(topic, data),
        Topic::StockRollback => keys::<StockRollback>(topic, data),
        Topic::StockSync => keys::<StockSync>(topic, data),
        Topic::UserNotification => keys::<UserNotification>(topic, data),
        Topic::SmsNotification => keys::<SmsNotification>(topic, data),
        Topic::EmailNotification => keys::<EmailNotification>(topic, data),
    }
}

fn decode<D: MessageData>(topic: Topic, data: &RawValue) -> Result<D, Poison> {
    let unreadable = |error: serde_json::Error| {
        // serde quotes what it found, and a reason is logged: no phone number and no address may get there.
        let error = if topic.names_contacts() { without_particulars(&error.to_string()) } else { error.to_string() };
        Poison::new(format!("data is none of {}: {error}", topic.event_type()))
    };
    serde_json::from_str(data.get()).map_err(unreadable)
}

/// Keys and ids end up in the database, whose text holds no NUL.
fn text(properties: &HashMap<String, String>, name: &str) -> Result<Option<String>, Poison> {
    match properties.get(name).filter(|value| !value.is_empty()) {
        Some(value) if value.contains('\0') => Err(Poison::new(format!("property {name} holds a NUL"))),
        value => Ok(value.cloned()),
    }
}

fn number<N: std::str::FromStr>(properties: &HashMap<String, String>, name: &str) -> Result<Option<N>, Poison> {
    properties
        .get(name)
        .filter(|value| !value.is_empty())
        .map(|value| value.parse().map_err(|_| Poison::new(format!("property {name} is no number: {value:?}"))))
        .transpose()
}

fn mode(properties: &HashMap<String, String>) -> Result<Option<Mode>, Poison> {
    match properties.get(property::MODE).map(String::as_str) {
        None | Some("") => Ok(None),
        Some("async") => Ok(Some(Mode::Async)),
        Some("sync") => Ok(Some(Mode::Sync)),
        Some(other) => Err(Poison::new(format!("property mode is neither async nor sync: {other:?}"))),
    }
}
