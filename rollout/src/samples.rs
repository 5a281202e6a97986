//! How long callers waited, as a bounded sample: written in batches, off the way of the orders.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::{Mode, OrderId};
use rand::Rng;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::cohort::Assignment;
use crate::metric;

/// Bounds of the sample.
#[derive(Debug, Clone)]
pub struct SampleConfig {
    /// Orders of one mode kept until the next write; of more, chance keeps so many.
    pub max_kept_orders: usize,
    pub write_interval_ms: u64,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self { max_kept_orders: 250, write_interval_ms: 500 }
    }
}

/// Collects the orders that one process takes.
#[derive(Debug)]
pub struct Samples {
    config: SampleConfig,
    kept: Mutex<[Reservoir; 2]>,
}

#[derive(Debug)]
struct Sample {
    assignment: Assignment,
    /// None: the request failed.
    order_id: Option<String>,
    accept_us: i64,
}

/// A fair choice of what was seen, however much that is.
#[derive(Debug, Default)]
struct Reservoir {
    samples: Vec<Sample>,
    seen: u64,
}

impl Samples {
    /// Without any yet.
    pub fn new(config: SampleConfig) -> Self {
        Self { config, kept: Mutex::default() }
    }

    /// Notes an order that was answered after so long; without an id, a request that failed.
    pub fn note(&self, assignment: Assignment, order_id: Option<&OrderId>, took: Duration) {
        metric::order(assignment);
        let accept_us = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        let sample = Sample { assignment, order_id: order_id.map(ToString::to_string), accept_us };
        let reservoir = usize::from(assignment.mode == Mode::Sync);
        self.lock()[reservoir].offer(sample, self.config.max_kept_orders);
    }

    /// Writes what was collected; how many rows that was. What can't be written is kept for the next time.
    pub async fn write(&self, pool: &PgPool) -> Result<usize, sqlx::Error> {
        let kept = std::mem::take(&mut *self.lock());
        let written = insert(pool, &kept).await;
        if written.is_err() {
            self.take_back(kept);
        }
        written
    }

    pub(crate) async fn write_until(&self, pool: &PgPool, shutdown: &CancellationToken) {
        let interval = Duration::from_millis(self.config.write_interval_ms);
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(interval) => {}
            }
            if let Err(error) = self.write(pool).await {
                tracing::debug!(%error, "the rollout's samples wait for the database");
            }
        }
    }

    fn take_back(&self, kept: [Reservoir; 2]) {
        let mut now = self.lock();
        for (reservoir, old) in now.iter_mut().zip(kept) {
            let unkept = old.seen - old.samples.len() as u64;
            for sample in old.samples {
                reservoir.offer(sample, self.config.max_kept_orders);
            }
            reservoir.seen += unkept;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [Reservoir; 2]> {
        // A sample more or less is no harm.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservoir {
    fn offer(&mut self, sample: Sample, max_kept: usize) {
        self.seen += 1;
        if self.samples.len() < max_kept {
            self.samples.push(sample);
            return;
        }
        let place = rand::rng().random_range(0..self.seen);
        if let Some(kept) = usize::try_from(place).ok().and_then(|place| self.samples.get_mut(place)) {
            *kept = sample;
        }
    }

    /// How many orders each kept one stands for.
    fn weight(&self) -> f32 {
        self.seen as f32 / self.samples.len().max(1) as f32
    }
}

/// Forgets old samples, so many at most; how many that was.
pub async fn forget_older_than(pool: &PgPool, age: Duration, limit: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(include_str!("sql/forget_samples.sql")).bind(age.as_secs_f64()).bind(limit);
    Ok(deleted.execute(pool).await?.rows_affected())
}

async fn insert(pool: &PgPool, kept: &[Reservoir; 2]) -> Result<usize, sqlx::Error> {
    let rows: Vec<(&Sample, f32)> =
        kept.iter().flat_map(|reservoir| reservoir.samples.iter().map(|sample| (sample, reservoir.weight()))).collect();
    if rows.is_empty() {
        return Ok(0);
    }
    let column = |read: fn(&Sample) -> &'static str| rows.iter().map(|(sample, _)| read(sample)).collect::<Vec<_>>();
    sqlx::query(include_str!("sql/insert_samples.sql"))
        .bind(column(|sample| sample.assignment.mode.as_str()))
        .bind(column(|sample| sample.assignment.cause.as_str()))
        .bind(rows.iter().map(|(sample, _)| sample.order_id.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(sample, _)| sample.accept_us).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, weight)| *weight).collect::<Vec<_>>())
        .execute(pool)
        .await?;
    Ok(rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cohort::Cause;

    const ASYNC: Assignment = Assignment { mode: Mode::Async, cause: Cause::Policy };
    const SYNC: Assignment = Assignment { mode: Mode::Sync, cause: Cause::Policy };

    #[test]
    fn of_many_orders_a_bounded_number_is_kept_and_each_says_for_how_many_it_stands() {
        let samples = Samples::new(SampleConfig { max_kept_orders: 10, ..SampleConfig::default() });
        for millis in 0..1_000 {
            samples.note(ASYNC, None, Duration::from_millis(millis));
        }
        samples.note(SYNC, None, Duration::from_millis(1));
        let kept = samples.lock();
        assert_eq!((kept[0].samples.len(), kept[1].samples.len()), (10, 1));
        assert_eq!((kept[0].weight(), kept[1].weight()), (100.0, 1.0));
        let late = kept[0].samples.iter().filter(|sample| sample.accept_us >= 10_000).count();
        assert!(late > 0, "only the first ones were kept");
    }

    #[test]
    fn what_could_not_be_written_is_kept() {
        let samples = Samples::new(SampleConfig { max_kept_orders: 3, ..SampleConfig::default() });
        for _ in 0..5 {
            samples.note(ASYNC, None, Duration::ZERO);
        }
        let taken = std::mem::take(&mut *samples.lock());
        samples.note(ASYNC, None, Duration::ZERO);
        samples.take_back(taken);
        let kept = samples.lock();
        assert_eq!((kept[0].samples.len(), kept[0].seen), (3, 6));
    }
}
