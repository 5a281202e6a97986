//! Events of a range as `COPY … (format binary)` gives them: the columns that folds look at, and no more.

use chrono::DateTime;
use event_store::read::RecordedEvent;
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const COLUMNS: i16 = 7;
/// Where a tuple's number of columns would stand, at the end.
const TRAILER: i16 = -1;
/// Events decoded before others of the process have a turn.
const EVENTS_PER_TURN: usize = 1_000;
/// Postgres counts from the year 2000.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The events in `(after, upto]` on streams of one category, in order, without ids, metadata and hashes, which no fold looks
/// at. The caller bounds the range. `category` is a name of ours, never somebody's word: COPY takes no parameters.
pub(crate) async fn copy_category_range(
    connection: &mut PgConnection,
    category: &'static str,
    after: i64,
    upto: i64,
) -> Result<Vec<RecordedEvent>, sqlx::Error> {
    let statement = include_str!("../../sql/copy_category.sql")
        .replace("{after}", &after.to_string())
        .replace("{upto}", &upto.to_string())
        .replace("{category}", category);
    let mut bytes = Vec::new();
    {
        let mut chunks = connection.copy_out_raw(&statement).await?;
        while let Some(chunk) = chunks.try_next().await? {
            bytes.extend_from_slice(&chunk);
        }
    }
    decode(&bytes).await.ok_or_else(|| sqlx::Error::Protocol("COPY gave something that is no row of events".to_owned()))
}

/// `None` where the bytes are not what the statement gives.
async fn decode(bytes: &[u8]) -> Option<Vec<RecordedEvent>> {
    let mut reader = Reader { rest: bytes.strip_prefix(SIGNATURE)? };
    let _flags = reader.int32()?;
    let extension_bytes = usize::try_from(reader.int32()?).ok()?;
    reader.take(extension_bytes)?;
    let mut events = Vec::new();
    loop {
        if events.len() % EVENTS_PER_TURN == EVENTS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
        match reader.int16()? {
            TRAILER => return Some(events),
            COLUMNS => events.push(reader.event()?),
            _ => return None,
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn event(&mut self) -> Option<RecordedEvent> {
        Some(RecordedEvent {
            position: self.bigint()?,
            stream_id: self.text()?,
            version: self.bigint()?,
            event_id: Uuid::nil(),
            event_type: self.text()?,
            schema_version: i16::from_be_bytes(self.field()?.try_into().ok()?),
            payload: self.text()?,
            metadata: String::new(),
            recorded_at: DateTime::from_timestamp_micros(self.bigint()?.checked_add(POSTGRES_EPOCH_MICROS)?)?,
            hash: Vec::new(),
        })
    }

    fn bigint(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.field()?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        Some(std::str::from_utf8(self.field()?).ok()?.to_owned())
    }

    /// No column is ever null: its length, then its bytes.
    fn field(&mut self) -> Option<&'a [u8]> {
        let bytes = usize::try_from(self.int32()?).ok()?;
        self.take(bytes)
    }

    fn int16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn int32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn copied(tuples: &[&[u8]]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[0; 8]);
        for tuple in tuples {
            bytes.extend_from_slice(tuple);
        }
        bytes.extend_from_slice(&TRAILER.to_be_bytes());
        bytes
    }

    fn tuple(fields: &[&[u8]]) -> Vec<u8> {
        let mut bytes = COLUMNS.to_be_bytes().to_vec();
        for field in fields {
            bytes.extend_from_slice(&(field.len() as i32).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        bytes
    }

    #[tokio::test]
    async fn a_tuple_is_an_event() {
        let seven = 7_i64.to_be_bytes();
        let one_second = 1_000_000_i64.to_be_bytes();
        let tuple =
            tuple(&[&seven, b"order-1", &seven, b"OrderPaid", &[0, 2], "{\"a\":\"ä\"}".as_bytes(), &one_second]);
        let events = decode(&copied(&[&tuple, &tuple])).await.unwrap();
        assert_eq!(events.len(), 2);
        let event = &events[0];
        assert_eq!((event.position, event.version, event.schema_version), (7, 7, 2));
        assert_eq!((event.stream_id.as_str(), event.event_type.as_str()), ("order-1", "OrderPaid"));
        assert_eq!((event.payload.as_str(), event.recorded_at.timestamp()), ("{\"a\":\"ä\"}", 946_684_801));
    }

    #[tokio::test]
    async fn what_is_cut_off_is_refused() {
        let whole = copied(&[]);
        assert_eq!(decode(&whole).await, Some(Vec::new()));
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]).await, None, "{length}");
        }
    }
}
