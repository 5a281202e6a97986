use domain::OrderStatus;
use domain::fulfilment::FulfilmentStep;
use domain::payment::PaymentStatus;
use messaging::Topic;
use processors::Policy;
use processors::commands::{Cancellation, Settlement};
use processors::provider::CallbackStatus::Succeeded;

use crate::support::{Shop, code};

#[tokio::test]
async fn a_pending_order_is_cancelled_before_it_gets_tickets() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place(1).await;
    assert_eq!(shop.cancel(&order_id).await.unwrap(), Cancellation::Cancelled);
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Cancelled);
    assert_eq!(shop.saga(&order_id).await, None);
    assert_eq!(shop.levels().await, (10, 0, 0));
    assert_eq!(shop.deadlines("order_expiry").await, 0);
}

#[tokio::test]
async fn a_lock_asked_for_before_the_cancellation_is_refused_after_it() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place(1).await;
    let create = shop.take_one(Topic::OrderCreate).await;
    shop.deliver(&create).await.unwrap();
    shop.cancel(&order_id).await.unwrap();
    let lock = shop.take_one(Topic::StockLock).await;
    shop.deliver(&lock).await.unwrap();
    assert_eq!(shop.levels().await, (10, 0, 0));
    shop.deliver_all().await;
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::LockRefused));
}

#[tokio::test]
async fn a_cancelled_orders_tickets_go_back_on_sale() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(2).await;
    shop.cancel(&order_id).await.unwrap();
    assert_eq!(shop.levels().await, (8, 2, 0));
    shop.deliver_all().await;
    assert_eq!(shop.levels().await, (10, 0, 0));
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::Compensated));
    assert_eq!(shop.deadlines("lock_lapse").await, 0);
    assert_eq!(shop.cancel(&order_id).await.unwrap(), Cancellation::CancelledBefore);
}

#[tokio::test]
async fn money_captured_after_the_cancellation_goes_back() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.cancel(&order_id).await.unwrap();
    shop.deliver_all().await;
    assert_eq!(shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap(), Settlement::RefundStarted);
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunding);
    shop.act_on_deadlines().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunded);
    assert_eq!(shop.payment_status(&payment_id).await, PaymentStatus::Refunded);
    assert_eq!(shop.provider.refunds(), [payment_id]);
    assert_eq!(shop.levels().await, (10, 0, 0));
}

#[tokio::test]
async fn no_money_is_asked_for_an_order_that_was_cancelled_meanwhile() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    shop.pay(&order_id).await.unwrap();
    shop.cancel(&order_id).await.unwrap();
    shop.deliver_all().await;
    assert!(shop.provider.started.lock().unwrap().is_empty());
}

#[tokio::test]
async fn paid_and_confirmed_orders_are_not_cancelled() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    assert_eq!(code(&shop.cancel(&order_id).await.unwrap_err()), "not_cancellable");
    shop.deliver_all().await;
    assert_eq!(code(&shop.cancel(&order_id).await.unwrap_err()), "not_cancellable");
}

#[tokio::test]
async fn where_the_policy_allows_it_a_confirmed_order_is_returned_and_refunded() {
    let mut shop = Shop::open_with(10, Policy { cancel_confirmed: true, ..Policy::default() }).await;
    let order_id = shop.place_and_lock(2).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    assert_eq!(code(&shop.cancel(&order_id).await.unwrap_err()), "not_cancellable");
    shop.deliver_all().await;
    assert_eq!(shop.levels().await, (8, 0, 2));

    assert_eq!(shop.cancel(&order_id).await.unwrap(), Cancellation::RefundStarted);
    assert_eq!(shop.levels().await, (10, 0, 0));
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunding);
    shop.act_on_deadlines().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunded);
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::Refunded));
    assert_eq!(shop.provider.refunds(), [payment_id]);
}
