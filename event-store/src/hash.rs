//! What an event's hash covers, in an encoding in which no two different events look alike.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// An event's hash covers everything but its position, which the order of hashes in the batch's hash fixes.
pub(crate) struct HashedEvent<'a> {
    pub(crate) stream_id: &'a str,
    pub(crate) version: i64,
    pub(crate) event_id: Uuid,
    pub(crate) event_type: &'a str,
    pub(crate) schema_version: i16,
    pub(crate) payload: &'a str,
    pub(crate) metadata: &'a str,
}

impl HashedEvent<'_> {
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(b"order-ledger/event/1");
        add_text(&mut hasher, self.stream_id);
        hasher.update(self.version.to_be_bytes());
        hasher.update(self.event_id.as_bytes());
        add_text(&mut hasher, self.event_type);
        hasher.update(self.schema_version.to_be_bytes());
        add_text(&mut hasher, self.payload);
        add_text(&mut hasher, self.metadata);
        hasher.finalize().into()
    }
}

/// With its length in front, so that no byte can move from one field to the next unseen.
fn add_text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_be_bytes());
    hasher.update(text.as_bytes());
}

/// One link of the chain: the hash before it, then the batch's event hashes in order. `store.append` does the same.
pub(crate) fn batch_digest<'a>(previous: &[u8], event_hashes: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    for hash in event_hashes {
        hasher.update(hash);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_moves_between_fields_changes_the_hash() {
        let event = |event_type, payload| HashedEvent {
            stream_id: "order-ORD1",
            version: 1,
            event_id: Uuid::nil(),
            event_type,
            schema_version: 1,
            payload,
            metadata: "{}",
        };
        assert_ne!(event("OrderPlaced", "{}").digest(), event("OrderPlaced{", "}").digest());
        assert_eq!(event("OrderPlaced", "{}").digest(), event("OrderPlaced", "{}").digest());
    }
}
