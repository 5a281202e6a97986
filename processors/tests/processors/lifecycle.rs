use domain::fulfilment::FulfilmentStep;
use domain::{OrderStatus, TicketTypeId};
use event_store::{CommandError, CommandKey, Metadata};
use messaging::{Effect, Topic};
use processors::commands::{self, NewOrder, Origin, PlaceOrder, Settlement, UseCaseError};
use processors::provider::CallbackStatus;

use crate::support::{SHOW, Shop, TICKET_TYPE, USER, code};

#[tokio::test]
async fn an_order_goes_from_placed_to_confirmed() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place(2).await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Pending);

    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::AwaitingPayment);
    assert_eq!(shop.levels().await, (8, 2, 0));

    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Paying);
    assert_eq!(*shop.provider.started.lock().unwrap(), std::slice::from_ref(&payment_id));

    let settled = shop.call_back(&order_id, &payment_id, CallbackStatus::Succeeded).await.unwrap();
    assert_eq!(settled, Settlement::Paid);
    assert_eq!(shop.status(&order_id).await, OrderStatus::Paid);

    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::Completed));
    assert_eq!(shop.levels().await, (8, 0, 2));
    for kind in ["order_expiry", "lock_lapse", "refund"] {
        assert_eq!(shop.deadlines(kind).await, 0, "{kind}");
    }
}

#[tokio::test]
async fn when_the_tickets_are_gone_further_orders_are_rejected() {
    let mut shop = Shop::open(3).await;
    let mut orders = Vec::new();
    for _ in 0..5 {
        orders.push(shop.place(1).await);
    }
    shop.deliver_all().await;
    let mut statuses = Vec::new();
    for order_id in &orders {
        statuses.push(shop.status(order_id).await);
    }
    assert_eq!(statuses.iter().filter(|status| **status == OrderStatus::AwaitingPayment).count(), 3);
    assert_eq!(statuses.iter().filter(|status| **status == OrderStatus::Rejected).count(), 2);
    assert_eq!(shop.levels().await, (0, 3, 0));
    let rejected = shop.order(&orders[4]).await;
    assert_eq!(rejected.reason.as_deref(), Some("insufficient_stock"));
    assert_eq!(shop.saga(&orders[4]).await, Some(FulfilmentStep::LockRefused));
}

#[tokio::test]
async fn a_batch_of_locks_is_decided_in_its_order() {
    let mut shop = Shop::open(2).await;
    for _ in 0..4 {
        shop.place(1).await;
    }
    let creates = shop.take(Topic::OrderCreate).await;
    shop.deliver_batch(&creates).await;
    let locks = shop.take(Topic::StockLock).await;
    let outcomes = shop.deliver_batch(&locks).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(Effect::Applied)), "{outcomes:?}");
    for (index, lock) in locks.iter().enumerate() {
        let data: messaging::message::StockLock = lock.decode().unwrap();
        let expected = if index < 2 { OrderStatus::AwaitingPayment } else { OrderStatus::Rejected };
        assert_eq!(shop.status(&data.order_id).await, expected, "lock {index}");
    }
}

#[tokio::test]
async fn every_message_delivered_three_times_has_one_effect() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place(1).await;
    let mut paid = false;
    loop {
        let messages = std::mem::take(shop.waiting().await);
        if messages.is_empty() && paid {
            break;
        }
        for message in &messages {
            assert_eq!(shop.deliver(message).await, Ok(Effect::Applied), "{}", message.topic);
            let head = shop.head().await;
            for _ in 0..2 {
                assert_eq!(shop.deliver(message).await, Ok(Effect::Duplicate), "{}", message.topic);
            }
            assert_eq!(shop.head().await, head, "{} had a second effect", message.topic);
        }
        if messages.is_empty() {
            let payment_id = shop.pay(&order_id).await.unwrap();
            shop.deliver_all().await;
            shop.call_back(&order_id, &payment_id, CallbackStatus::Succeeded).await.unwrap();
            paid = true;
        }
    }
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    assert_eq!(shop.levels().await, (9, 0, 1));
}

#[tokio::test]
async fn a_repeated_idempotency_key_places_one_order_and_keeps_its_answer() {
    let shop = Shop::open(10).await;
    let catalogue = processors::catalogue::Catalogue::new();
    let key = CommandKey { scope: "POST /v1/orders 12345".to_owned(), key: "k1".to_owned(), request_hash: None };
    let request = PlaceOrder {
        user_id: domain::UserId::new(USER).unwrap(),
        show_id: domain::ShowId::new(SHOW).unwrap(),
        ticket_type_id: TicketTypeId::new(TICKET_TYPE).unwrap(),
        quantity: domain::Quantity::new(1).unwrap(),
        mode: domain::Mode::Async,
    };
    let origin = Origin::new(Metadata::default()).with_key(key);
    let place = || commands::place_order(&shop.ledger, &catalogue, &shop.policy, origin.clone(), request.clone());
    let first = place().await.unwrap();
    let Err(UseCaseError::Command(CommandError::Duplicate(record))) = place().await else { panic!("not a duplicate") };
    let told: NewOrder = serde_json::from_str(&record.response.unwrap()).unwrap();
    assert_eq!(told, first.value);
    assert_eq!(record.position, first.position);
}

#[tokio::test]
async fn what_is_not_on_sale_cannot_be_ordered() {
    let shop = Shop::open(10).await;
    let catalogue = processors::catalogue::Catalogue::new();
    for (show, ticket_type) in [(SHOW, 9_999), (9_999, TICKET_TYPE)] {
        let request = PlaceOrder {
            user_id: domain::UserId::new(USER).unwrap(),
            show_id: domain::ShowId::new(show).unwrap(),
            ticket_type_id: TicketTypeId::new(ticket_type).unwrap(),
            quantity: domain::Quantity::new(1).unwrap(),
            mode: domain::Mode::Async,
        };
        let refused = commands::place_order(&shop.ledger, &catalogue, &shop.policy, Origin::default(), request).await;
        assert_eq!(code(&refused.unwrap_err()), "ticket_type_not_found");
    }
}

#[tokio::test]
async fn the_stock_cache_follows_the_ledger() {
    let mut shop = Shop::open(10).await;
    shop.place_and_lock(3).await;
    let cached = shop.cached_stock().await;
    assert_eq!((cached.available, cached.locked, cached.sold), (7, 3, 0));
    let added =
        commands::change_capacity(&shop.ledger, Origin::default(), TicketTypeId::new(TICKET_TYPE).unwrap(), 5).await;
    assert_eq!(added.unwrap().value.available, 12);
    shop.deliver_all().await;
    let cached = shop.cached_stock().await;
    assert_eq!((cached.capacity, cached.available), (15, 12));
}
