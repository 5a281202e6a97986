//! Fairness between processes on one stream. Versions checked in the append keep every decision right; alone, they let
//! a process lose again and again. So for a while after a refusal a process takes turns: it holds the stream's lock
//! while it reads, decides and appends.
//!
//! The locks belong to the session and are given back after the append has committed. Were they part of one
//! transaction with it, a process that is frozen in the middle would hold the ledger's lock and stop everybody; like
//! this it only makes others wait for one stream, until their lock time-out lets them go on without.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tokio::time::{Duration, Instant};

use crate::connection::AppendConnection;

/// Apart from the ledger's own lock, which has a number of another shape.
const LOCK_CLASS: i32 = 7102;

/// Streams on which this process lately met another one.
pub(crate) struct Contended {
    until: HashMap<Arc<str>, Instant>,
    for_how_long: Duration,
}

impl Contended {
    pub(crate) fn new(for_how_long: Duration) -> Self {
        Self { until: HashMap::new(), for_how_long }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    pub(crate) fn contains(&self, stream_id: &str) -> bool {
        self.until.contains_key(stream_id)
    }

    pub(crate) fn met_another(&mut self, streams: Vec<Arc<str>>) {
        let until = Instant::now() + self.for_how_long;
        self.until.extend(streams.into_iter().map(|stream| (stream, until)));
    }

    pub(crate) fn forget_old(&mut self) {
        if !self.until.is_empty() {
            let now = Instant::now();
            self.until.retain(|_, until| *until > now);
        }
    }
}

/// Takes the locks in one order everywhere, so that nobody waits in a circle. A lock that is not granted in time is gone
/// without: it is for fairness alone.
pub(crate) async fn lock(connection: &mut PgConnection, streams: &[Arc<str>]) -> Result<(), sqlx::Error> {
    let mut keys: Vec<i32> =
        streams.iter().map(|stream| lock_key(stream)).collect::<HashSet<_>>().into_iter().collect();
    keys.sort_unstable();
    let locked = sqlx::query("select pg_advisory_lock($1, key) from unnest($2::int[]) as key")
        .bind(LOCK_CLASS)
        .bind(keys)
        .execute(connection)
        .await;
    match locked {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03") => Ok(()),
        other => other.map(drop),
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

fn lock_key(stream_id: &str) -> i32 {
    let digest = Sha256::digest(stream_id.as_bytes());
    i32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}
