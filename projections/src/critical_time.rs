//! Critical time: from a command's event to its effect in front of a reader.
//!
//! Measured off the projector's way: it says which positions it has just committed, and one question a second looks at all of
//! them, by the database's clock at both ends. What a killed process had not looked at yet is not counted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use metrics::{Unit, describe_histogram, histogram};
use sqlx::{FromRow, PgPool};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Placed, and in the list of orders.
pub const ORDER_VISIBLE: &str = "order_visible";
/// Placed, gone all the way, and shown as confirmed.
pub const ORDER_CONFIRMED: &str = "order_confirmed";
const EFFECTS: [&str; 2] = [ORDER_VISIBLE, ORDER_CONFIRMED];

const CRITICAL_TIME: &str = "ledger_critical_time_seconds";
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Commits remembered until the next look; of more, the later ones are not measured.
const MAX_COMMITS: usize = 1_000;
/// Longest span the classes are kept for.
const KEPT_FOR: Duration = Duration::from_secs(3_600);
const FORGET_INTERVAL: Duration = Duration::from_secs(60);
/// A class reaches a tenth further than the one below it: that much a percentile may be off.
const CLASS_GROWTH: f64 = 1.1;

/// What a projector tells of its commits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CriticalTimes {
    commits: mpsc::Sender<Commit>,
}

#[derive(Debug)]
struct Commit {
    from: i64,
    to: i64,
    at: Instant,
}

impl CriticalTimes {
    /// Measures until `shutdown` what the returned handle is told.
    pub fn start(pool: PgPool, shutdown: CancellationToken) -> (Self, impl Future<Output = ()> + Send) {
        let (commits, told) = mpsc::channel(MAX_COMMITS);
        (Self { commits }, run(pool, told, shutdown))
    }

    /// The orders' rows for the events in `(from, to]` have just become visible.
    pub(crate) fn committed(&self, from: i64, to: i64) {
        // Full: then it is not measured. Nothing may wait for a measurement.
        self.commits.try_send(Commit { from, to, at: Instant::now() }).ok();
    }
}

async fn run(pool: PgPool, mut told: mpsc::Receiver<Commit>, shutdown: CancellationToken) {
    let mut forgotten_at = Instant::now();
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        let mut commits = Vec::new();
        while let Ok(commit) = told.try_recv() {
            commits.push(commit);
        }
        if let Err(error) = look(&pool, &commits).await {
            tracing::debug!(%error, commits = commits.len(), "critical times were not measured");
        }
        if forgotten_at.elapsed() > FORGET_INTERVAL {
            forgotten_at = Instant::now();
            if let Err(error) = forget(&pool).await {
                tracing::debug!(%error, "old critical times stay for now");
            }
        }
    }
}

#[derive(FromRow)]
struct ClassRow {
    effect: String,
    class: i16,
    orders: i64,
}

/// One question for all commits since the last look; its answer is kept and goes into the histogram.
async fn look(pool: &PgPool, commits: &[Commit]) -> Result<(), sqlx::Error> {
    if commits.is_empty() {
        return Ok(());
    }
    // First: to wait for a connection is nobody's critical time.
    let mut connection = pool.acquire().await?;
    let measured: Vec<ClassRow> = sqlx::query_as(include_str!("../sql/measure_critical_times.sql"))
        .bind(commits.iter().map(|commit| commit.from).collect::<Vec<_>>())
        .bind(commits.iter().map(|commit| commit.to).collect::<Vec<_>>())
        .bind(commits.iter().map(|commit| commit.at.elapsed().as_secs_f64()).collect::<Vec<_>>())
        .bind(CLASS_GROWTH)
        .fetch_all(&mut *connection)
        .await?;
    for row in measured {
        let orders = usize::try_from(row.orders).unwrap_or(usize::MAX);
        histogram!(CRITICAL_TIME, "effect" => row.effect).record_many(upper_ms(row.class) / 1_000.0, orders);
    }
    Ok(())
}

async fn forget(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from operations.critical_time where measured_at < clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(KEPT_FOR.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}

/// Has the series there from the start.
pub(crate) fn describe_metrics() {
    describe_histogram!(CRITICAL_TIME, Unit::Seconds, "From an order's command to its effect in the read model");
    for effect in EFFECTS {
        drop(histogram!(CRITICAL_TIME, "effect" => effect));
    }
}

/// How long the orders of some time took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CriticalTime {
    /// How many there were.
    pub orders: i64,
    /// None without an order.
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// What was measured within `window`, by effect.
pub async fn recent(pool: &PgPool, window: Duration) -> Result<HashMap<String, CriticalTime>, sqlx::Error> {
    let rows: Vec<ClassRow> =
        sqlx::query_as(include_str!("../sql/critical_times.sql")).bind(window.as_secs_f64()).fetch_all(pool).await?;
    let mut classes: HashMap<String, Vec<(i16, i64)>> = HashMap::new();
    for row in rows {
        classes.entry(row.effect).or_default().push((row.class, row.orders));
    }
    Ok(classes.into_iter().map(|(effect, classes)| (effect, CriticalTime::of(&classes))).collect())
}

impl CriticalTime {
    /// By classes, the quickest first.
    fn of(classes: &[(i16, i64)]) -> Self {
        let orders = classes.iter().map(|(_, orders)| orders).sum();
        let percentile = |share: f64| {
            let wanted = (share * orders as f64).ceil() as i64;
            let mut seen = 0;
            let class = classes.iter().find(|(_, orders)| {
                seen += orders;
                seen >= wanted
            });
            class.map(|(class, _)| upper_ms(*class))
        };
        Self { orders, p50_ms: percentile(0.50), p95_ms: percentile(0.95), p99_ms: percentile(0.99) }
    }
}

fn upper_ms(class: i16) -> f64 {
    CLASS_GROWTH.powi(i32::from(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_class_that_holds_so_many() {
        let of_hundred = CriticalTime::of(&[(10, 50), (20, 45), (30, 4), (40, 1)]);
        assert_eq!(of_hundred.orders, 100);
        let percentiles = [of_hundred.p50_ms, of_hundred.p95_ms, of_hundred.p99_ms];
        assert_eq!(percentiles, [10, 20, 30].map(|class| Some(upper_ms(class))));
    }

    #[test]
    fn without_orders_nothing_is_known_and_nothing_is_zero() {
        assert_eq!(CriticalTime::of(&[]), CriticalTime::default());
        assert_eq!(CriticalTime::of(&[]).p99_ms, None);
    }
}
