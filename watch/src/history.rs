//! How it was lately: one measurement every few seconds, kept in Postgres. Where nobody measured there is no row, and what
//! could not be known is null.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgPool};
use tokio_util::sync::CancellationToken;

use crate::leading::Leading;
use crate::{LagMonitor, LagReport, WatchError};

const LEASE_NAME: &str = "history";
/// Samples in one answer.
pub const MAX_SAMPLES: i64 = 360;
/// Positions looked at for the rate of orders; after a pause with more of them the rate is unknown.
const MAX_EVENTS_COUNTED: i64 = 500_000;

/// So many samples may be late before nobody measured.
const LATE_SAMPLES: u32 = 3;

/// How often, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryConfig {
    pub interval: Duration,
    pub retention: Duration,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), retention: Duration::from_secs(24 * 3_600) }
    }
}

/// One moment.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Sample {
    pub sampled_at: DateTime<Utc>,
    pub head: i64,
    /// Since the sample before; none when that is too long ago.
    pub events_per_second: Option<f64>,
    pub orders_per_second: Option<f64>,
    pub sent_per_second: Option<f64>,
    pub outbox_pending: i64,
    pub outbox_age_seconds: f64,
    pub parked: i64,
    pub consumer_lag_messages: Option<i64>,
    pub consumer_lag_seconds: Option<f64>,
    /// Messages by consumer group.
    pub group_lag_messages: Json<BTreeMap<String, Option<i64>>>,
    pub projection_lag_events: Option<i64>,
    pub projection_lag_seconds: Option<f64>,
    pub dead_letters: i64,
    pub critical_time_p50_ms: Option<f64>,
    pub critical_time_p99_ms: Option<f64>,
    pub missing_messages: Option<i64>,
}

/// Writes the history; one process at a time does.
pub struct History {
    pool: PgPool,
    monitor: LagMonitor,
    config: HistoryConfig,
    leading: Leading,
}

impl History {
    pub fn new(pool: PgPool, monitor: LagMonitor, config: HistoryConfig) -> Self {
        // Another process should be there for the next sample but one.
        let leading = Leading::new(pool.clone(), LEASE_NAME, config.interval * 3 / 2);
        Self { pool, monitor, config, leading }
    }

    /// Writes until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(self.config.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => continue,
                _ = ticks.tick() => {}
            }
            let sampled = tokio::select! {
                () = shutdown.cancelled() => continue,
                sampled = self.step() => sampled,
            };
            if let Err(error) = sampled {
                tracing::debug!(%error, "a sample is missing from the history");
            }
        }
        self.leading.resign().await;
    }

    /// Takes one sample; false where another process does.
    pub async fn step(&mut self) -> Result<bool, WatchError> {
        if !self.leading.is_leader().await? {
            return Ok(false);
        }
        // Shared with those who ask just now, and with their failure there is no sample.
        let Ok(report) = self.monitor.current().await else { return Ok(true) };
        self.insert(&report).await?;
        Ok(true)
    }

    async fn insert(&self, report: &LagReport) -> Result<(), sqlx::Error> {
        let events = report.projections.iter().map(|lag| lag.lag_events()).max();
        let seconds: Option<Vec<f64>> = report.projections.iter().map(|lag| lag.lag_seconds).collect();
        let seconds = seconds.and_then(|seconds| seconds.into_iter().reduce(f64::max));
        sqlx::query(include_str!("sql/insert_sample.sql"))
            .bind(report.outbox.head)
            .bind(report.outbox.sent_per_second)
            .bind(report.outbox.pending_messages)
            .bind(report.outbox.oldest_unsent_age_ms.unwrap_or(0) as f64 / 1_000.0)
            .bind(report.outbox.parked_messages)
            .bind(report.consumer_lag_messages())
            .bind(report.consumer_lag_ms().map(|lag_ms| lag_ms as f64 / 1_000.0))
            .bind(Json(by_group(report)))
            .bind(events)
            .bind(seconds)
            .bind(report.dead_letters())
            .bind(report.order_visible.p50_ms)
            .bind(report.order_visible.p99_ms)
            .bind(report.missing.messages)
            .bind((self.config.interval * LATE_SAMPLES).as_secs_f64())
            .bind(MAX_EVENTS_COUNTED)
            .bind(self.config.retention.as_secs_f64())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

/// All topics of a group together; unknown as soon as one is.
fn by_group(report: &LagReport) -> BTreeMap<String, Option<i64>> {
    let mut groups: BTreeMap<String, Option<i64>> = BTreeMap::new();
    for consumer in &report.consumers {
        let known = groups.entry(consumer.group.clone()).or_insert(Some(0));
        *known = known.zip(consumer.lag_messages).map(|(known, more)| known + more);
    }
    groups
}

/// Of the newest sample; none where that is not of late.
pub async fn orders_per_second(pool: &PgPool, interval: Duration) -> Result<Option<f64>, sqlx::Error> {
    let query = sqlx::query_scalar(include_str!("sql/orders_per_second.sql"));
    let newest: Option<Option<f64>> = query.bind((interval * LATE_SAMPLES).as_secs_f64()).fetch_optional(pool).await?;
    Ok(newest.flatten())
}

/// The samples of the last so many minutes, and how far apart they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    pub every: Duration,
    /// Oldest first, at most [`MAX_SAMPLES`].
    pub samples: Vec<Sample>,
}

/// Reads them. Over a long time one stands for several: of lags the worst, of rates the mean.
pub async fn past(pool: &PgPool, minutes: u32, interval: Duration) -> Result<Past, sqlx::Error> {
    let asked = Duration::from_secs(u64::from(minutes) * 60);
    let every = interval.max(Duration::from_secs(asked.as_secs().div_ceil(MAX_SAMPLES.unsigned_abs())));
    let samples = sqlx::query_as(include_str!("sql/past.sql"))
        .bind(asked.as_secs_f64())
        .bind(every.as_secs_f64())
        .bind(MAX_SAMPLES)
        .fetch_all(pool)
        .await?;
    Ok(Past { every, samples })
}
