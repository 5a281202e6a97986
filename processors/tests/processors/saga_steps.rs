//! Each step of the saga, what ends it when nobody acts, and what undoes it: the table of ARCHITECTURE.md, row by row.

use domain::OrderStatus;
use domain::fulfilment::FulfilmentStep::{self, *};
use domain::{OrderId, PaymentId};
use messaging::Topic;
use processors::provider::CallbackStatus::Succeeded;

use crate::support::Shop;

/// A shop with one order at this step.
async fn at(step: FulfilmentStep) -> (Shop, OrderId, Option<PaymentId>) {
    let mut shop = Shop::open(2).await;
    let order_id = shop.place(2).await;
    let create = shop.take_one(Topic::OrderCreate).await;
    shop.deliver(&create).await.unwrap();
    let mut payment_id = None;
    if step != LockingStock {
        shop.deliver_all().await;
    }
    match step {
        LockLapsed => shop.lapse(&order_id).await,
        DeductingStock => {
            let payment = shop.pay(&order_id).await.unwrap();
            shop.call_back(&order_id, &payment, Succeeded).await.unwrap();
            payment_id = Some(payment);
        }
        ReleasingStock => shop.let_time_pass("order_expiry").await,
        Refunding => {
            let payment = shop.pay(&order_id).await.unwrap();
            shop.cancel(&order_id).await.unwrap();
            shop.deliver_all().await;
            shop.call_back(&order_id, &payment, Succeeded).await.unwrap();
            payment_id = Some(payment);
        }
        _ => {}
    }
    assert_eq!(shop.saga(&order_id).await, Some(step));
    (shop, order_id, payment_id)
}

#[tokio::test]
async fn each_step_has_the_deadlines_that_end_it() {
    for (step, kinds) in [
        (LockingStock, &["order_expiry"][..]),
        (AwaitingPayment, &["lock_lapse", "order_expiry"]),
        (LockLapsed, &["order_expiry"]),
        // Paid for: no time may take the tickets away any more.
        (DeductingStock, &[]),
        // The stock processor's message, tried again until it is a dead letter.
        (ReleasingStock, &["lock_lapse"]),
        (Refunding, &["refund"]),
    ] {
        let (shop, ..) = at(step).await;
        let kinds_set = shop.deadline_kinds().await;
        let of_saga: Vec<&str> = kinds_set.iter().map(String::as_str).filter(|kind| OF_SAGA.contains(kind)).collect();
        assert_eq!(of_saga, kinds, "{step}");
    }
}

/// A payment may have deadlines of its own.
const OF_SAGA: [&str; 3] = ["lock_lapse", "order_expiry", "refund"];

#[tokio::test]
async fn each_step_that_nobody_goes_on_with_is_ended_by_its_deadline_and_undone() {
    for (step, status, end) in [
        (LockingStock, OrderStatus::Expired, Compensated),
        (AwaitingPayment, OrderStatus::Expired, Compensated),
        (LockLapsed, OrderStatus::Expired, Compensated),
        (ReleasingStock, OrderStatus::Expired, Compensated),
        (Refunding, OrderStatus::Refunded, Refunded),
    ] {
        let (mut shop, order_id, _) = at(step).await;
        for kind in OF_SAGA {
            shop.let_time_pass(kind).await;
        }
        shop.deliver_all().await;
        assert_eq!(shop.status(&order_id).await, status, "{step}");
        assert_eq!(shop.saga(&order_id).await, Some(end), "{step}");
        assert_eq!(shop.levels().await, (2, 0, 0), "{step}: the tickets are on sale again");
        assert_eq!(shop.deadline_kinds().await, [""; 0], "{step}");
    }
}

#[tokio::test]
async fn a_paid_step_is_not_undone_by_time_and_goes_on_by_its_message() {
    let (mut shop, order_id, payment_id) = at(DeductingStock).await;
    for kind in OF_SAGA {
        shop.let_time_pass(kind).await;
    }
    assert_eq!(shop.saga(&order_id).await, Some(DeductingStock));
    shop.deliver_all().await;
    assert_eq!((shop.status(&order_id).await, shop.saga(&order_id).await), (OrderStatus::Confirmed, Some(Completed)));
    assert_eq!(shop.provider.refunds(), []);
    assert!(payment_id.is_some());
}
