//! A provider that does not answer is left alone; the API knows, and no payment is lost.

use std::sync::Arc;
use std::time::Duration;

use domain::{Money, OrderStatus, PaymentId};
use messaging::{Effect, HandleError, Topic};
use processors::circuit::{CircuitBoard, CircuitConfig};
use processors::handlers::{self, ProcessorParts};
use processors::provider::{DEPENDENCY, GuardedProvider, PaymentProvider, ProviderError};
use sqlx::PgPool;

use crate::support::{RecordingProvider, Shop, migrated_pool};

/// Longer than any test: only a test that wants it sees the end of the pause.
const LONG_MS: u64 = 600_000;

fn guarded(provider: &Arc<RecordingProvider>, pool: &PgPool, open_ms: u64) -> GuardedProvider {
    let config = CircuitConfig { failure_threshold: 3, open_ms };
    GuardedProvider::new(provider.clone(), config, CircuitBoard::new(pool.clone(), DEPENDENCY))
}

/// The board as another process reads it for the first time.
async fn open_for(pool: &PgPool) -> Option<Duration> {
    CircuitBoard::new(pool.clone(), DEPENDENCY).open_for().await
}

fn any_payment() -> PaymentId {
    PaymentId::parse("PAY202312250001").unwrap()
}

#[tokio::test]
async fn after_so_many_failures_nobody_calls_and_every_process_knows() {
    let pool = migrated_pool().await;
    let provider = Arc::new(RecordingProvider::default());
    let guarded = guarded(&provider, &pool, LONG_MS);
    provider.go_away();
    for _ in 0..3 {
        assert_eq!(open_for(&pool).await, None);
        let failed = guarded.query(&any_payment()).await;
        assert!(matches!(failed, Err(ProviderError::Unavailable(_))), "{failed:?}");
    }
    assert!(open_for(&pool).await.unwrap() > Duration::from_millis(LONG_MS / 2));

    provider.come_back();
    let refused = guarded.refund(&any_payment(), Money::parse("1.00").unwrap()).await;
    assert!(matches!(refused, Err(ProviderError::CircuitOpen)), "{refused:?}");
    assert!(provider.refunds().is_empty());
}

#[tokio::test]
async fn once_the_pause_is_over_one_answer_closes_it_for_everyone() {
    let pool = migrated_pool().await;
    let provider = Arc::new(RecordingProvider::default());
    let guarded = guarded(&provider, &pool, 1);
    provider.go_away();
    for _ in 0..3 {
        guarded.query(&any_payment()).await.unwrap_err();
    }
    provider.come_back();
    let mut polling = tokio::time::interval(Duration::from_millis(1));
    while guarded.query(&any_payment()).await.is_err() {
        polling.tick().await;
    }
    assert_eq!(open_for(&pool).await, None);
    let state: String = sqlx::query_scalar("SELECT state FROM processing.circuit").fetch_one(&pool).await.unwrap();
    assert_eq!(state, "closed");
}

#[tokio::test]
async fn news_that_nobody_renews_end_by_themselves() {
    let pool = migrated_pool().await;
    let board = CircuitBoard::new(pool.clone(), DEPENDENCY);
    board.opened(Duration::from_secs(600)).await.unwrap();
    assert!(open_for(&pool).await.is_some());
    // Whoever reported it is dead: time passes.
    sqlx::query("UPDATE processing.circuit SET open_until = now() - interval '1 second'").execute(&pool).await.unwrap();
    assert_eq!(open_for(&pool).await, None);
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let pool = migrated_pool().await;
    let provider = Arc::new(RecordingProvider::default());
    let guarded = guarded(&provider, &pool, LONG_MS);
    provider.forget(&any_payment());
    for _ in 0..10 {
        let refused = guarded.query(&any_payment()).await;
        assert!(matches!(refused, Err(ProviderError::Refused { status: 404, .. })), "{refused:?}");
    }
    assert_eq!(open_for(&pool).await, None);
}

#[tokio::test]
async fn a_payment_that_meets_an_open_circuit_stays_paying_and_is_started_later() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    let guarded = Arc::new(guarded(&shop.provider, &shop.pool, 1));
    let parts = ProcessorParts { provider: guarded.clone(), ..shop.parts.clone() };
    let handler = handlers::handler("payment", &shop.ledger, &parts).unwrap();
    let message = [shop.take_one(Topic::OrderPayment).await];

    shop.provider.go_away();
    for _ in 0..5 {
        let outcome = handler.handle(&message).await.remove(0);
        assert!(matches!(outcome, Err(HandleError::Transient(_))), "{outcome:?}");
    }
    assert_eq!(shop.status(&order_id).await, OrderStatus::Paying);

    shop.provider.come_back();
    let mut polling = tokio::time::interval(Duration::from_millis(1));
    loop {
        match handler.handle(&message).await.remove(0) {
            Ok(effect) => break assert_eq!(effect, Effect::Applied),
            Err(error) => assert!(matches!(error, HandleError::Transient(_)), "{error}"),
        }
        polling.tick().await;
    }
    assert_eq!(shop.provider.starts(), [payment_id]);
}
