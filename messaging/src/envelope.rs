//! The body of every message, as it is sent.

use chrono::{DateTime, Utc};
use event_store::OutboxMessage;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::message::MessageData;
use crate::topic::lane_of;

/// The version this system writes. Consumers accept every minor version of major 1.
pub const ENVELOPE_VERSION: &str = "1.0";

/// What every body is, exactly.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    pub message_id: Uuid,
    /// Epoch milliseconds.
    pub timestamp: i64,
    pub event_type: String,
    /// Kept as it was written: money must not pass through a float.
    pub data: Box<RawValue>,
    pub source: String,
    pub version: String,
}

/// The envelope as it is written, which needs no copy of its parts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutgoingEnvelope<'a, D> {
    message_id: Uuid,
    timestamp: i64,
    event_type: &'a str,
    data: &'a D,
    source: &'a str,
    version: &'a str,
}

/// The outbox row for a message: lane, keys and the exact body.
pub fn outbox_message<D: MessageData>(message_id: Uuid, now: DateTime<Utc>, data: &D) -> OutboxMessage {
    let topic = D::TOPIC;
    let ordering_key = data.ordering_key();
    OutboxMessage {
        message_id,
        lane: lane_of(topic, &ordering_key),
        topic: topic.name().to_owned(),
        ordering_key,
        business_id: data.business_id(),
        event_type: topic.event_type().to_owned(),
        body: body(message_id, now, data),
    }
}

fn body<D: MessageData>(message_id: Uuid, now: DateTime<Utc>, data: &D) -> String {
    let envelope = OutgoingEnvelope {
        message_id,
        timestamp: now.timestamp_millis(),
        event_type: D::TOPIC.event_type(),
        data,
        source: D::TOPIC.source(),
        version: ENVELOPE_VERSION,
    };
    // Serializing into a String fails only for maps with keys that are no strings; no message has a map.
    #[allow(clippy::expect_used)]
    serde_json::to_string(&envelope).expect("messages serialize")
}
