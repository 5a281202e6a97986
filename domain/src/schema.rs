use crate::{Decider, Fulfilment, Notification, Order, Payment, Stock};

/// An event's name and the version of its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSchema {
    pub event_type: &'static str,
    pub version: u16,
}

/// All there are: the categories of streams, with the types of their events.
pub const CATEGORIES: [(&str, &[EventSchema]); 5] = [
    (Order::CATEGORY, Order::SCHEMAS),
    (Stock::CATEGORY, Stock::SCHEMAS),
    (Payment::CATEGORY, Payment::SCHEMAS),
    (Fulfilment::CATEGORY, Fulfilment::SCHEMAS),
    (Notification::CATEGORY, Notification::SCHEMAS),
];

/// Why a stored payload could not be brought to today's schema.
#[derive(Debug, thiserror::Error)]
pub enum UpcastError {
    #[error("there is no event of the type {event_type}")]
    UnknownType { event_type: String },
    #[error("{event_type} has no schema version {version}; this program knows 1 to {newest}")]
    UnknownVersion { event_type: String, version: u16, newest: u16 },
    #[error("the payload of {event_type} version {version} is not its JSON object")]
    Malformed { event_type: String, version: u16, source: serde_json::Error },
}

/// Refuses what this program cannot read: above all an event written by a newer one.
pub(crate) fn check_known(schemas: &[EventSchema], event_type: &str, version: u16) -> Result<(), UpcastError> {
    let known = schemas
        .iter()
        .find(|schema| schema.event_type == event_type)
        .ok_or_else(|| UpcastError::UnknownType { event_type: event_type.to_owned() })?;
    if (1..=known.version).contains(&version) {
        return Ok(());
    }
    Err(UpcastError::UnknownVersion { event_type: event_type.to_owned(), version, newest: known.version })
}
