//! What a stock query makes of its cache, and what a cache that is stale, wrong or away cannot do.

use std::sync::Arc;

use async_trait::async_trait;
use domain::TicketTypeId;
use processors::circuit::CircuitConfig;
use processors::stock_cache::{
    CacheUnavailable, CachedStock, InProcessStockCache, RedisCacheConfig, RedisStockCache, StockCache,
};
use projections::{Checkpoints, Projector, ProjectorConfig, RebuildConfig, Rebuilder, StockView};

use crate::redis_server::RedisServer;
use crate::support::{Answer, TICKET_TYPE, TestApi, USER, get};

const STOCK: &str = "/v1/ticket-types/42/stock";

#[tokio::test]
async fn an_answer_is_current_however_old_the_cache_is() {
    let cache = Arc::new(InProcessStockCache::new(60_000));
    let api = with(cache.clone()).await;
    api.put_on_sale(TICKET_TYPE, 100).await;
    assert_eq!(stock(&api).await, (1, 100));
    assert_eq!(cache.get(id()).await.unwrap().unwrap().version, 1, "what was read is kept");

    api.order_awaiting_payment("order").await;
    assert_eq!(stock(&api).await, (2, 98));
    assert_eq!(cache.get(id()).await.unwrap().unwrap().version, 1, "nobody told the cache");
    let cached = api.call(get(format!("{STOCK}?consistency=cached")).user(USER)).await;
    assert_eq!(levels(&cached), (1, 100), "who asks for the cache's answer gets it");
    assert_eq!(cached.header("etag"), "\"1\"");
    assert!(cached.text.contains("\"price\":299.00"), "{}", cached.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_that_is_mended_is_answered_from_at_once() {
    let cache = Arc::new(InProcessStockCache::new(60_000));
    let api = with(cache.clone()).await;
    api.put_on_sale(TICKET_TYPE, 100).await;
    let checkpoints = Checkpoints::new(api.pool.clone());
    let mut projector = Projector::<StockView>::new(api.pool.clone(), checkpoints, ProjectorConfig::default());
    projector.step(&[]).await.unwrap();
    sqlx::query("update projection.stock_v1 set available = 7").execute(&api.pool).await.unwrap();
    assert_eq!(stock(&api).await, (1, 7), "what is shown is damaged");
    assert_eq!(cache.get(id()).await.unwrap().unwrap().available, 100, "and not kept");

    let mended = Rebuilder::new(api.pool.clone(), RebuildConfig::default()).rebuild("stock", false, "test").await;
    assert_eq!(mended.unwrap().differences, Some(1));
    assert_eq!(stock(&api).await, (1, 100));
}

#[tokio::test]
async fn without_an_entry_a_cached_answer_is_the_current_one() {
    let api = with(Arc::new(InProcessStockCache::new(60_000))).await;
    api.put_on_sale(TICKET_TYPE, 100).await;
    let answer = api.call(get(format!("{STOCK}?consistency=cached")).user(USER)).await;
    assert_eq!(levels(&answer), (1, 100));
    let unknown = api.call(get("/v1/ticket-types/43/stock?consistency=cached").user(USER)).await;
    assert_eq!(unknown.problem(), (404, "ticket_type_not_found", ""));
    let nonsense = api.call(get(format!("{STOCK}?consistency=maybe")).user(USER)).await;
    assert_eq!(nonsense.problem(), (422, "invalid_value", "consistency"));
}

#[tokio::test]
async fn a_cache_that_tells_of_another_ledger_is_found_out() {
    for (version, position) in [(1, 999), (7, 1)] {
        let cache = Arc::new(InProcessStockCache::new(60_000));
        let api = with(cache.clone()).await;
        api.put_on_sale(TICKET_TYPE, 100).await;
        cache.offer(&[made_up(version, position)]).await.unwrap();
        assert_eq!(stock(&api).await, (1, 100));
    }
}

#[tokio::test]
async fn a_cache_that_promises_too_much_sells_nothing_twice() {
    let cache = Arc::new(InProcessStockCache::new(60_000));
    let api = with(cache.clone()).await;
    api.put_on_sale(TICKET_TYPE, 2).await;
    cache.offer(&[made_up(9, 9)]).await.unwrap();
    api.order_awaiting_payment("first").await;
    let second = api.place_order("second").await;
    api.lock_stock(&second).await;
    let second = api.call(get(format!("/v1/orders/{second}")).user(USER)).await;
    assert_eq!(second.body["status"], "REJECTED");
    assert_eq!(stock(&api).await, (2, 0));
}

#[tokio::test]
async fn without_its_cache_a_query_goes_on() {
    let api = with(Arc::new(Away)).await;
    api.put_on_sale(TICKET_TYPE, 100).await;
    assert_eq!(stock(&api).await, (1, 100));
    let cached = api.call(get(format!("{STOCK}?consistency=cached")).user(USER)).await;
    assert_eq!(levels(&cached), (1, 100));
}

#[tokio::test]
async fn queries_go_on_while_redis_is_killed_and_comes_back() {
    let Some(mut redis) = RedisServer::start_if_available("queries_go_on_while_redis_is_killed") else { return };
    let circuit = CircuitConfig { failure_threshold: 3, open_ms: 10 };
    let config = RedisCacheConfig { read_timeout_ms: 2_000, circuit, ..RedisCacheConfig::new(redis.url()) };
    let cache = Arc::new(RedisStockCache::new(config).unwrap());
    let api = with(cache.clone()).await;
    api.put_on_sale(TICKET_TYPE, 100).await;
    assert_eq!(stock(&api).await, (1, 100));
    // Nobody waits long for an answer to be kept: on a busy machine a later one is.
    while cache.get(id()).await.unwrap().is_none() {
        assert_eq!(stock(&api).await, (1, 100));
    }
    assert_eq!(cache.get(id()).await.unwrap().unwrap().version, 1);

    redis.kill();
    api.order_awaiting_payment("order").await;
    for _ in 0..10 {
        assert_eq!(stock(&api).await, (2, 98));
    }
    redis.start();
    while cache.get(id()).await.ok().flatten().is_none_or(|stock| stock.version < 2) {
        assert_eq!(stock(&api).await, (2, 98));
    }
}

/// Redis on a bad day.
struct Away;

#[async_trait]
impl StockCache for Away {
    fn ttl_ms(&self) -> u64 {
        60_000
    }

    async fn get(&self, _id: TicketTypeId) -> Result<Option<CachedStock>, CacheUnavailable> {
        Err(CacheUnavailable("away".to_owned()))
    }

    async fn offer(&self, _news: &[CachedStock]) -> Result<Vec<bool>, CacheUnavailable> {
        Err(CacheUnavailable("away".to_owned()))
    }
}

async fn with(cache: Arc<dyn StockCache>) -> TestApi {
    TestApi::start_with_cache(cache).await
}

fn id() -> TicketTypeId {
    TicketTypeId::new(TICKET_TYPE).unwrap()
}

/// More tickets than there are.
fn made_up(version: i64, position: i64) -> CachedStock {
    CachedStock { ticket_type_id: id(), capacity: 1_000, available: 1_000, locked: 0, sold: 0, version, position }
}

async fn stock(api: &TestApi) -> (i64, i64) {
    levels(&api.call(get(STOCK).user(USER)).await)
}

/// Version and available.
fn levels(answer: &Answer) -> (i64, i64) {
    assert_eq!(answer.status, 200, "{answer:?}");
    (answer.body["version"].as_i64().unwrap(), answer.body["available"].as_i64().unwrap())
}
