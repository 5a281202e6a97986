//! Who orders and looks while read models are rebuilt.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use domain::{OrderId, TicketTypeId, UserId};
use projections::stock::StockFilter;
use projections::{
    Checkpoints, NotificationView, OrderFilter, OrderView, ProjectionError, Projector, ProjectorConfig, ReadModel,
    StockView, notifications, orders, stock,
};
use sqlx::PgPool;
use tokio::task::JoinHandle;

use crate::load::{Latencies, Load};
use crate::shop::Shop;
use crate::{BenchDatabase, Sample};

pub(super) const READERS: usize = 4;
/// Orders a second that come in all the time.
pub(super) const ORDERS_PER_SECOND: u64 = 20;
/// Orders that people look at.
const ORDERS_LOOKED_AT: i64 = 10_000;
/// Longer than any rebuild here: they are stopped when that is over.
const UNTIL_STOPPED: Duration = Duration::from_secs(3_600);
const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);
/// Between two looks at lists: rare enough not to be felt by the others.
const LIST_INTERVAL: Duration = Duration::from_millis(50);
/// Users whose lists are looked at.
const LIST_USERS: i64 = 20;
const MAX_LIST_ROWS: u32 = projections::MAX_PAGE_ROWS;

/// People who look at orders and stock, each again as soon as they have their answer.
pub(super) struct Readers {
    pool: PgPool,
    orders: Vec<OrderId>,
    next: AtomicU64,
}

impl Readers {
    pub async fn open(database: &BenchDatabase) -> anyhow::Result<Self> {
        let pool = database.pool(READERS as u32).await?;
        let ids: Vec<String> = sqlx::query_scalar("select order_id from read_models.orders order by random() limit $1")
            .bind(ORDERS_LOOKED_AT)
            .fetch_all(&pool)
            .await?;
        let orders = ids.iter().map(|id| OrderId::parse(id)).collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(!orders.is_empty(), "there is nothing to look at");
        Ok(Self { pool, orders, next: AtomicU64::new(0) })
    }

    /// As long as that.
    pub async fn look_for(self: Arc<Self>, duration: Duration) -> Sample {
        self.look(duration, Arc::new(AtomicBool::new(false))).await.sample()
    }

    async fn look(self: Arc<Self>, duration: Duration, over: Arc<AtomicBool>) -> Latencies {
        let load = Load { callers: READERS, duration };
        load.measure(move |_, _| {
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

/// Readers at work.
pub(super) struct Looking {
    over: Arc<AtomicBool>,
    task: JoinHandle<Latencies>,
}

impl Looking {
    pub fn start(readers: &Arc<Readers>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(readers.clone().look(UNTIL_STOPPED, over.clone()));
        Self { over, task }
    }

    /// Fails when a read did.
    pub async fn stop(self) -> anyhow::Result<Latencies> {
        self.over.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

/// Orders that come in, the projectors that follow, and somebody who looks at lists. These come from the read models alone,
/// so that an empty or a mixed one is noticed: nothing that was listed is ever missing again.
pub(super) struct Traffic {
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
    lists: JoinHandle<anyhow::Result<u64>>,
}

impl Traffic {
    pub fn start(shop: Arc<Shop>, pool: PgPool) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let tasks = vec![
            tokio::spawn(sell(shop, over.clone())),
            tokio::spawn(follow::<OrderView>(pool.clone(), over.clone())),
            tokio::spawn(follow::<StockView>(pool.clone(), over.clone())),
            tokio::spawn(follow::<NotificationView>(pool.clone(), over.clone())),
        ];
        let lists = tokio::spawn(read_lists(pool, over.clone()));
        Self { over, tasks, lists }
    }

    /// Answers how many times the lists were read. Fails when anything did.
    pub async fn stop(self) -> anyhow::Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await??;
        }
        self.lists.await?
    }
}

async fn sell(shop: Arc<Shop>, over: Arc<AtomicBool>) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(Duration::from_millis(1_000 / ORDERS_PER_SECOND));
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        tick.tick().await;
        shop.sell(n).await?;
        n += 1;
    }
    Ok(())
}

async fn read_lists(pool: PgPool, over: Arc<AtomicBool>) -> anyhow::Result<u64> {
    let mut known: HashMap<i64, [usize; 3]> = HashMap::new();
    let mut reads = 0;
    while !over.load(Ordering::Relaxed) {
        let user = 1 + i64::try_from(reads)? % LIST_USERS;
        let listed = list_lengths(&pool, UserId::new(user)?).await?;
        let before = known.insert(user, listed).unwrap_or([1; 3]);
        anyhow::ensure!(
            listed.iter().zip(before).all(|(now, before)| *now >= before),
            "orders, ticket types and notifications listed for user {user}: {listed:?}, and {before:?} before"
        );
        reads += 1;
        tokio::time::sleep(LIST_INTERVAL).await;
    }
    Ok(reads)
}

async fn list_lengths(pool: &PgPool, user: UserId) -> Result<[usize; 3], ProjectionError> {
    let of_user = OrderFilter { user_id: Some(user), limit: MAX_LIST_ROWS, ..OrderFilter::default() };
    let all = StockFilter { limit: MAX_LIST_ROWS, ..StockFilter::default() };
    Ok([
        orders::list(pool, &of_user).await?.items.len(),
        stock::list(pool, &all).await?.items.len(),
        notifications::of_user(pool, user, None, MAX_LIST_ROWS).await?.items.len(),
    ])
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

/// Brings a read model to the head of the ledger.
pub(super) async fn follow_once<M: ReadModel>(pool: &PgPool) -> anyhow::Result<()> {
    let mut projector = projector::<M>(pool);
    projector.step(&[]).await?;
    projector.release().await;
    Ok(())
}

fn projector<M: ReadModel>(pool: &PgPool) -> Projector<M> {
    Projector::new(pool.clone(), Checkpoints::new(pool.clone()), ProjectorConfig::default())
}
