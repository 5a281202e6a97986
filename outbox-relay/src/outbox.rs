//! Reading the outbox: rows become messages, grouped into one batch a lane.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;
use messaging::{OutgoingMessage, Topic, property};
use serde::Deserialize;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::parked::{ParkedRow, State};

/// A row's place in its lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub position: i64,
    pub n: i16,
}

/// What one look tells: where the ledger ends, and where people decided about parked messages.
pub(crate) struct Poll {
    pub head: i64,
    pub decided_lanes: Vec<i16>,
}

pub(crate) async fn poll(pool: &PgPool) -> sqlx::Result<Poll> {
    let (head, decided_lanes) = sqlx::query_as(include_str!("sql/poll.sql")).fetch_one(pool).await?;
    Ok(Poll { head, decided_lanes })
}

/// Where to read on in a lane, and what must not be sent there.
pub(crate) struct ReadFrom<'a> {
    pub lane: i16,
    pub topic: Topic,
    pub after: Place,
    /// Ordering keys with a parked message.
    pub blocked: &'a HashSet<String>,
}

/// The next messages of one lane.
#[derive(Debug)]
pub(crate) struct Batch {
    pub lane: i16,
    pub topic: Topic,
    /// To be sent, in this order; `places` has the place of each.
    pub messages: Vec<OutgoingMessage>,
    pub places: Vec<Place>,
    /// Rows among them that are not to be sent, in the order of the lane.
    pub parked: Vec<ParkedRow>,
    /// The last row read, sent or parked.
    pub last: Place,
    /// The lane has nothing further at or below this position.
    pub drained_through: Option<i64>,
}

/// Reads the next batch of every given lane up to `head`, at most `limit` messages each. Lanes without messages get an
/// empty batch.
pub(crate) async fn read(pool: &PgPool, lanes: &[ReadFrom<'_>], head: i64, limit: usize) -> sqlx::Result<Vec<Batch>> {
    // Decoded as they come, while Postgres looks up the next.
    let mut rows = sqlx::query(include_str!("sql/read.sql"))
        .bind(lanes.iter().map(|from| from.lane).collect::<Vec<_>>())
        .bind(lanes.iter().map(|from| from.after.position).collect::<Vec<_>>())
        .bind(lanes.iter().map(|from| from.after.n).collect::<Vec<_>>())
        .bind(head)
        .bind(limit as i64)
        .fetch(pool);
    let mut by_lane: HashMap<i16, Vec<OutboxRow>> = HashMap::with_capacity(lanes.len());
    while let Some(row) = rows.try_next().await? {
        let row = OutboxRow::decode(&row)?;
        by_lane.entry(row.lane).or_default().push(row);
    }
    Ok(lanes.iter().map(|from| batch(from, by_lane.remove(&from.lane).unwrap_or_default(), head, limit)).collect())
}

fn batch(from: &ReadFrom<'_>, mut rows: Vec<OutboxRow>, head: i64, limit: usize) -> Batch {
    // Postgres has no reason to give them otherwise, and promises nothing; on sorted rows this costs one pass.
    rows.sort_by_key(|row| row.place);
    let mut batch = Batch {
        lane: from.lane,
        topic: from.topic,
        messages: Vec::with_capacity(rows.len()),
        places: Vec::with_capacity(rows.len()),
        parked: Vec::new(),
        last: rows.last().map_or(from.after, |row| row.place),
        drained_through: (rows.len() < limit).then_some(head),
    };
    for row in rows {
        batch.push(row, from.blocked);
    }
    batch
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.parked.is_empty()
    }

    fn push(&mut self, row: OutboxRow, blocked: &HashSet<String>) {
        let is_behind = |key: &String| blocked.contains(key) || self.parked.iter().any(|p| p.ordering_key == *key);
        if is_behind(&row.message.ordering_key) {
            self.parked.push(ParkedRow::behind(self.lane, row.place, self.topic, &row.message));
        } else if row.topic != self.topic.name() {
            let reason = format!("unknown topic {}: lane {} belongs to {}", row.topic, self.lane, self.topic);
            self.parked.push(ParkedRow::new(self.lane, row.place, &row.topic, &row.message, State::Parked, reason));
        } else {
            self.messages.push(row.message);
            self.places.push(row.place);
        }
    }
}

