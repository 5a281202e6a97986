//! Compensations that fail: retried, handed over, and what a person decides.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use chrono::TimeDelta;
use domain::fulfilment::{FulfilmentStep, ResolveAction};
use domain::payment::PaymentStatus;
use domain::{Fulfilment, OrderId, OrderStatus, Payment, PaymentId};
use event_store::Metadata;
use messaging::{Handler, Topic};
use processors::audit;
use processors::commands::PaymentKey;
use processors::provider::CallbackStatus::Succeeded;
use processors::resolution::{self, Decision, Resolution, ResolutionError};

use crate::support::Shop;

/// A cancelled order whose money came late, at a provider that refuses to give it back.
async fn refused_refund() -> (Shop, OrderId, PaymentId) {
    let mut shop = Shop::open(2).await;
    let order_id = shop.place_and_lock(2).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.cancel(&order_id).await.unwrap();
    shop.deliver_all().await;
    shop.provider.refuses_refunds.store(true, SeqCst);
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    (shop, order_id, payment_id)
}

async fn resolve(shop: &Shop, order_id: &OrderId, action: ResolveAction) -> Result<Resolution, ResolutionError> {
    let handler_of = |name: &str| -> Option<Arc<dyn Handler>> {
        shop.handlers.iter().find(|handler| handler.name() == name).cloned()
    };
    let decision = Decision {
        order_id: order_id.clone(),
        action,
        reason: "asked the bank".to_owned(),
        metadata: Metadata { actor: Some("user:7".to_owned()), ..Metadata::default() },
    };
    resolution::resolve(&shop.ledger, &handler_of, decision).await
}

/// Seconds until the provider is asked again; `None`: it is not.
async fn next_attempt_seconds(shop: &Shop) -> Option<f64> {
    sqlx::query_scalar("SELECT extract(epoch FROM due_at - now())::float8 FROM store.deadline WHERE kind = 'refund'")
        .fetch_optional(&shop.pool)
        .await
        .unwrap()
}

async fn is_handed_over(shop: &Shop, order_id: &OrderId) -> bool {
    shop.ledger.load::<Fulfilment>(order_id.as_str()).await.unwrap().state.begun.unwrap().is_handed_over()
}

#[tokio::test]
async fn a_refused_refund_is_asked_for_ever_more_rarely_and_then_handed_over() {
    let (mut shop, order_id, payment_id) = refused_refund().await;
    for pause in [2.0, 4.0, 8.0, 16.0] {
        shop.make_due("refund").await;
        shop.fail_deadlines().await;
        let next = next_attempt_seconds(&shop).await.unwrap();
        assert!(next > pause * 0.5 && next <= pause, "{next} s instead of {pause} s");
        assert!(!is_handed_over(&shop, &order_id).await);
    }
    shop.make_due("refund").await;
    shop.fail_deadlines().await;
    assert_eq!(next_attempt_seconds(&shop).await, None);
    assert!(is_handed_over(&shop, &order_id).await);
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunding, "the money is still owed");
    assert_eq!(shop.payment_status(&payment_id).await, PaymentStatus::Refunding);
}

#[tokio::test]
async fn a_provider_that_is_away_is_asked_for_as_long_as_it_takes() {
    let (mut shop, order_id, _) = refused_refund().await;
    shop.provider.is_down.store(true, SeqCst);
    for _ in 0..10 {
        shop.make_due("refund").await;
        shop.fail_deadlines().await;
        assert!(next_attempt_seconds(&shop).await.is_some());
    }
    assert!(!is_handed_over(&shop, &order_id).await);
}

async fn handed_over() -> (Shop, OrderId, PaymentId) {
    let (mut shop, order_id, payment_id) = refused_refund().await;
    for _ in 0..5 {
        shop.make_due("refund").await;
        shop.fail_deadlines().await;
    }
    (shop, order_id, payment_id)
}

#[tokio::test]
async fn a_retried_refund_is_asked_for_at_once() {
    let (mut shop, order_id, payment_id) = handed_over().await;
    shop.provider.refuses_refunds.store(false, SeqCst);
    let resolution = resolve(&shop, &order_id, ResolveAction::Retry).await.unwrap();
    assert_eq!((resolution.step, resolution.remaining), (FulfilmentStep::Refunding, vec!["refund_payment"]));
    assert_eq!(shop.act_on_deadlines().await, 1);
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunded);
    assert_eq!(shop.provider.refunds(), [payment_id]);
}

#[tokio::test]
async fn a_skipped_refund_is_complete_and_says_that_it_was_by_hand() {
    let (shop, order_id, payment_id) = handed_over().await;
    let resolution = resolve(&shop, &order_id, ResolveAction::Skip).await.unwrap();
    assert_eq!((resolution.step, resolution.remaining), (FulfilmentStep::Refunded, vec![]));
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunded);
    let payment = shop.ledger.load::<Payment>(payment_id.as_str()).await.unwrap().state.requested.unwrap();
    assert_eq!(payment.provider_reference.as_deref(), Some("manual:asked the bank"));
    assert_eq!(payment.refunded, payment.captured, "captured minus refunded is nothing");
    assert_eq!(shop.provider.refunds(), []);

    let recorded = audit::list(&shop.pool, None, 10).await.unwrap();
    assert_eq!((recorded[0].actor.as_str(), recorded[0].action.as_str()), ("user:7", "saga.resolve"));
    assert_eq!(recorded[0].detail["action"], "skip");
}

