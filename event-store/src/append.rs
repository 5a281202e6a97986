//! `store.append` as seen from here: the arrays that go in, the verdict that comes out, and what to do when no answer
//! comes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::connection::{AppendConnection, Failure, timed_out};
use crate::ledger::LedgerConfig;

/// One append. Vectors of one part belong together, element by element.
pub(crate) struct AppendRequest {
    pub(crate) batch_id: Uuid,
    pub(crate) expected: Expected,
    pub(crate) events: Events,
    pub(crate) outbox: Outbox,
    pub(crate) keys: Keys,
    pub(crate) deadlines: Deadlines,
    /// Lock numbers of streams that are written from the cache.
    pub(crate) watched: Vec<i32>,
}

#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) groups: Vec<i32>,
    pub(crate) streams: Vec<String>,
    pub(crate) versions: Vec<i64>,
}

#[derive(Default)]
pub(crate) struct Events {
    pub(crate) groups: Vec<i32>,
    pub(crate) streams: Vec<String>,
    pub(crate) versions: Vec<i64>,
    pub(crate) ids: Vec<Uuid>,
    pub(crate) types: Vec<String>,
    pub(crate) schemas: Vec<i16>,
    pub(crate) payloads: Vec<String>,
    pub(crate) metadata: Vec<String>,
    pub(crate) hashes: Vec<Vec<u8>>,
}

#[derive(Default)]
pub(crate) struct Outbox {
    /// The event's place in [`Events`], from 1.
    pub(crate) events: Vec<i32>,
    pub(crate) numbers: Vec<i16>,
    pub(crate) lanes: Vec<i16>,
    pub(crate) topics: Vec<String>,
    pub(crate) ordering_keys: Vec<String>,
    pub(crate) business_ids: Vec<String>,
    pub(crate) event_types: Vec<String>,
    pub(crate) message_ids: Vec<Uuid>,
    pub(crate) bodies: Vec<String>,
}

#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) groups: Vec<i32>,
    pub(crate) scopes: Vec<String>,
    pub(crate) keys: Vec<String>,
    pub(crate) inserts: Vec<bool>,
    /// The place of the command's last event in [`Events`], from 1; 0 when it has none.
    pub(crate) events: Vec<i32>,
    pub(crate) request_hashes: Vec<Option<Vec<u8>>>,
    pub(crate) responses: Vec<Option<String>>,
}

#[derive(Default)]
pub(crate) struct Deadlines {
    pub(crate) groups: Vec<i32>,
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) keys: Vec<String>,
    pub(crate) dues: Vec<Option<DateTime<Utc>>>,
}

/// What `store.append` answered.
#[derive(Debug, FromRow)]
pub(crate) struct Verdict {
    pub(crate) known: bool,
    pub(crate) base: i64,
    pub(crate) refused: Vec<i32>,
    conflicts: Option<Vec<i64>>,
    duplicates: Option<Vec<i64>>,
    duplicate_request_hashes: Option<Vec<Option<Vec<u8>>>>,
    duplicate_responses: Option<Vec<Option<String>>>,
    duplicate_positions: Option<Vec<Option<i64>>>,
    /// Those of `watched` that another process holds.
    pub(crate) wanted: Option<Vec<i32>>,
    pub(crate) clock: DateTime<Utc>,
}

/// A key that was used before.
pub(crate) struct DuplicateKey {
    /// Its place in [`Keys`], from 0.
    pub(crate) index: usize,
    pub(crate) request_hash: Option<Vec<u8>>,
    pub(crate) response: Option<String>,
    pub(crate) position: Option<i64>,
}

impl Verdict {
    /// Places in [`Expected`], from 0, that did not hold.
    pub(crate) fn conflicts(&self) -> impl Iterator<Item = usize> {
        self.conflicts.iter().flatten().map(|ordinal| (ordinal - 1) as usize)
    }

    pub(crate) fn take_duplicates(&mut self) -> Vec<DuplicateKey> {
        let ordinals = self.duplicates.take().unwrap_or_default();
        let hashes = self.duplicate_request_hashes.take().unwrap_or_default();
        let responses = self.duplicate_responses.take().unwrap_or_default();
        let positions = self.duplicate_positions.take().unwrap_or_default();
        ordinals
            .into_iter()
            .zip(hashes)
            .zip(responses)
            .zip(positions)
            .map(|(((ordinal, request_hash), response), position)| DuplicateKey {
                index: (ordinal - 1) as usize,
                request_hash,
                response,
                position,
            })
            .collect()
    }
}

