use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{Mode, OrderEvent};
use crate::schema::{self, UpcastError};

/// Values stay the text they were stored as, so that no digit of an amount changes on the way.
type RawObject = BTreeMap<String, Box<RawValue>>;

pub(super) fn upcast(event_type: &str, schema_version: u16, payload: String) -> Result<String, UpcastError> {
    schema::check_known(OrderEvent::SCHEMAS, event_type, schema_version)?;
    match (event_type, schema_version) {
        ("OrderPlaced", 1) => order_placed_v1_to_v2(&payload).map_err(|source| UpcastError::Malformed {
            event_type: event_type.to_owned(),
            version: schema_version,
            source,
        }),
        _ => Ok(payload),
    }
}

/// Version 1 knew no mode: every order went through the broker.
fn order_placed_v1_to_v2(payload: &str) -> serde_json::Result<String> {
    let mut fields: RawObject = serde_json::from_str(payload)?;
    let mode = serde_json::value::to_raw_value(&Mode::Async)?;
    fields.entry("mode".to_owned()).or_insert(mode);
    serde_json::to_string(&fields)
}