#[tokio::test]
async fn a_runner_that_was_slow_asks_for_no_refund_that_was_skipped() {
    let (shop, order_id, payment_id) = handed_over().await;
    resolve(&shop, &order_id, ResolveAction::Skip).await.unwrap();
    let key = PaymentKey { order_id, payment_id }.to_string();
    let read_at = shop.ledger.now();

    shop.provider.refuses_refunds.store(false, SeqCst);
    shop.act_late("refund", key.clone(), read_at).await;
    assert_eq!(shop.provider.refunds(), [], "the money went back by hand");
    // One whose call was under way meanwhile, in vain, would ask again later.
    event_store::deadline::postpone(&shop.pool, "refund", &key, read_at, TimeDelta::seconds(2)).await.unwrap();
    assert_eq!(shop.deadlines("refund").await, 0);
}

/// An expired order whose rollback became a dead letter.
async fn dead_rollback(reason: &str) -> (Shop, OrderId, i64) {
    let mut shop = Shop::open(2).await;
    let order_id = shop.place_and_lock(2).await;
    shop.let_time_pass("order_expiry").await;
    let rollback = shop.take_one(Topic::StockRollback).await;
    let id = sqlx::query_scalar(include_str!("resolving/dead_letter.sql"))
        .bind(order_id.as_str())
        .bind(rollback.message_id)
        .bind(reason)
        .fetch_one(&shop.pool)
        .await
        .unwrap();
    (shop, order_id, id)
}

async fn letter_state(shop: &Shop, id: i64) -> String {
    sqlx::query_scalar("SELECT state FROM messaging.dead_letter WHERE id = $1")
        .bind(id)
        .fetch_one(&shop.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_dead_rollback_is_applied_again() {
    let (mut shop, order_id, letter) = dead_rollback("the database was upside down").await;
    let resolution = resolve(&shop, &order_id, ResolveAction::Retry).await.unwrap();
    assert_eq!((resolution.step, resolution.letters.redriven), (FulfilmentStep::Compensated, 1));
    assert_eq!(letter_state(&shop, letter).await, "redriven");
    assert_eq!(shop.levels().await, (2, 0, 0));
    // The rollback that was asked for beside it finds nothing left to do.
    shop.deliver_all().await;
    assert_eq!(shop.levels().await, (2, 0, 0));
}

#[tokio::test]
async fn a_skipped_rollback_puts_the_tickets_on_sale_itself() {
    let (shop, order_id, letter) = dead_rollback("it never works").await;
    let resolution = resolve(&shop, &order_id, ResolveAction::Skip).await.unwrap();
    assert_eq!((resolution.step, resolution.letters.discarded), (FulfilmentStep::Compensated, 1));
    assert_eq!(letter_state(&shop, letter).await, "discarded");
    assert_eq!(shop.levels().await, (2, 0, 0));
    assert_eq!(shop.status(&order_id).await, OrderStatus::Expired);
    assert_eq!(shop.deadlines("lock_lapse").await, 0);
    shop.assert_stock_adds_up().await;
}

#[tokio::test]
async fn a_lost_rollback_is_asked_for_again() {
    let mut shop = Shop::open(2).await;
    let order_id = shop.place_and_lock(2).await;
    shop.let_time_pass("order_expiry").await;
    let lost = shop.take_one(Topic::StockRollback).await;
    resolve(&shop, &order_id, ResolveAction::Retry).await.unwrap();
    shop.deliver_all().await;
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::Compensated));
    assert_eq!(shop.levels().await, (2, 0, 0));
    // And should it turn up after all, it changes nothing.
    shop.deliver(&lost).await.unwrap();
    assert_eq!(shop.levels().await, (2, 0, 0));
}

#[tokio::test]
async fn a_step_that_is_not_undone_is_retried_and_never_skipped() {
    let mut shop = Shop::open(2).await;
    let order_id = shop.place_and_lock(2).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    let deduct = shop.take_one(Topic::StockDeduct).await;
    sqlx::query_scalar::<_, i64>(include_str!("resolving/dead_letter.sql"))
        .bind(order_id.as_str())
        .bind(deduct.message_id)
        .bind("it did not work")
        .fetch_one(&shop.pool)
        .await
        .unwrap();
    let refused = resolve(&shop, &order_id, ResolveAction::Skip).await.unwrap_err();
    assert!(matches!(refused, ResolutionError::NotSkippable { step: FulfilmentStep::DeductingStock }), "{refused}");
    let resolution = resolve(&shop, &order_id, ResolveAction::Retry).await.unwrap();
    assert_eq!((resolution.step, resolution.letters.redriven), (FulfilmentStep::Completed, 1));
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    assert_eq!(shop.levels().await, (0, 0, 2));
}