/// A row of the outbox with what its event adds.
pub(crate) struct OutboxRow {
    pub lane: i16,
    pub place: Place,
    pub topic: String,
    pub message: OutgoingMessage,
}

impl OutboxRow {
    /// Columns in the order that `read.sql` and `unresolved.sql` share; by number, since looking up twelve names a row
    /// costs more than decoding them.
    pub(crate) fn decode(row: &PgRow) -> sqlx::Result<OutboxRow> {
        let place = Place { position: row.try_get(1)?, n: row.try_get(2)? };
        let version: i64 = row.try_get(10)?;
        Ok(OutboxRow {
            lane: row.try_get(0)?,
            place,
            topic: row.try_get(3)?,
            message: OutgoingMessage {
                message_id: row.try_get::<Uuid, _>(7)?,
                business_id: row.try_get(5)?,
                event_type: row.try_get(6)?,
                ordering_key: row.try_get(4)?,
                body: row.try_get(8)?,
                properties: properties(row.try_get(9)?, version, place.position, row.try_get(11)?),
            },
        })
    }
}

/// What of an event's metadata travels with its messages.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EventMetadata {
    correlation_id: Option<String>,
    causation_id: Option<String>,
    traceparent: Option<String>,
    mode: Option<String>,
}

fn properties(stream_id: String, version: i64, position: i64, metadata: &str) -> Vec<(&'static str, String)> {
    // A message goes without its context rather than not at all.
    let metadata: EventMetadata = serde_json::from_str(metadata).unwrap_or_default();
    let always = [
        (property::STREAM_ID, stream_id),
        (property::STREAM_VERSION, version.to_string()),
        (property::POSITION, position.to_string()),
    ];
    let known = [
        (property::CORRELATION_ID, metadata.correlation_id),
        (property::CAUSATION_ID, metadata.causation_id),
        (property::TRACEPARENT, metadata.traceparent),
        (property::MODE, metadata.mode),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some((name, value?)));
    always.into_iter().chain(known).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(position: i64, key: &str, topic: Topic) -> OutboxRow {
        OutboxRow {
            lane: 0,
            place: Place { position, n: 1 },
            topic: topic.name().to_owned(),
            message: OutgoingMessage {
                message_id: Uuid::from_u128(position.unsigned_abs().into()),
                business_id: key.to_owned(),
                event_type: topic.event_type().to_owned(),
                ordering_key: key.to_owned(),
                body: "{}".to_owned(),
                properties: Vec::new(),
            },
        }
    }

    #[test]
    fn a_message_for_another_topic_is_parked_and_its_key_waits() {
        let from = ReadFrom { lane: 0, topic: Topic::OrderCreate, after: Place::default(), blocked: &HashSet::new() };
        let rows = vec![
            row(1, "ORD1", Topic::StockLock),
            row(2, "ORD1", Topic::OrderCreate),
            row(3, "ORD2", Topic::OrderCreate),
        ];
        let batch = batch(&from, rows, 9, 3);
        let parked: Vec<_> = batch.parked.iter().map(|row| (row.place.position, row.state)).collect();
        assert_eq!(parked, [(1, State::Parked), (2, State::Behind)]);
        assert_eq!(batch.places, [Place { position: 3, n: 1 }]);
        assert_eq!(batch.last.position, 3);
        assert_eq!(batch.drained_through, None, "the limit was reached, there may be more");
    }

    #[test]
    fn metadata_becomes_properties_and_nothing_else_does() {
        let metadata = r#"{"correlationId":"c","actor":"user-7","mode":"async"}"#;
        let properties = properties("order-ORD1".to_owned(), 3, 17, metadata);
        let expected = [
            ("streamId", "order-ORD1"),
            ("streamVersion", "3"),
            ("position", "17"),
            ("correlationId", "c"),
            ("mode", "async"),
        ];
        let actual: Vec<_> = properties.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(actual, expected);
    }
}
