//! Recomputes what the ledger promises about itself (invariant I5), reading by position ranges. On a live ledger it
//! judges everything up to the head it finds when it starts.

use std::collections::VecDeque;

use sqlx::{FromRow, PgPool};

use crate::error::StoreError;
use crate::hash::{HashedEvent, batch_digest};
use crate::read::{self, RecordedEvent};

/// A broken invariant, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's short name, as ARCHITECTURE.md has it.
    pub invariant: &'static str,
    /// Where and how.
    pub message: String,
}

/// Streams and positions gapless, the hash chain unbroken.
const LEDGER_INVARIANT: &str = "I5";

const EVENTS_PER_READ: i64 = 5_000;
const BATCHES_PER_READ: i64 = 2_000;

/// One broken ledger can be wrong at every position; the first violations say enough.
const MAX_VIOLATIONS: usize = 100;

/// Positions gapless, stream versions gapless, every event and batch as it was hashed.
pub async fn ledger(pool: &PgPool) -> Result<Vec<Violation>, StoreError> {
    let head = read::head(pool).await?;
    let mut audit = Audit { pool, head, events: VecDeque::new(), read_to: 0, violations: Vec::new() };
    audit.walk_chain_from_genesis().await?;
    audit.check_streams().await?;
    audit.violations.truncate(MAX_VIOLATIONS);
    Ok(audit.violations)
}

/// A part of the ledger that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRange {
    /// How far; always the end of an append.
    pub upto: i64,
    /// What was found in it.
    pub violations: Vec<Violation>,
}

/// The same but for the versions of streams, from an append that was checked before, for about so many events.
pub async fn ledger_range(pool: &PgPool, after: i64, head: i64, max_events: i64) -> Result<CheckedRange, StoreError> {
    let end: Option<i64> = sqlx::query_scalar(include_str!("verify/end_of_range.sql"))
        .bind(after.saturating_add(max_events))
        .bind(head)
        .fetch_one(pool)
        .await?;
    let end = end.unwrap_or(head);
    let mut audit = Audit { pool, head: end, events: VecDeque::new(), read_to: after, violations: Vec::new() };
    match audit.batches_after(after - 1, 1).await?.first().filter(|row| row.last_position == after) {
        Some(row) => audit.walk_chain(after, row.hash.clone()).await?,
        None => audit.found(format!("the append that ended with event {after} is missing")),
    }
    audit.violations.truncate(MAX_VIOLATIONS);
    Ok(CheckedRange { upto: end.max(after), violations: audit.violations })
}

#[derive(FromRow)]
struct BatchRow {
    first_position: i64,
    last_position: i64,
    hash: Vec<u8>,
}

struct Audit<'a> {
    pool: &'a PgPool,
    head: i64,
    /// Read and not yet judged.
    events: VecDeque<RecordedEvent>,
    read_to: i64,
    violations: Vec<Violation>,
}

impl Audit<'_> {
    async fn walk_chain_from_genesis(&mut self) -> Result<(), StoreError> {
        let genesis = self.batches_after(-1, 1).await?;
        let Some(genesis) = genesis.first().filter(|row| row.last_position == 0) else {
            self.found("the first row of the hash chain is missing".to_owned());
            return Ok(());
        };
        let genesis = genesis.hash.clone();
        self.walk_chain(0, genesis).await
    }

    async fn walk_chain(&mut self, after: i64, hash: Vec<u8>) -> Result<(), StoreError> {
        let mut previous_hash = hash;
        let mut position = after;
        loop {
            let batches = self.batches_after(position, BATCHES_PER_READ).await?;
            for batch in &batches {
                if batch.first_position != position + 1 {
                    let BatchRow { first_position, .. } = batch;
                    self.found(format!("after position {position} the next append begins at {first_position}"));
                }
                self.check_batch(batch, &previous_hash).await?;
                previous_hash.clone_from(&batch.hash);
                position = batch.last_position;
            }
            if batches.is_empty() || self.violations.len() >= MAX_VIOLATIONS {
                break;
            }
        }
        if let Some(event) = self.next_event_upto(i64::MAX).await? {
            self.found(format!("event {} belongs to no append", event.position));
        }
        Ok(())
    }

    async fn batches_after(&self, position: i64, limit: i64) -> Result<Vec<BatchRow>, StoreError> {
        Ok(sqlx::query_as(include_str!("verify/batches.sql"))
            .bind(position)
            .bind(self.head)
            .bind(limit)
            .fetch_all(self.pool)
            .await?)
    }

    async fn check_batch(&mut self, batch: &BatchRow, previous_hash: &[u8]) -> Result<(), StoreError> {
        let mut hashes = Vec::new();
        let mut expected_position = batch.first_position;
        while let Some(event) = self.next_event_upto(batch.last_position).await? {
            if event.position != expected_position {
                self.found(format!("expected an event at position {expected_position}, found {}", event.position));
            }
            expected_position = event.position + 1;
            self.check_event(&event);
            hashes.push(event.hash);
        }
        if expected_position != batch.last_position + 1 {
            self.found(format!("events {expected_position} to {} are missing", batch.last_position));
        }
        if batch_digest(previous_hash, hashes.iter().map(Vec::as_slice)).as_slice() != batch.hash {
            let BatchRow { first_position, last_position, .. } = batch;
            self.found(format!("the hash chain is broken at the append of events {first_position} to {last_position}"));
        }
        Ok(())
    }

    fn check_event(&mut self, event: &RecordedEvent) {
        let hashed = HashedEvent {
            stream_id: &event.stream_id,
            version: event.version,
            event_id: event.event_id,
            event_type: &event.event_type,
            schema_version: event.schema_version,
            payload: &event.payload,
            metadata: &event.metadata,
        };
        if hashed.digest().as_slice() != event.hash {
            self.found(format!("event {} of {} was changed after it was written", event.position, event.stream_id));
        }
    }

    async fn next_event_upto(&mut self, position: i64) -> Result<Option<RecordedEvent>, StoreError> {
        if self.events.is_empty() && self.read_to < self.head {
            self.events = read::after(self.pool, self.read_to, EVENTS_PER_READ, Some(self.head)).await?.into();
            self.read_to = self.events.back().map_or(self.head, |event| event.position);
        }
        Ok(self.events.pop_front_if(|event| event.position <= position))
    }

    /// Versions are unique in a stream, so a stream of n events with versions from 1 to n has no gap.
    async fn check_streams(&mut self) -> Result<(), StoreError> {
        let broken: Vec<(String, i64, i64, i64)> = sqlx::query_as(include_str!("verify/streams_with_gaps.sql"))
            .bind(self.head)
            .bind(MAX_VIOLATIONS as i64)
            .fetch_all(self.pool)
            .await?;
        for (stream_id, events, first, last) in broken {
            self.found(format!("stream {stream_id} has {events} events, and versions from {first} to {last}"));
        }
        Ok(())
    }

    fn found(&mut self, message: String) {
        self.violations.push(Violation { invariant: LEDGER_INVARIANT, message });
    }
}
