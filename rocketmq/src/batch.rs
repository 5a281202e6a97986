//! From the port's messages to the client's, in batches that the broker takes.

use messaging::{OutgoingMessage, SendError};
use rocketmq_client_rust::SendStatus;
use rocketmq_model::common::message::message_single::Message;

/// What a message takes in a batch beside its body and its properties: lengths, checksum and flags, and the properties the
/// client adds (its own id, a marker or two).
const OVERHEAD_BYTES: usize = 160;
/// A property's separators.
const PROPERTY_OVERHEAD_BYTES: usize = 2;
/// The characters that separate properties on the wire.
const SEPARATORS: [char; 2] = ['\u{1}', '\u{2}'];

/// A message ready to send, with what it takes on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) message: Message,
    pub(crate) size_bytes: usize,
}

/// Makes the client's messages; nothing is sent when one of them is over the limit.
pub(crate) fn prepare(topic: &str, batch: &[OutgoingMessage], limit_bytes: usize) -> Result<Vec<Prepared>, SendError> {
    batch.iter().map(|message| prepare_one(topic, message, limit_bytes)).collect()
}

/// Cuts a batch into runs of at most `max_bytes`, in order; a message larger than that goes alone.
pub(crate) fn split(batch: Vec<Prepared>, max_bytes: usize) -> Vec<Vec<Prepared>> {
    let mut runs: Vec<Vec<Prepared>> = Vec::new();
    let mut run_bytes = 0;
    for message in batch {
        let size_bytes = message.size_bytes;
        match runs.last_mut() {
            Some(run) if run_bytes + size_bytes <= max_bytes => {
                run.push(message);
                run_bytes += size_bytes;
            }
            _ => {
                runs.push(vec![message]);
                run_bytes = size_bytes;
            }
        }
    }
    runs
}

/// Why a status other than SEND_OK does not count as sent.
pub(crate) fn unconfirmed(status: SendStatus) -> Option<String> {
    (status != SendStatus::SendOk).then(|| format!("stored, but not confirmed: {status:?}"))
}

fn prepare_one(topic: &str, outgoing: &OutgoingMessage, limit_bytes: usize) -> Result<Prepared, SendError> {
    let size_bytes = size_of(topic, outgoing);
    if size_bytes > limit_bytes {
        return Err(SendError::TooLarge { size_bytes, limit_bytes });
    }
    let mut builder = Message::builder()
        .topic(topic.to_owned())
        .tags(outgoing.event_type.clone())
        .key(outgoing.keys())
        .body_slice(outgoing.body.as_bytes());
    for (name, value) in outgoing.user_properties() {
        if value.contains(SEPARATORS) {
            return Err(SendError::Rejected(format!("the property {name} has a character that separates properties")));
        }
        builder = builder.raw_property(name, value).map_err(|error| SendError::Rejected(error.to_string()))?;
    }
    let message = builder.build().map_err(|error| SendError::Rejected(error.to_string()))?;
    Ok(Prepared { message, size_bytes })
}

fn size_of(topic: &str, outgoing: &OutgoingMessage) -> usize {
    let properties: usize =
        outgoing.user_properties().map(|(name, value)| name.len() + value.len() + PROPERTY_OVERHEAD_BYTES).sum();
    OVERHEAD_BYTES + topic.len() + outgoing.body.len() + outgoing.keys().len() + outgoing.event_type.len() + properties
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn outgoing(body_bytes: usize) -> OutgoingMessage {
        OutgoingMessage {
            message_id: uuid::Uuid::now_v7(),
            business_id: "ORD202601010001".into(),
            event_type: "ORDER_CREATE".into(),
            ordering_key: "ORD202601010001".into(),
            body: "x".repeat(body_bytes),
            properties: vec![("position", "7".into())],
        }
    }

    #[test]
    fn one_message_over_the_limit_refuses_the_batch_before_anything_is_sent() {
        let refused = prepare("order-create", &[outgoing(10), outgoing(5_000)], 4_096).unwrap_err();

        assert!(matches!(refused, SendError::TooLarge { size_bytes, limit_bytes: 4_096 } if size_bytes > 5_000));
    }

    #[test]
    fn a_batch_is_cut_in_order_at_the_byte_limit() {
        let prepared = prepare("order-create", &vec![outgoing(1_000); 10], 100_000).unwrap();
        let limit = prepared[0].size_bytes * 4;

        let runs = split(prepared, limit);

        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
    }

    #[test]
    fn a_message_over_the_batch_limit_goes_alone() {
        let batch = [outgoing(10), outgoing(9_000), outgoing(10)];
        let runs = split(prepare("order-create", &batch, 100_000).unwrap(), 1_000);

        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn keys_tags_and_properties_are_set() {
        let message = outgoing(1);
        let prepared = prepare_one("order-create", &message, 4_096).unwrap().message;

        let properties = prepared.properties().as_map();
        assert_eq!(properties.get("KEYS").unwrap().as_str(), message.keys());
        assert_eq!(properties.get("TAGS").unwrap().as_str(), "ORDER_CREATE");
        assert_eq!(properties.get("orderingKey").unwrap().as_str(), "ORD202601010001");
        assert_eq!(properties.get("position").unwrap().as_str(), "7");
    }

    #[test]
    fn only_send_ok_confirms() {
        assert!(unconfirmed(SendStatus::SendOk).is_none());
        for status in [SendStatus::FlushDiskTimeout, SendStatus::FlushSlaveTimeout, SendStatus::SlaveNotAvailable] {
            assert!(unconfirmed(status).is_some());
        }
    }
}
