//! The stock caches: one in the process, one in a real Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Decider, ShowId, Stock, TicketTypeId};
use messaging::message::StockSync;
use messaging::{Effect, HandleError, Handler, ReceivedMessage, outbox_message};
use processors::circuit::CircuitConfig;
use processors::handlers::CacheHandler;
use processors::stock_cache::{CachedStock, InProcessStockCache, RedisCacheConfig, RedisStockCache, StockCache};

use crate::redis_server::RedisServer;
use crate::support::{SHOW, TICKET_TYPE};

#[tokio::test]
async fn the_cache_of_a_process_keeps_the_newest() {
    keeps_the_newest(&InProcessStockCache::new(60_000)).await;
}

#[tokio::test]
async fn redis_keeps_the_newest() {
    let Some(redis) = RedisServer::start_if_available("redis_keeps_the_newest") else { return };
    keeps_the_newest(&patient(&redis)).await;
}

async fn keeps_the_newest(cache: &dyn StockCache) {
    assert_eq!(cache.get(id()).await.unwrap(), None);
    assert_eq!(cache.offer(&[stock(2, 8)]).await.unwrap(), [true]);
    assert_eq!(cache.offer(&[stock(1, 10)]).await.unwrap(), [false], "a stale write is refused");
    assert_eq!(cache.offer(&[stock(2, 8)]).await.unwrap(), [false]);
    let other = CachedStock { ticket_type_id: TicketTypeId::new(TICKET_TYPE + 1).unwrap(), ..stock(1, 10) };
    assert_eq!(cache.offer(&[stock(3, 7), other.clone()]).await.unwrap(), [true, true]);
    assert_eq!(cache.get(id()).await.unwrap(), Some(stock(3, 7)));
    assert_eq!(cache.get(other.ticket_type_id).await.unwrap(), Some(other));
}

#[tokio::test]
async fn writers_that_race_in_redis_leave_the_newest() {
    let Some(redis) = RedisServer::start_if_available("writers_that_race_in_redis_leave_the_newest") else { return };
    let writing = (0..8).map(|writer| {
        let cache = patient(&redis);
        async move {
            for n in 0..50 {
                // Each writer has another order of the same versions.
                let version = (n * 7 + writer * 13) % 50 + 1;
                cache.offer(&[stock(version, 10)]).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(writing).await;
    assert_eq!(patient(&redis).get(id()).await.unwrap().unwrap().version, 50);
}

#[tokio::test]
async fn redis_forgets_what_nobody_mentions() {
    let Some(redis) = RedisServer::start_if_available("redis_forgets_what_nobody_mentions") else { return };
    let cache = RedisStockCache::new(RedisCacheConfig { ttl_ms: 50, ..config(&redis) }).unwrap();
    cache.offer(&[stock(1, 10)]).await.unwrap();
    until("the entry is forgotten", async || cache.get(id()).await == Ok(None)).await;
}

#[tokio::test]
async fn a_killed_redis_is_found_again_and_what_was_to_be_written_waits() {
    let Some(mut redis) = RedisServer::start_if_available("a_killed_redis_is_found_again") else { return };
    let cache = Arc::new(patient(&redis));
    let handler = CacheHandler::new(cache.clone());
    cache.offer(&[stock(1, 10)]).await.unwrap();
    redis.kill();
    assert!(cache.get(id()).await.is_err());
    let waiting = handler.handle(&[sync(2, 9)]).await;
    assert!(matches!(waiting[0], Err(HandleError::Transient(_))), "{waiting:?}");
    redis.start();
    until("the write is taken", async || handler.handle(&[sync(2, 9)]).await == [Ok(Effect::Applied)]).await;
    assert_eq!(cache.get(id()).await.unwrap(), Some(stock(2, 9)));
}

#[tokio::test]
async fn a_frozen_redis_costs_a_query_milliseconds_and_soon_nothing() {
    let Some(redis) = RedisServer::start_if_available("a_frozen_redis_costs_a_query_milliseconds") else { return };
    let circuit = CircuitConfig { failure_threshold: 3, open_ms: 60_000 };
    let cache = RedisStockCache::new(RedisCacheConfig { circuit, read_timeout_ms: 10, ..config(&redis) }).unwrap();
    redis.freeze();
    for _ in 0..3 {
        assert!(cache.get(id()).await.is_err());
    }
    // Left alone: a thousand queries do not wait a thousand times.
    let since = Instant::now();
    for _ in 0..1_000 {
        assert!(cache.get(id()).await.is_err());
    }
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[tokio::test]
async fn of_a_batch_the_newest_is_written_and_what_cannot_be_read_is_poison() {
    let cache = Arc::new(InProcessStockCache::new(60_000));
    let handler = CacheHandler::new(cache.clone());
    let unplaced = ReceivedMessage { position: None, ..sync(9, 1) };
    let broken = ReceivedMessage { data: serde_json::value::to_raw_value("nonsense").unwrap(), ..sync(4, 6) };
    let outcomes = handler.handle(&[sync(3, 7), sync(1, 10), broken, unplaced]).await;
    assert_eq!(outcomes[..2], [Ok(Effect::Applied), Ok(Effect::Duplicate)]);
    assert!(matches!(outcomes[2], Err(HandleError::Poison(_))), "{outcomes:?}");
    assert_eq!(outcomes[3], Ok(Effect::Duplicate), "which event it tells of is not known");
    assert_eq!(cache.get(id()).await.unwrap(), Some(stock(3, 7)));
}

#[tokio::test]
async fn an_address_that_is_not_one_is_refused() {
    assert!(RedisStockCache::new(RedisCacheConfig::new("http://localhost")).is_err());
}

fn config(redis: &RedisServer) -> RedisCacheConfig {
    RedisCacheConfig::new(redis.url())
}

/// Waits as long as a busy machine needs, and never leaves Redis alone for long.
fn patient(redis: &RedisServer) -> RedisStockCache {
    let circuit = CircuitConfig { failure_threshold: 3, open_ms: 10 };
    RedisStockCache::new(RedisCacheConfig { read_timeout_ms: 5_000, write_timeout_ms: 5_000, circuit, ..config(redis) })
        .unwrap()
}

fn id() -> TicketTypeId {
    TicketTypeId::new(TICKET_TYPE).unwrap()
}

fn stock(version: i64, available: i64) -> CachedStock {
    let locked = 10 - available;
    CachedStock { ticket_type_id: id(), capacity: 10, available, locked, sold: 0, version, position: 100 + version }
}

/// The message that tells of [`stock`].
fn sync(version: u64, available: u32) -> ReceivedMessage {
    let sync = StockSync {
        ticket_type_id: id(),
        show_id: ShowId::new(SHOW).unwrap(),
        capacity: 10,
        available,
        locked: 10 - available,
        sold: 0,
        stream_version: version,
        sync_time: 0,
    };
    let sent = outbox_message(uuid::Uuid::now_v7(), chrono::Utc::now(), &sync);
    let properties = HashMap::from([
        ("streamId".to_owned(), Stock::stream_id(&TICKET_TYPE.to_string())),
        ("streamVersion".to_owned(), version.to_string()),
        ("position".to_owned(), (100 + version).to_string()),
    ]);
    ReceivedMessage::from_parts("stock-sync", sent.body.as_bytes(), &properties).unwrap()
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let give_up_at = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < give_up_at, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
