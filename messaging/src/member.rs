//! Who is at work in each consumer group, and how fast: every member says so every few seconds, so that people can tell a
//! group that has nothing to do from one that nobody runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::metric;
use crate::topic::Topic;

/// A member that has been silent for so long no longer counts: three times the default interval of its word.
const COUNTS_FOR: Duration = Duration::from_secs(6);
/// Rows of members that are gone are taken away after a while.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// What the live members of a group do with a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AtWork {
    /// A member lives and is connected to the broker.
    pub is_up: bool,
    /// Messages applied, or known to have been, by all members together.
    pub applied_per_second: f64,
}

#[derive(FromRow)]
struct MemberRow {
    consumer_group: String,
    topic: String,
    is_up: bool,
    applied_per_second: f64,
}

/// What there is of live members, by group and topic. A group that is not among them has none.
pub async fn at_work(pool: &PgPool) -> Result<HashMap<(String, String), AtWork>, sqlx::Error> {
    let rows: Vec<MemberRow> =
        sqlx::query_as(include_str!("member/at_work.sql")).bind(COUNTS_FOR.as_secs_f64()).fetch_all(pool).await?;
    let at_work = |row: MemberRow| {
        let at_work = AtWork { is_up: row.is_up, applied_per_second: row.applied_per_second };
        ((row.consumer_group, row.topic), at_work)
    };
    Ok(rows.into_iter().map(at_work).collect())
}

/// Shows of a group that may run elsewhere whether it has a live member; none: that is not known.
pub fn show_up(group: &str, is_up: Option<bool>) {
    metric::group_up(group, is_up);
}

/// A member's sign of life: what its consumer notes, and what is written of it.
#[derive(Debug)]
pub(crate) struct Pulse {
    group: String,
    /// One run of one consumer.
    member: String,
    is_connected: AtomicBool,
    applied: Vec<(Topic, AtomicU64)>,
}

impl Pulse {
    pub(crate) fn new(group: &str, topics: &[Topic]) -> Arc<Pulse> {
        Arc::new(Pulse {
            group: group.to_owned(),
            member: Uuid::now_v7().to_string(),
            is_connected: AtomicBool::new(false),
            applied: topics.iter().map(|topic| (*topic, AtomicU64::new(0))).collect(),
        })
    }

    pub(crate) fn note_connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Relaxed);
    }

    pub(crate) fn note_applied(&self, topic: Topic) {
        if let Some((_, applied)) = self.applied.iter().find(|(known, _)| *known == topic) {
            applied.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that it lives, until it is dropped. A word that could not be written is made good by the next.
    pub(crate) async fn beat(self: Arc<Self>, pool: PgPool, every: Duration) {
        let mut before = self.counts();
        let mut since = Instant::now();
        loop {
            tokio::time::sleep(every).await;
            let (now, took) = (self.counts(), since.elapsed().as_secs_f64());
            let rates =
                now.iter().zip(&before).map(|(now, before)| now.saturating_sub(*before) as f64 / took).collect();
            if let Err(error) = self.write(&pool, rates).await {
                tracing::debug!(group = self.group, %error, "a sign of life was not written");
            }
            (before, since) = (now, Instant::now());
        }
    }

    fn counts(&self) -> Vec<u64> {
        self.applied.iter().map(|(_, applied)| applied.load(Ordering::Relaxed)).collect()
    }

    async fn write(&self, pool: &PgPool, applied_per_second: Vec<f64>) -> Result<(), sqlx::Error> {
        let topics: Vec<&str> = self.applied.iter().map(|(topic, _)| topic.name()).collect();
        sqlx::query(include_str!("member/beat.sql"))
            .bind(&self.group)
            .bind(&self.member)
            .bind(topics)
            .bind(applied_per_second)
            .bind(self.is_connected.load(Ordering::Relaxed))
            .bind(FORGOTTEN_AFTER.as_secs_f64())
            .execute(pool)
            .await?;
        Ok(())
    }

    /// It ends in good order: nobody need wait until its last word is old.
    pub(crate) async fn leave(&self, pool: &PgPool) {
        let left = sqlx::query("DELETE FROM messaging.member WHERE consumer_group = $1 AND member = $2")
            .bind(&self.group)
            .bind(&self.member)
            .execute(pool)
            .await;
        if let Err(error) = left {
            tracing::debug!(group = self.group, %error, "a member's row stays until it is old");
        }
    }
}
