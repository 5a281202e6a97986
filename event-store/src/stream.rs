//! Streams of different aggregates side by side: the executor knows them by a table of functions per aggregate.

use std::any::Any;

use cqrs_es::DomainEvent;
use domain::Decider;
use sha2::{Digest, Sha256};

/// Whether `stream` is the stream of aggregate `A` with this id, without building the name.
pub(crate) fn is_stream_of<A: Decider>(stream: &str, id: &str) -> bool {
    stream.strip_prefix(A::CATEGORY).and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| rest == id)
}

/// What the executor must know about an aggregate type.
pub(crate) struct StreamKind {
    pub(crate) name: &'static str,
    pub(crate) empty: fn() -> Box<dyn StreamState>,
    pub(crate) restore: fn(&str) -> Result<Box<dyn StreamState>, String>,
    pub(crate) snapshot_schema: fn() -> String,
}

struct KindOf<A>(std::marker::PhantomData<A>);

impl<A: Decider> KindOf<A> {
    const KIND: StreamKind = StreamKind {
        name: A::TYPE,
        empty: || Box::new(A::default()),
        restore: |json| {
            serde_json::from_str::<A>(json)
                .map(|state| Box::new(state) as Box<dyn StreamState>)
                .map_err(|error| error.to_string())
        },
        snapshot_schema: snapshot_schema::<A>,
    };
}

impl StreamKind {
    pub(crate) fn of<A: Decider>() -> &'static StreamKind {
        &KindOf::<A>::KIND
    }
}

/// Raise it when the way states are stored changes for all aggregates.
const SNAPSHOT_FORMAT: u32 = 1;

/// Names what a snapshot was written by. The shape of an empty state is part of it, so that a state with a field more
/// or less is never restored from a snapshot that does not know the field.
fn snapshot_schema<A: Decider>() -> String {
    let shape = serde_json::to_vec(&A::default()).unwrap_or_default();
    let digest = hex::encode(Sha256::digest(&shape));
    format!("{}/{SNAPSHOT_FORMAT}/{}", A::TYPE, &digest[..8])
}

/// The state of one stream, whatever its aggregate.
pub(crate) trait StreamState: Send + Sync {
    fn clone_box(&self) -> Box<dyn StreamState>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn apply_stored(&mut self, event_type: &str, schema_version: i16, payload: &str) -> Result<(), String>;
    fn to_snapshot(&self) -> Result<String, String>;
}

impl<A: Decider> StreamState for A {
    fn clone_box(&self) -> Box<dyn StreamState> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn apply_stored(&mut self, event_type: &str, schema_version: i16, payload: &str) -> Result<(), String> {
        self.apply(decode_event::<A>(event_type, schema_version, payload)?);
        Ok(())
    }

    fn to_snapshot(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }
}

/// An event as it is stored: the name of its variant apart from the variant's content.
pub(crate) struct EncodedEvent {
    pub(crate) event_type: String,
    pub(crate) schema_version: i16,
    pub(crate) payload: String,
}

/// Events serialise as `{"<type>":<payload>}`; only the payload is stored.
pub(crate) fn encode_event<E: DomainEvent>(event: &E) -> Result<EncodedEvent, String> {
    let event_type = event.event_type();
    let schema_version = event
        .event_version()
        .parse::<i16>()
        .map_err(|_| format!("the schema version of {event_type} is not a small number"))?;
    let tagged = serde_json::to_string(event).map_err(|error| format!("{event_type} does not serialise: {error}"))?;
    let payload = tagged
        .strip_prefix("{\"")
        .and_then(|rest| rest.strip_prefix(event_type.as_str()))
        .and_then(|rest| rest.strip_prefix("\":"))
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(|| format!("{event_type} is not serialised under its own name"))?
        .to_owned();
    Ok(EncodedEvent { event_type, schema_version, payload })
}

/// The reverse of [`encode_event`], with older schemas brought up to today's first.
pub(crate) fn decode_event<A: Decider>(
    event_type: &str,
    schema_version: i16,
    payload: &str,
) -> Result<A::Event, String> {
    let version = u16::try_from(schema_version).map_err(|_| "its schema version is negative".to_owned())?;
    let payload = A::upcast(event_type, version, payload.to_owned()).map_err(|error| error.to_string())?;
    serde_json::from_str(&format!("{{\"{event_type}\":{payload}}}")).map_err(|error| error.to_string())
}
