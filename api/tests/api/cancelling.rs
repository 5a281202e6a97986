//! Cancelling, in every state an order can be in.

use processors::commands::Origin;
use processors::provider::CallbackStatus::Succeeded;
use serde_json::Value;

use crate::support::{TICKET_TYPE, TestApi, USER, get, post};

/// State, answer, code where it is refused, and the state afterwards.
const TABLE: [(&str, u16, &str, &str); 10] = [
    ("PENDING", 202, "", "CANCELLED"),
    ("AWAITING_PAYMENT", 202, "", "CANCELLED"),
    ("PAYING", 202, "", "CANCELLED"),
    ("PAID", 409, "not_cancellable", "PAID"),
    ("CONFIRMED", 409, "not_cancellable", "CONFIRMED"),
    ("REJECTED", 409, "not_cancellable", "REJECTED"),
    ("CANCELLED", 200, "", "CANCELLED"),
    ("EXPIRED", 409, "not_cancellable", "EXPIRED"),
    ("REFUNDING", 409, "not_cancellable", "REFUNDING"),
    ("REFUNDED", 409, "not_cancellable", "REFUNDED"),
];

#[tokio::test]
async fn each_state_answers_a_cancellation_as_the_table_says() {
    let api = TestApi::with_stock().await;
    for (state, expected, code, after) in TABLE {
        let order = order_in(&api, state).await;
        assert_eq!(status(&api, &order).await, state);
        let events = api.events().await;
        let answer = api.call(post(format!("/v1/orders/{order}/cancel")).user(USER)).await;
        assert_eq!(answer.status, expected, "{state}: {answer:?}");
        if expected == 409 {
            assert_eq!(answer.problem(), (409, code, ""), "{state}");
            assert_eq!(answer.body["orderStatus"], state, "it names the state it met");
        }
        assert_eq!(status(&api, &order).await, after, "{state}");
        assert_eq!(api.events().await > events, expected == 202, "{state}");
    }
}

#[tokio::test]
async fn where_the_policy_allows_it_a_confirmed_order_is_cancelled_and_refunded() {
    let policy = processors::Policy { cancel_confirmed: true, ..Default::default() };
    let api = TestApi::start_with(api::ApiConfig { policy, ..Default::default() }).await;
    api.put_on_sale(TICKET_TYPE, 10).await;
    let order = order_in(&api, "CONFIRMED").await;
    let answer = api.call(post(format!("/v1/orders/{order}/cancel")).user(USER)).await;
    assert_eq!((answer.status, answer.body["status"].as_str()), (202, Some("REFUNDING")), "{answer:?}");
    let stock = api.call(get(format!("/v1/ticket-types/{TICKET_TYPE}/stock")).user(USER)).await;
    assert_eq!((stock.body["available"].as_i64(), stock.body["sold"].as_i64()), (Some(10), Some(0)));
}

async fn order_in(api: &TestApi, state: &str) -> String {
    match state {
        "PENDING" => api.place_order(state).await,
        "AWAITING_PAYMENT" => api.order_awaiting_payment(state).await,
        "PAYING" => {
            let order = api.order_awaiting_payment(state).await;
            api.start_payment(&order).await;
            order
        }
        "PAID" => api.paid_order(state).await,
        "CONFIRMED" => {
            let order = api.paid_order(state).await;
            api.deduct_stock(&order).await;
            order
        }
        "REJECTED" => rejected(api).await,
        "CANCELLED" => {
            let order = api.place_order(state).await;
            api.cancel(&order).await;
            order
        }
        "EXPIRED" => {
            let order = api.place_order(state).await;
            api.expire(&order).await;
            order
        }
        "REFUNDING" => api.order_to_refund(state).await.0,
        _ => {
            let (order, payment) = api.order_to_refund(state).await;
            api.refund(&order, &payment).await;
            order
        }
    }
}

/// Every ticket is withdrawn before its stock is asked for, and put back afterwards.
async fn rejected(api: &TestApi) -> String {
    let order = api.place_order("REJECTED").await;
    let ticket_type = domain::TicketTypeId::new(TICKET_TYPE).unwrap();
    let stock = api.ledger.load::<domain::Stock>(&ticket_type.to_string()).await.unwrap().state;
    let all = i64::from(stock.available);
    let change = |delta| processors::commands::change_capacity(&api.ledger, Origin::default(), ticket_type, delta);
    change(-all).await.unwrap();
    api.lock_stock(&order).await;
    change(all).await.unwrap();
    order
}

async fn status(api: &TestApi, order: &str) -> Value {
    api.call(get(format!("/v1/orders/{order}")).user(USER)).await.body["status"].clone()
}

#[tokio::test]
async fn a_lapsed_order_whose_tickets_are_gone_can_neither_be_paid_nor_lose_its_money() {
    let api = TestApi::start().await;
    api.put_on_sale(TICKET_TYPE, 2).await;
    let late = api.order_awaiting_payment("late").await;
    let saga = api.saga(&late).await;
    let key = processors::commands::LockLapseKey::of_saga(&saga);
    let due_at = api.ledger.load::<domain::Stock>("42").await.unwrap().state.locks[&saga.lock_id].expires_at;
    processors::commands::lapse_lock(&api.ledger, Origin::default(), key, due_at).await.unwrap();
    let quick = api.order_awaiting_payment("quick").await;

    let events = api.events().await;
    let pay = post(format!("/v1/orders/{late}/payments")).user(USER).key("pay");
    let refused = api.call(pay.json(&serde_json::json!({"paymentMethod": "ALIPAY"}))).await;
    assert_eq!(refused.problem(), (409, "stock_no_longer_available", ""));
    assert_eq!(api.events().await, events, "no money was asked for");

    let payment = api.start_payment(&quick).await;
    api.settle(&quick, &payment, Succeeded).await;
    assert_eq!(status(&api, &quick).await, "PAID");
}
