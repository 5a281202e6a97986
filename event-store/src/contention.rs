//! Fairness between processes on one stream. Versions checked in the append keep every decision right; alone, they let
//! a process lose again and again. So for a while after it met another one a process takes turns: it holds the stream's
//! lock while it reads, decides and appends. One that keeps winning from its cache hears in the append's answer that
//! somebody holds the lock, and queues for it too.
//!
//! The locks belong to the session and are given back after the append has committed. Were they part of one
//! transaction with it, a process that is frozen in the middle would hold the ledger's lock and stop everybody; like
//! this it only makes others wait for one stream, once, until their lock time-out lets them go on without.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tokio::time::{Duration, Instant};

use crate::connection::AppendConnection;

/// Apart from the ledger's own lock, which has a number of another shape.
const LOCK_CLASS: i32 = 7102;

/// How long a lock that was not granted in time is done without: its holder may be frozen.
const DO_WITHOUT_FOR: Duration = Duration::from_secs(30);

/// Streams on which this process lately met another one.
pub(crate) struct Contended {
    streams: HashMap<Arc<str>, Turns>,
    for_how_long: Duration,
}

enum Turns {
    TakenUntil(Instant),
    DoneWithoutUntil(Instant),
}

impl Contended {
    pub(crate) fn new(for_how_long: Duration) -> Self {
        Self { streams: HashMap::new(), for_how_long }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub(crate) fn contains(&self, stream_id: &str) -> bool {
        matches!(self.streams.get(stream_id), Some(Turns::TakenUntil(_)))
    }

    pub(crate) fn met_another(&mut self, stream_id: Arc<str>) {
        if !matches!(self.streams.get(&stream_id), Some(Turns::DoneWithoutUntil(_))) {
            self.streams.insert(stream_id, Turns::TakenUntil(Instant::now() + self.for_how_long));
        }
    }

    pub(crate) fn waited_in_vain(&mut self, stream_id: Arc<str>) {
        self.streams.insert(stream_id, Turns::DoneWithoutUntil(Instant::now() + DO_WITHOUT_FOR));
    }

    pub(crate) fn forget_old(&mut self) {
        if !self.streams.is_empty() {
            let now = Instant::now();
            self.streams.retain(|_, turns| match turns {
                Turns::TakenUntil(until) | Turns::DoneWithoutUntil(until) => *until > now,
            });
        }
    }
}

/// Takes the locks in one order everywhere, so that nobody waits in a circle. False when they are not granted in time.
pub(crate) async fn lock(connection: &mut PgConnection, streams: &[Arc<str>]) -> Result<bool, sqlx::Error> {
    let numbers: BTreeSet<i32> = streams.iter().map(|stream| lock_number(stream)).collect();
    let locked = sqlx::query("select pg_advisory_lock($1, number) from unnest($2::int[]) as number")
        .bind(LOCK_CLASS)
        .bind(numbers.into_iter().collect::<Vec<i32>>())
        .execute(connection)
        .await;
    match locked {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03") => Ok(false),
        other => other.map(|_| true),
    }
}

pub(crate) async fn unlock(connection: &mut AppendConnection) {
    let unlocked = match connection.get().await {
        Ok(open) => sqlx::query("select pg_advisory_unlock_all()").execute(open).await.map(drop),
        Err(error) => Err(error),
    };
    if unlocked.is_err() {
        // Closing the session gives the locks back too.
        connection.give_up();
    }
}

pub(crate) fn lock_number(stream_id: &str) -> i32 {
    let digest = Sha256::digest(stream_id.as_bytes());
    i32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}
