//! Rebuilding the read models of a large ledger while orders come in and people look: beside the plain COPY of the same
//! events, and what it does to those who read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use domain::{OrderId, TicketTypeId};
use event_store::read;
use futures_util::TryStreamExt;
use projections::{
    Checkpoints, NotificationView, OrderView, ProjectionError, Projector, ProjectorConfig, ReadModel, RebuildConfig,
    Rebuilder, StockView, orders, stock,
};
use sqlx::PgPool;
use tokio::task::JoinHandle;

use crate::database::settle;
use crate::load::{Load, Sample};
use crate::shop::Shop;
use crate::{BenchDatabase, Report};

const REBUILT: [&str; 3] = [OrderView::NAME, StockView::NAME, NotificationView::NAME];
const READERS: usize = 4;
/// What reads may take longer while a rebuild runs.
const TARGET_P99_RATIO: f64 = 1.5;
/// Orders a second that come in all the time.
const ORDERS_PER_SECOND: u64 = 20;
/// Orders that people look at.
const ORDERS_LOOKED_AT: i64 = 10_000;
/// Longer than any rebuild here: it is stopped when that is over.
const UNTIL_STOPPED: Duration = Duration::from_secs(3_600);
const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);
const REBUILD: &str = "rebuild of orders, stock and notifications";
const COPY: &str = "plain COPY of the same events";

#[derive(Debug, Clone)]
pub struct RebuildBench {
    pub events: i64,
    /// How long reads are measured before.
    pub round: Duration,
    pub config: RebuildConfig,
}

/// What one run found.
struct Found {
    events: i64,
    copied: Sample,
    rebuilt: Sample,
    reads_before: Sample,
    reads_during: Sample,
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
        let before = Load { callers: READERS, duration: self.round };
        let reads_before = readers.clone().look(before, Arc::new(AtomicBool::new(false))).await;
        let over = Arc::new(AtomicBool::new(false));
        let looking = {
            let (readers, over) = (readers.clone(), over.clone());
            let during = Load { callers: READERS, duration: UNTIL_STOPPED };
            tokio::spawn(async move { readers.look(during, over).await })
        };
        let rebuilt = self.rebuild(database).await;
        over.store(true, Ordering::Relaxed);
        let reads_during = looking.await?;
        traffic.stop().await?;
        let events = read::head(&pool).await?;
        shop.ledger.close().await;
        Ok(Found { events, copied, rebuilt: rebuilt?, reads_before, reads_during })
    }

    /// All of them at once; each must be found equal to what was shown.
    async fn rebuild(&self, database: &BenchDatabase) -> anyhow::Result<Sample> {
        let pool = database.pool(12).await?;
        let rebuilder = Rebuilder::new(pool.clone(), self.config.clone());
        let head = read::head(&pool).await?;
        let started = Instant::now();
        let [first, second, third] = REBUILT.map(|name| rebuilder.rebuild(name, false, "bench"));
        let rebuilt = tokio::try_join!(first, second, third)?;
        let elapsed = started.elapsed();
        for rebuild in [&rebuilt.0, &rebuilt.1, &rebuilt.2] {
            anyhow::ensure!(rebuild.unchanged() == Some(true), "not verified: {rebuild:?}");
        }
        pool.close().await;
        Ok(Sample { per_second: head as f64 / elapsed.as_secs_f64(), ..Sample::default() })
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
            "The rebuild has {speed:.2}x the rate of the plain COPY: it reads by COPY too, folds, writes, indexes and compares three \
             tables; it works at most {}% of the time (projection.rebuild_max_busy_percent).",
            self.config.max_busy_percent
        ));
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

async fn follow_once<M: ReadModel>(pool: &PgPool) -> anyhow::Result<()> {
    let mut projector = projector::<M>(pool);
    projector.step(&[]).await?;
    projector.release().await;
    Ok(())
}

fn projector<M: ReadModel>(pool: &PgPool) -> Projector<M> {
    Projector::new(pool.clone(), Checkpoints::new(pool.clone()), ProjectorConfig::default())
}

/// People who look at orders and stock, each again as soon as they have their answer.
struct Readers {
    pool: PgPool,
    orders: Vec<OrderId>,
    next: AtomicU64,
}

impl Readers {
    async fn open(database: &BenchDatabase) -> anyhow::Result<Self> {
        let pool = database.pool(READERS as u32).await?;
        let ids: Vec<String> = sqlx::query_scalar("select order_id from read_models.orders order by random() limit $1")
            .bind(ORDERS_LOOKED_AT)
            .fetch_all(&pool)
            .await?;
        let orders = ids.iter().map(|id| OrderId::parse(id)).collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(!orders.is_empty(), "there is nothing to look at");
        Ok(Self { pool, orders, next: AtomicU64::new(0) })
    }

    async fn look(self: Arc<Self>, load: Load, over: Arc<AtomicBool>) -> Sample {
        load.run(move |_, _| {
            let (readers, over) = (self.clone(), over.clone());
            async move {
                if over.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                readers.look_once().await.map(|()| true)
            }
        })
        .await
    }

    async fn look_once(&self) -> anyhow::Result<()> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        if n.is_multiple_of(2) {
            let order = &self.orders[n as usize / 2 % self.orders.len()];
            orders::get(&self.pool, order).await?.with_context(|| format!("{order} is not shown"))?;
        } else {
            let ticket_type = TicketTypeId::new(i64::try_from(1 + n / 2 % 20)?)?;
            stock::get(&self.pool, ticket_type).await?.with_context(|| format!("stock {ticket_type} is not shown"))?;
        }
        Ok(())
    }
}

/// Orders that come in, and the projectors that follow.
struct Traffic {
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Traffic {
    fn start(shop: Arc<Shop>, pool: PgPool) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let selling = {
            let over = over.clone();
            tokio::spawn(async move {
                let mut tick = tokio::time::interval(Duration::from_millis(1_000 / ORDERS_PER_SECOND));
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    tick.tick().await;
                    shop.sell(n).await?;
                    n += 1;
                }
                Ok(())
            })
        };
        let tasks = vec![
            selling,
            tokio::spawn(follow::<OrderView>(pool.clone(), over.clone())),
            tokio::spawn(follow::<StockView>(pool.clone(), over.clone())),
            tokio::spawn(follow::<NotificationView>(pool, over.clone())),
        ];
        Self { over, tasks }
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await??;
        }
        Ok(())
    }
}

async fn follow<M: ReadModel>(pool: PgPool, over: Arc<AtomicBool>) -> anyhow::Result<()> {
    let mut projector = projector::<M>(&pool);
    while !over.load(Ordering::Relaxed) {
        match projector.step(&[]).await {
            // On a busy machine its lease may run out before it is renewed: it takes it again.
            Ok(_) | Err(ProjectionError::Fenced { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
    projector.release().await;
    Ok(())
}
