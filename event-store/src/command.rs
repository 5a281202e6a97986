//! What a caller declares before its decision runs: streams, unique keys, metadata.

use std::sync::Arc;

use domain::{Decider, Mode};
use serde::{Deserialize, Serialize};

use crate::stream::StreamKind;

/// A command's declaration: which streams it may touch, and which keys make it unique.
#[derive(Clone)]
pub struct Command {
    pub(crate) streams: Vec<StreamRead>,
    pub(crate) keys: Vec<CommandKey>,
    pub(crate) metadata: Metadata,
}

impl Command {
    /// A command that touches nothing yet.
    pub fn new(metadata: Metadata) -> Self {
        Self { streams: Vec::new(), keys: Vec::new(), metadata }
    }

    /// Reads the stream anew before deciding.
    pub fn read<A: Decider>(self, id: &str) -> Self {
        self.declare::<A>(id, ReadMode::Fresh)
    }

    /// Decides on this process's cached state. The append verifies its version, so a stale state costs a second
    /// attempt and never a wrong decision. For hot streams.
    pub fn cached<A: Decider>(self, id: &str) -> Self {
        self.declare::<A>(id, ReadMode::Cached)
    }

    /// Begins a stream that must not exist yet; nothing is loaded. If it exists after all, the decision runs again on
    /// what it holds.
    pub fn begin<A: Decider>(self, id: &str) -> Self {
        self.declare::<A>(id, ReadMode::Begin)
    }

    /// Stores the key with the command's effects; a second command with the key answers
    /// [`Duplicate`](crate::CommandError::Duplicate).
    pub fn unique(mut self, key: CommandKey) -> Self {
        if !self.keys.iter().any(|known| known.scope == key.scope && known.key == key.key) {
            self.keys.push(key);
        }
        self
    }

    /// After a conflict a stream that was to begin is known to exist.
    pub(crate) fn expect_existing_streams(&mut self) {
        for stream in &mut self.streams {
            if stream.mode == ReadMode::Begin {
                stream.mode = ReadMode::Cached;
            }
        }
    }

    fn declare<A: Decider>(mut self, id: &str, mode: ReadMode) -> Self {
        let stream_id: Arc<str> = A::stream_id(id).into();
        if !self.streams.iter().any(|known| known.stream_id == stream_id) {
            self.streams.push(StreamRead { stream_id, kind: StreamKind::of::<A>(), mode });
        }
        self
    }
}

/// One declared stream.
#[derive(Clone)]
pub(crate) struct StreamRead {
    pub(crate) stream_id: Arc<str>,
    pub(crate) kind: &'static StreamKind,
    pub(crate) mode: ReadMode,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadMode {
    Fresh,
    Cached,
    Begin,
}

/// A key that may have an effect once: an inbox id, an idempotency key, a webhook id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommandKey {
    /// The kind of key, for example a route and user, or a consumer.
    pub scope: String,
    /// The key itself.
    pub key: String,
    /// Hash of the request, to tell a repeat from a reuse.
    pub request_hash: Option<Vec<u8>>,
}

/// Who and what caused an event. Stored with each event of the command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Ties together everything one outside request caused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The message or request that directly caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// The user or service that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// W3C trace context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Whether the order is worked on synchronously or through the broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}
