use chrono::{DateTime, Utc};
use domain::OrderStatus;
use domain::fulfilment::FulfilmentStep;
use processors::Policy;
use processors::commands::{self, LockLapseKey, Origin, Settlement};
use processors::provider::CallbackStatus::Succeeded;

use crate::support::{Shop, code};

#[tokio::test]
async fn a_lapsed_lock_frees_its_tickets_and_the_payment_locks_again() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(2).await;
    let first_lock = shop.order(&order_id).await.lock_id.unwrap();
    shop.lapse(&order_id).await;
    assert_eq!(shop.levels().await, (10, 0, 0));
    assert_eq!(shop.status(&order_id).await, OrderStatus::AwaitingPayment);
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::LockLapsed));

    let payment_id = shop.pay(&order_id).await.unwrap();
    assert_eq!(shop.levels().await, (8, 2, 0));
    assert_ne!(shop.order(&order_id).await.lock_id.unwrap(), first_lock);
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    assert_eq!(shop.levels().await, (8, 0, 2));
}

#[tokio::test]
async fn a_lock_lapses_when_its_time_is_over_by_the_databases_clock() {
    let mut shop = Shop::open_with(10, Policy { lock_time_seconds: 1, ..Policy::default() }).await;
    let order_id = shop.place_and_lock(2).await;
    let mut polling = tokio::time::interval(std::time::Duration::from_millis(20));
    while shop.deadlines("lock_lapse").await > 0 {
        polling.tick().await;
        shop.act_on_deadlines().await;
    }
    assert_eq!(shop.levels().await, (10, 0, 0));
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::LockLapsed));
}

#[tokio::test]
async fn a_payment_is_refused_when_the_lapsed_tickets_are_someone_elses() {
    let mut shop = Shop::open(2).await;
    let late = shop.place_and_lock(2).await;
    shop.lapse(&late).await;
    shop.place_and_lock(1).await;
    assert_eq!(code(&shop.pay(&late).await.unwrap_err()), "stock_no_longer_available");
    assert_eq!(shop.status(&late).await, OrderStatus::AwaitingPayment);
    assert_eq!(shop.levels().await, (1, 1, 0));
}

#[tokio::test]
async fn a_lock_that_lapses_while_the_payment_runs_is_taken_again_with_the_capture() {
    let mut shop = Shop::open(2).await;
    let order_id = shop.place_and_lock(2).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.lapse(&order_id).await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Paying);
    assert_eq!(shop.levels().await, (2, 0, 0));
    assert_eq!(shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap(), Settlement::Paid);
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    assert_eq!(shop.levels().await, (0, 0, 2));
}

#[tokio::test]
async fn a_capture_whose_lapsed_tickets_are_sold_goes_back() {
    let mut shop = Shop::open(2).await;
    let order_id = shop.place_and_lock(2).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.lapse(&order_id).await;
    shop.place_and_lock(1).await;
    assert_eq!(shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap(), Settlement::RefundStarted);
    shop.act_on_deadlines().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunded);
    assert_eq!(shop.provider.refunds(), [payment_id]);
    assert_eq!(shop.deadlines("order_expiry").await, 1, "only the other order may still expire");
}

#[tokio::test]
async fn a_paid_lock_does_not_lapse() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let lock_id = shop.order(&order_id).await.lock_id.unwrap();
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    assert_eq!(shop.deadlines("lock_lapse").await, 0);

    // One that was read before the capture and acted on after it.
    let due_at = shop.stock().await.locks[&lock_id].expires_at;
    let key = LockLapseKey {
        ticket_type_id: shop.order(&order_id).await.ticket_type_id,
        order_id: order_id.clone(),
        lock_id,
    };
    commands::lapse_lock(&shop.ledger, Origin::default(), key, due_at).await.unwrap();
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
}

#[tokio::test]
async fn a_payment_that_starts_late_renews_its_lock() {
    let mut shop = Shop::open_with(10, Policy { lock_time_seconds: 59, ..Policy::default() }).await;
    let order_id = shop.place_and_lock(1).await;
    let lock_id = shop.order(&order_id).await.lock_id.unwrap();
    let granted_until = shop.stock().await.locks[&lock_id].expires_at;
    shop.pay(&order_id).await.unwrap();
    let renewed_until = shop.stock().await.locks[&lock_id].expires_at;
    assert!(renewed_until > granted_until);

    // A deadline that was read before the renewal and acted on after it.
    let key = LockLapseKey {
        ticket_type_id: shop.order(&order_id).await.ticket_type_id,
        order_id: order_id.clone(),
        lock_id,
    };
    commands::lapse_lock(&shop.ledger, Origin::default(), key, granted_until).await.unwrap();
    assert_eq!(shop.levels().await, (9, 1, 0));
    assert_eq!(shop.deadlines("lock_lapse").await, 1);
}

#[tokio::test]
async fn a_deadline_that_comes_before_its_lock_ends_is_set_to_that_end() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let lock_id = shop.order(&order_id).await.lock_id.unwrap();
    let ends_at = shop.stock().await.locks[&lock_id].expires_at;
    shop.let_time_pass("lock_lapse").await;
    assert_eq!(shop.levels().await, (9, 1, 0));

    let due_at: DateTime<Utc> = sqlx::query_scalar("SELECT due_at FROM store.deadline WHERE kind = 'lock_lapse'")
        .fetch_one(&shop.pool)
        .await
        .unwrap();
    assert_eq!(due_at.timestamp_millis(), ends_at.timestamp_millis());
    assert_eq!(shop.act_on_deadlines().await, 0, "nothing is due until then");
}

#[tokio::test]
async fn a_payment_that_starts_early_leaves_its_lock_as_it_is() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let lock_id = shop.order(&order_id).await.lock_id.unwrap();
    let before = shop.stock().await.locks[&lock_id].clone();
    shop.pay(&order_id).await.unwrap();
    assert_eq!(shop.stock().await.locks[&lock_id], before);
}
