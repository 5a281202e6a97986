//! What the tests of rebuilds do over and over.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use projections::rebuild::{self, last, resume_or_request};
use projections::{
    OrderFilter, OrderView, ProjectionError, ProjectorConfig, Rebuild, RebuildConfig, Rebuilder, StockView, TableHash,
    lag, orders,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::support::{World, eventually};

/// A ledger with orders, all of it projected.
pub async fn projected(rounds: i64) -> World {
    let world = World::selling(10_000).await;
    world.some_orders(rounds).await;
    world.projector_with::<OrderView>(impatient()).step(&[]).await.unwrap();
    world.projector_with::<StockView>(impatient()).step(&[]).await.unwrap();
    world
}

/// Each step of its own projector: the lease must not be waited for.
pub fn impatient() -> ProjectorConfig {
    ProjectorConfig { lease_ttl: Duration::from_millis(1), ..ProjectorConfig::default() }
}

pub fn small_ranges() -> RebuildConfig {
    RebuildConfig { max_range_events: 10, ..RebuildConfig::default() }
}

/// As a process that dies, and its connections with it: nothing is finished, nothing is given back. Answers where it began.
pub async fn begin_and_kill_after(world: &World, ranges: usize) -> i64 {
    let pool = PgPool::connect_with((*world.pool.connect_options()).clone()).await.unwrap();
    let rebuilder = Rebuilder::new(pool.clone(), small_ranges());
    let claim = rebuilder.claim("orders").await.unwrap().expect("nobody else's");
    request(world, "orders", false).await;
    let from = last(&world.pool, "orders").await.unwrap().unwrap().position;
    let (seen, is_dead) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (watched, may_go_on) = (seen.clone(), is_dead.clone());
    let dying = tokio::spawn(async move {
        let watch = move |_: &Rebuild| {
            let is_far_enough = watched.fetch_add(1, Ordering::SeqCst) >= ranges;
            // It comes no further before it is killed.
            while is_far_enough && !may_go_on.load(Ordering::SeqCst) {
                tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(5)));
            }
        };
        rebuilder.carry_out(claim, &watch, &CancellationToken::new()).await
    });
    // It is told once before the first range.
    eventually("some ranges are built", || async { seen.load(Ordering::SeqCst) > ranges }).await;
    dying.abort();
    is_dead.store(true, Ordering::SeqCst);
    assert!(dying.await.unwrap_err().is_cancelled(), "it was over too soon");
    pool.close().await;
    from
}

pub async fn request(world: &World, name: &str, dry_run: bool) {
    let mut transaction = world.pool.begin().await.unwrap();
    resume_or_request(&mut transaction, name, dry_run, "test").await.unwrap();
    transaction.commit().await.unwrap();
}

pub async fn roll_back(world: &World) -> Result<i32, ProjectionError> {
    let mut transaction = world.pool.begin().await.unwrap();
    let version = rebuild::rollback(&mut transaction, "orders").await?;
    transaction.commit().await.unwrap();
    Ok(version)
}

pub async fn expire_lease(world: &World) {
    run(world, "update store.lease set expires_at = '-infinity' where name = $1", "rebuild-orders").await;
}

/// Whether somebody waits for the lock that no query leaves free.
pub async fn swap_waits(world: &World) -> bool {
    let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                   where d.datname = current_database() and l.relation = 'read_models.orders'::regclass
                   and l.mode = 'AccessExclusiveLock' and not l.granted";
    sqlx::query_scalar::<_, i64>(waiting).fetch_one(&world.pool).await.unwrap() > 0
}

pub async fn run(world: &World, statement: &'static str, key: &str) {
    sqlx::query(statement).bind(key).execute(&world.pool).await.unwrap();
}

pub async fn hash(world: &World) -> TableHash {
    TableHash::of_shown::<OrderView>(&world.pool).await.unwrap()
}

pub async fn lag_of(world: &World) -> projections::ProjectionLag {
    lag(&world.pool).await.unwrap().into_iter().find(|lag| lag.name == "orders").unwrap()
}

pub async fn everything(world: &World) -> Vec<OrderView> {
    let all = OrderFilter { limit: 500, ..OrderFilter::default() };
    orders::list(&world.pool, &all).await.unwrap().items
}

pub async fn versions(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'projection' and tablename like 'orders%' order by 1",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

/// What the indexes of a version are on, without names.
pub async fn indexes(world: &World, version: i32) -> Vec<String> {
    let mut definitions: Vec<String> = sqlx::query_scalar(
        "select split_part(indexdef, ' USING ', 2) from pg_indexes where schemaname = 'projection' and tablename = $1",
    )
    .bind(format!("orders_v{version}"))
    .fetch_all(&world.pool)
    .await
    .unwrap();
    definitions.sort();
    definitions
}