/// Sends the append until its outcome is known or the time is over. Sending again is safe: the batch id decides.
pub(crate) async fn append(
    connection: &mut AppendConnection,
    request: &AppendRequest,
    config: &LedgerConfig,
) -> Result<Verdict, Failure> {
    let started_at = Instant::now();
    let mut sent = None;
    let mut pauses = Pauses::default();
    loop {
        let failure = match connection.get().await {
            Ok(open) => match timeout(Duration::from_millis(config.append_timeout_ms), send(open, request)).await {
                Ok(Ok(verdict)) => return Ok(verdict),
                Ok(Err(error)) => Failure::of(&error),
                Err(_) => Failure::of(&timed_out("waiting for an append")),
            },
            // Not sent this time.
            Err(error) => Failure::Retry(error.to_string()),
        };
        let reason = match failure {
            Failure::Data { .. } => return Err(failure),
            Failure::Defect(_) | Failure::Refused(_) if sent.is_none() => return Err(failure),
            Failure::Unknown(reason) => {
                metrics::counter!("ledger_appends_resent_total").increment(1);
                sent.get_or_insert(reason).clone()
            }
            Failure::Defect(reason) | Failure::Refused(reason) | Failure::Retry(reason) => reason,
        };
        connection.give_up();
        let patience_ms = if sent.is_some() { config.outcome_timeout_ms } else { config.max_wait_ms };
        let pause = pauses.next();
        if started_at.elapsed() + pause > Duration::from_millis(patience_ms) {
            return Err(match sent {
                Some(_) => Failure::Unknown(reason),
                None => Failure::Refused(reason),
            });
        }
        tracing::warn!(batch_id = %request.batch_id, reason, "append is sent again");
        sleep(pause).await;
    }
}

async fn send(connection: &mut PgConnection, request: &AppendRequest) -> Result<Verdict, sqlx::Error> {
    let AppendRequest { batch_id, expected, events, outbox, keys, deadlines, watched } = request;
    sqlx::query_as(include_str!("append/append.sql"))
        .bind(batch_id)
        .bind(&expected.groups)
        .bind(&expected.streams)
        .bind(&expected.versions)
        .bind(&events.groups)
        .bind(&events.streams)
        .bind(&events.versions)
        .bind(&events.ids)
        .bind(&events.types)
        .bind(&events.schemas)
        .bind(&events.payloads)
        .bind(&events.metadata)
        .bind(&events.hashes)
        .bind(&outbox.events)
        .bind(&outbox.numbers)
        .bind(&outbox.lanes)
        .bind(&outbox.topics)
        .bind(&outbox.ordering_keys)
        .bind(&outbox.business_ids)
        .bind(&outbox.event_types)
        .bind(&outbox.message_ids)
        .bind(&outbox.bodies)
        .bind(&keys.groups)
        .bind(&keys.scopes)
        .bind(&keys.keys)
        .bind(&keys.inserts)
        .bind(&keys.events)
        .bind(&keys.request_hashes)
        .bind(&keys.responses)
        .bind(&deadlines.groups)
        .bind(&deadlines.kinds)
        .bind(&deadlines.keys)
        .bind(&deadlines.dues)
        .bind(watched)
        .fetch_one(connection)
        .await
}

/// Growing pauses between attempts, each a little different, so that processes do not come back all at once.
#[derive(Default)]
struct Pauses {
    attempt: u32,
}

impl Pauses {
    const FIRST_MS: u64 = 20;
    const LONGEST_MS: u64 = 1_000;

    fn next(&mut self) -> Duration {
        let longest_ms = (Self::FIRST_MS << self.attempt.min(10)).min(Self::LONGEST_MS);
        self.attempt += 1;
        let jitter = Uuid::new_v4().as_u128() as u64 % (longest_ms / 2);
        Duration::from_millis(longest_ms / 2 + jitter)
    }
}
