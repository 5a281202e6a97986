//! Rebuilding the read models of a large ledger while orders come in and people look: beside the plain COPY of the same
//! events, and what it does to those who read. On wish the real program does it, and is killed in the middle.

mod people;
mod program;

use std::sync::Arc;
use std::time::{Duration, Instant};

use event_store::read;
use futures_util::TryStreamExt;
use projections::rebuild::last_of_all;
use projections::{NotificationView, OrderView, ReadModel, RebuildConfig, Rebuilder, StockView, verify};
use sqlx::PgPool;

use crate::database::settle;
use crate::load::{Latencies, Sample};
use crate::shop::Shop;
use crate::{BenchDatabase, Report};
use people::{Looking, ORDERS_PER_SECOND, READERS, Readers, Traffic, follow_once};
use program::{Positions, ensure_verified};

pub use program::Program;

const REBUILT: [&str; 3] = [OrderView::NAME, StockView::NAME, NotificationView::NAME];
/// What reads may take longer while a rebuild runs.
const TARGET_P99_RATIO: f64 = 1.5;
const REBUILD: &str = "rebuild of orders, stock and notifications";
const COPY: &str = "plain COPY of the same events";

#[derive(Debug, Clone)]
pub struct RebuildBench {
    pub events: i64,
    /// How long reads are measured before.
    pub round: Duration,
    pub config: RebuildConfig,
    /// Rebuilds instead of this process, and is killed meanwhile.
    pub program: Option<Program>,
}

/// How it was rebuilt.
#[derive(Default)]
struct Rebuilt {
    /// Somebody was at work so long: what passes after a kill is not in it.
    working: Duration,
    /// What people felt of it in that time.
    reads: Latencies,
    /// Where each kill left them.
    left_at: Vec<Positions>,
}

/// What one run found.
struct Found {
    events: i64,
    copied: Sample,
    rebuilt: Sample,
    left_at: Vec<Positions>,
    reads_before: Sample,
    reads_during: Sample,
    list_reads: u64,
}

impl RebuildBench {
    pub async fn run(self, server_url: &str) -> anyhow::Result<Report> {
        let database = BenchDatabase::create(server_url).await?;
        let found = self.measure(&database).await;
        database.drop().await?;
        Ok(self.report(found?))
    }

    async fn measure(&self, database: &BenchDatabase) -> anyhow::Result<Found> {
        let pool = database.pool(16).await?;
        event_store::migrate(&pool).await?;
        let shop = Arc::new(Shop::open(pool.clone()).await?);
        shop.fill(self.events).await?;
        follow_once::<OrderView>(&pool).await?;
        follow_once::<StockView>(&pool).await?;
        follow_once::<NotificationView>(&pool).await?;
        for statement in ["vacuum analyze store.events", "vacuum analyze projection.orders_v1"] {
            sqlx::raw_sql(statement).execute(&pool).await?;
        }
        settle(&pool).await?;
        // Twice: what the first one reads from disk must not be the difference.
        plain_copy(&pool).await?;
        let copied = plain_copy(&pool).await?;

        let readers = Arc::new(Readers::open(database).await?);
        let traffic = Traffic::start(shop.clone(), pool.clone());
        let reads_before = readers.clone().look_for(self.round).await;
        let head = read::head(&pool).await?;
        let rebuilt = match &self.program {
            Some(program) => program.rebuild(database, &pool, &readers).await,
            None => self.rebuild(database, &readers).await,
        };
        let list_reads = traffic.stop().await?;
        let rebuilt = rebuilt?;
        ensure_verified(&last_of_all(&pool).await?)?;
        let wrong = verify::read_models(&pool).await?;
        anyhow::ensure!(wrong.is_empty(), "what is shown is not what the ledger says: {wrong:?}");
        let events = read::head(&pool).await?;
        shop.ledger.close().await;
        let rate = Sample { per_second: head as f64 / rebuilt.working.as_secs_f64(), ..Sample::default() };
        Ok(Found {
            events,
            copied,
            rebuilt: rate,
            left_at: rebuilt.left_at,
            reads_before,
            reads_during: rebuilt.reads.sample(),
            list_reads,
        })
    }

    /// All of them at once, by this process.
    async fn rebuild(&self, database: &BenchDatabase, readers: &Arc<Readers>) -> anyhow::Result<Rebuilt> {
        let pool = database.pool(12).await?;
        let rebuilder = Rebuilder::new(pool.clone(), self.config.clone());
        let (looking, started) = (Looking::start(readers), Instant::now());
        let [first, second, third] = REBUILT.map(|name| rebuilder.rebuild(name, false, "bench"));
        let rebuilt = tokio::try_join!(first, second, third);
        let working = started.elapsed();
        let reads = looking.stop().await?;
        rebuilt?;
        pool.close().await;
        Ok(Rebuilt { working, reads, left_at: Vec::new() })
    }

    fn report(&self, found: Found) -> Report {
        let mut report = Report::new(format!(
            "rebuild: {} events, {ORDERS_PER_SECOND} orders a second coming in, {READERS} readers",
            found.events
        ));
        report.add(COPY, std::slice::from_ref(&found.copied));
        report.add(REBUILD, std::slice::from_ref(&found.rebuilt));
        report.add("order and stock reads before", std::slice::from_ref(&found.reads_before));
        report.add("order and stock reads during the rebuild", std::slice::from_ref(&found.reads_during));
        let ratio = found.reads_during.p99_ms / found.reads_before.p99_ms.max(1e-3);
        let mark = if ratio < TARGET_P99_RATIO { "reached: under" } else { "short of" };
        report.note(format!("p99 of reads {ratio:.2}x of what it was ({mark} {TARGET_P99_RATIO}x)"));
        let speed = found.rebuilt.per_second / found.copied.per_second.max(1e-3);
        report.note(format!(
            "The rebuild has {speed:.3}x the rate of the plain COPY: it reads by COPY too, folds, writes, indexes and compares three \
             tables; it works at most {}% of the time (projection.rebuild_max_busy_percent).",
            self.config.max_busy_percent
        ));
        report.note(format!(
            "Verified: each of the three was equal to what was shown, by hash in one snapshot, and is what the ledger says, \
             folded once more afterwards. No read failed, and in {} reads of their lists nothing listed was missing again.",
            found.list_reads
        ));
        if !found.left_at.is_empty() {
            let left: Vec<_> = found.left_at.iter().map(|[a, b, c]| format!("{a}, {b} and {c}")).collect();
            report.note(format!(
                "Killed (SIGKILL) {} times, at position {} of {}. Each is one rebuild, gone on with where it was; the rate is \
                 that of the time at work, and the time until its leases ran out is in no figure.",
                left.len(),
                left.join("; then "),
                REBUILT.join(", ")
            ));
        }
        report
    }
}

async fn plain_copy(pool: &PgPool) -> anyhow::Result<Sample> {
    let mut connection = pool.acquire().await?;
    let head = read::head(&mut *connection).await?;
    let started = Instant::now();
    let mut bytes = 0;
    {
        let mut chunks = connection.copy_out_raw(include_str!("../sql/copy_events.sql")).await?;
        while let Some(chunk) = chunks.try_next().await? {
            bytes += chunk.len();
        }
    }
    anyhow::ensure!(bytes > 0, "nothing was copied");
    Ok(Sample { per_second: head as f64 / started.elapsed().as_secs_f64(), ..Sample::default() })
}
