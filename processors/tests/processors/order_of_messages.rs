use domain::OrderStatus;
use domain::fulfilment::FulfilmentStep;
use messaging::message::{StockDeduct, StockLock};
use messaging::{Effect, HandleError, ReceivedMessage, Topic, outbox_message};
use processors::provider::CallbackStatus::Succeeded;

use crate::support::Shop;

#[tokio::test]
async fn a_rollback_before_its_lock_is_remembered_and_the_lock_refused() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place(1).await;
    let create = shop.take_one(Topic::OrderCreate).await;
    shop.deliver(&create).await.unwrap();
    let lock = shop.take_one(Topic::StockLock).await;
    shop.cancel(&order_id).await.unwrap();
    let cancel = shop.take_one(Topic::OrderCancel).await;
    shop.deliver(&cancel).await.unwrap();
    let rollback = shop.take_one(Topic::StockRollback).await;

    assert_eq!(shop.deliver(&rollback).await, Ok(Effect::Applied));
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::Compensated));
    assert_eq!(shop.deliver(&lock).await, Ok(Effect::Applied));
    assert_eq!(shop.levels().await, (10, 0, 0));
    assert_eq!(shop.status(&order_id).await, OrderStatus::Cancelled);
}

#[tokio::test]
async fn a_cancellation_before_the_creation_leaves_nothing_to_do() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place(1).await;
    shop.cancel(&order_id).await.unwrap();
    let create = shop.take_one(Topic::OrderCreate).await;
    let cancel = shop.take_one(Topic::OrderCancel).await;
    assert_eq!(shop.deliver(&cancel).await, Ok(Effect::Applied));
    assert_eq!(shop.deliver(&create).await, Ok(Effect::Applied));
    assert!(shop.take(Topic::StockLock).await.is_empty());
    assert_eq!(shop.saga(&order_id).await, None);
}

#[tokio::test]
async fn a_deduct_before_its_lock_fails_until_the_lock_is_there() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place(1).await;
    let create = shop.take_one(Topic::OrderCreate).await;
    shop.deliver(&create).await.unwrap();
    let lock = shop.take_one(Topic::StockLock).await;
    let deduct = deduct_of(&lock);
    let head = shop.head().await;
    let outcome = shop.deliver(&deduct).await;
    assert!(matches!(outcome, Err(HandleError::Failed(_))), "{outcome:?}");
    assert_eq!(shop.head().await, head);

    // The same message, once there is something to deduct.
    shop.deliver(&lock).await.unwrap();
    shop.deliver_all().await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    assert_eq!(shop.deliver(&deduct).await, Ok(Effect::Applied));
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    shop.deliver_all().await;
    assert_eq!(shop.levels().await, (9, 0, 1));
}

#[tokio::test]
async fn a_message_that_fails_takes_no_other_with_it() {
    let mut shop = Shop::open(10).await;
    let mut locks = Vec::new();
    for _ in 0..2 {
        shop.place(1).await;
        let create = shop.take_one(Topic::OrderCreate).await;
        shop.deliver(&create).await.unwrap();
        locks.push(shop.take_one(Topic::StockLock).await);
    }
    let batch = [locks[0].clone(), deduct_of(&locks[1]), locks[1].clone()];
    let outcomes = shop.deliver_batch(&batch).await;
    assert_eq!(outcomes[0], Ok(Effect::Applied));
    assert!(matches!(outcomes[1], Err(HandleError::Failed(_))));
    assert_eq!(outcomes[2], Ok(Effect::Applied));
    assert_eq!(shop.levels().await, (8, 2, 0));
}

#[tokio::test]
async fn a_message_that_is_not_what_its_topic_carries_is_poison() {
    let mut shop = Shop::open(10).await;
    shop.place(1).await;
    let mut create = shop.take_one(Topic::OrderCreate).await;
    create.data = serde_json::value::RawValue::from_string("{\"orderId\":\"nonsense\"}".to_owned()).unwrap();
    let outcome = shop.deliver(&create).await;
    assert!(matches!(outcome, Err(HandleError::Poison(_))), "{outcome:?}");
}

/// The deduct that would follow this lock.
fn deduct_of(lock: &ReceivedMessage) -> ReceivedMessage {
    let lock: StockLock = lock.decode().unwrap();
    let deduct = StockDeduct {
        lock_id: lock.lock_id,
        order_id: lock.order_id,
        ticket_type_id: lock.ticket_type_id,
        quantity: lock.quantity,
        deduct_time: 0,
    };
    let sent = outbox_message(uuid::Uuid::now_v7(), chrono::Utc::now(), &deduct);
    ReceivedMessage::from_parts(&sent.topic, sent.body.as_bytes(), &Default::default()).unwrap()
}
