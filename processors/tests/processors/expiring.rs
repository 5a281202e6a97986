use domain::OrderStatus;
use domain::fulfilment::FulfilmentStep;
use domain::payment::PaymentStatus;
use processors::commands::Settlement;
use processors::provider::CallbackStatus::{Failed, Succeeded};

use crate::support::{Shop, code};

#[tokio::test]
async fn an_unpaid_order_expires_and_its_tickets_go_back() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(2).await;
    shop.let_time_pass("order_expiry").await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Expired);
    shop.deliver_all().await;
    assert_eq!(shop.levels().await, (10, 0, 0));
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::Compensated));
    assert_eq!(code(&shop.pay(&order_id).await.unwrap_err()), "order_ended");
    assert_eq!(code(&shop.cancel(&order_id).await.unwrap_err()), "not_cancellable");
    assert_eq!(shop.deadlines("order_expiry").await, 0);
}

#[tokio::test]
async fn an_order_that_was_never_taken_up_expires_too() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place(1).await;
    shop.let_time_pass("order_expiry").await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Expired);
    shop.deliver_all().await;
    assert_eq!(shop.levels().await, (10, 0, 0));
}

#[tokio::test]
async fn a_paid_order_never_expires() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    shop.let_time_pass("order_expiry").await;
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
}

#[tokio::test]
async fn a_capture_after_expiry_saves_the_order_while_tickets_are_left() {
    for rollback_first in [false, true] {
        let mut shop = Shop::open(2).await;
        let order_id = shop.place_and_lock(2).await;
        let payment_id = shop.pay(&order_id).await.unwrap();
        shop.let_time_pass("order_expiry").await;
        if rollback_first {
            shop.deliver_all().await;
        }
        assert_eq!(shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap(), Settlement::Paid);
        shop.deliver_all().await;
        assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed, "rollback first: {rollback_first}");
        assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::Completed));
        assert_eq!(shop.levels().await, (0, 0, 2));
        assert_eq!(shop.deadlines("lock_lapse").await, 0);
    }
}

#[tokio::test]
async fn a_capture_after_expiry_goes_back_once_the_tickets_are_someone_elses() {
    let mut shop = Shop::open(2).await;
    let order_id = shop.place_and_lock(2).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.let_time_pass("order_expiry").await;
    shop.deliver_all().await;
    shop.place_and_lock(1).await;

    assert_eq!(shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap(), Settlement::RefundStarted);
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunding);
    shop.act_on_deadlines().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunded);
    assert_eq!(shop.payment_status(&payment_id).await, PaymentStatus::Refunded);
    assert_eq!(shop.levels().await, (1, 1, 0));
}

#[tokio::test]
async fn a_decline_after_expiry_leaves_the_order_expired() {
    let mut shop = Shop::open(2).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.let_time_pass("order_expiry").await;
    shop.call_back(&order_id, &payment_id, Failed).await.unwrap();
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Expired);
    assert_eq!(shop.levels().await, (2, 0, 0));
}

#[tokio::test]
async fn thousands_that_are_due_at_once_are_acted_on_in_bounded_steps() {
    let mut shop = Shop::open(10).await;
    let placing = (0..2_000).map(|_| shop.place(1));
    let orders = futures_util::future::join_all(placing).await;
    shop.make_due("order_expiry").await;
    let batches = appends(&shop).await;
    let mut steps = Vec::new();
    while shop.deadlines("order_expiry").await > 0 {
        steps.push(shop.act_on_deadlines().await);
    }
    assert_eq!(steps, [500; 4]);
    let taken = appends(&shop).await - batches;
    assert!(taken <= 40, "2,000 orders took {taken} appends: they are to share them");
    for order_id in orders.iter().step_by(100) {
        assert_eq!(shop.status(order_id).await, OrderStatus::Expired);
    }
}

#[tokio::test]
async fn a_process_that_dies_between_two_steps_loses_no_deadline() {
    let mut shop = Shop::open(10).await;
    let held = shop.place_and_lock(1).await;
    let placing = (0..1_100).map(|_| shop.place(1));
    let mut orders = futures_util::future::join_all(placing).await;
    orders.push(held);
    shop.make_due("order_expiry").await;
    assert_eq!(shop.act_on_deadlines().await, 500);
    shop.restart().await;
    while shop.deadlines("order_expiry").await > 0 {
        shop.act_on_deadlines().await;
    }
    let expired: i64 = sqlx::query_scalar("SELECT count(*) FROM store.events WHERE type = 'OrderExpired'")
        .fetch_one(&shop.pool)
        .await
        .unwrap();
    assert_eq!(expired, 1_101, "each once");
    shop.deliver_all().await;
    assert_eq!(shop.levels().await, (10, 0, 0));
}

async fn appends(shop: &Shop) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM store.ledger_batch").fetch_one(&shop.pool).await.unwrap()
}
