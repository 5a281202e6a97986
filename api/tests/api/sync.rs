//! Orders that are decided in their request.

use std::time::Duration;

use api::ApiConfig;
use processors::provider::CallbackStatus;
use serde_json::json;

use crate::support::{Settling, TICKET_TYPE, TestApi, USER, get, order_body, post};

impl TestApi {
    async fn selling_in_sync(config: ApiConfig, capacity: i64) -> Self {
        let api = Self::start_with(config).await;
        api.put_on_sale(TICKET_TYPE, capacity).await;
        api.everybody_sync().await;
        api
    }
}

#[tokio::test]
async fn a_sync_order_is_created_with_its_tickets() {
    let api = TestApi::selling_in_sync(ApiConfig::default(), 100).await;
    let placed = api.call(post("/v1/orders").user(USER).key("one").json(&order_body())).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    assert_eq!((&placed.body["status"], &placed.body["mode"]), (&json!("AWAITING_PAYMENT"), &json!("sync")));
    let order = api.call(get(placed.header("location")).user(USER)).await;
    assert_eq!(order.body["status"], "AWAITING_PAYMENT");
    let stock = api.call(get(format!("/v1/ticket-types/{TICKET_TYPE}/stock")).user(USER)).await;
    assert_eq!((&stock.body["available"], &stock.body["locked"]), (&json!(98), &json!(2)));
}

#[tokio::test]
async fn without_stock_the_answer_names_the_rejected_order_and_so_does_its_repeat() {
    let api = TestApi::selling_in_sync(ApiConfig::default(), 1).await;
    let place = || post("/v1/orders").user(USER).key("one").json(&order_body());
    let refused = api.call(place()).await;
    assert_eq!(refused.problem(), (409, "insufficient_stock", ""));
    let order_id = refused.body["orderId"].as_str().unwrap();
    let order = api.call(get(format!("/v1/orders/{order_id}")).user(USER)).await;
    assert_eq!(order.body["status"], "REJECTED");

    let events = api.events().await;
    let again = api.call(place()).await;
    assert_eq!((again.status, &again.body), (409, &refused.body));
    assert_eq!(api.events().await, events);
}

#[tokio::test]
async fn a_repeat_is_answered_in_the_mode_of_the_first_whatever_the_policy_says_now() {
    let api = TestApi::selling_in_sync(ApiConfig::default(), 100).await;
    let place = || post("/v1/orders").user(USER).key("one").json(&order_body());
    let first = api.call(place()).await;
    api.follow(json!({"mode": "async"})).await;
    let again = api.call(place()).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    let other = api.call(post("/v1/orders").user(USER).key("two").json(&order_body())).await;
    assert_eq!((other.status, &other.body["mode"]), (202, &json!("async")));
}

#[tokio::test]
async fn a_sync_payment_is_answered_with_what_the_provider_decided() {
    let api = TestApi::selling_in_sync(ApiConfig::default(), 100).await;
    let order = place(&api, "one").await;
    let pay = |key: &'static str| {
        post(format!("/v1/orders/{order}/payments")).user(USER).key(key).json(&json!({"paymentMethod": "ALIPAY"}))
    };

    api.provider.settle(Settling::AtOnce(CallbackStatus::Failed));
    let declined = api.call(pay("declined")).await;
    assert_eq!(declined.problem(), (402, "payment_declined", ""));
    assert_eq!(declined.body["orderId"], json!(order));
    assert!(declined.body["paymentId"].as_str().unwrap().starts_with("PAY"));

    api.provider.settle(Settling::AtOnce(CallbackStatus::Succeeded));
    let paid = api.call(pay("paid")).await;
    assert_eq!((paid.status, &paid.body["status"]), (201, &json!("SUCCEEDED")), "{paid:?}");
    assert_eq!(status(&api, &order).await, "CONFIRMED");

    // The repeats are answered as the first ones were, and ask the provider for nothing.
    assert_eq!(api.call(pay("declined")).await.status, 402);
    assert_eq!(api.call(pay("paid")).await.status, 201);
    assert_eq!(api.provider.started().len(), 2);
}

#[tokio::test]
async fn a_payment_that_is_not_decided_in_time_goes_on_behind_a_202() {
    for settling in [Settling::Never, Settling::Away] {
        let config = ApiConfig { sync_payment_wait_ms: 50, ..ApiConfig::default() };
        let api = TestApi::selling_in_sync(config, 100).await;
        let order = place(&api, "one").await;
        api.provider.settle(settling);
        let pay = post(format!("/v1/orders/{order}/payments")).user(USER).key("pay");
        let open = api.call(pay.json(&json!({"paymentMethod": "ALIPAY"}))).await;
        assert_eq!((open.status, &open.body["status"]), (202, &json!("REQUESTED")), "{settling:?}");
        assert_eq!(status(&api, &order).await, "PAYING");
    }
}

#[tokio::test]
async fn of_too_many_payments_at_once_the_further_ones_are_not_waited_for() {
    let config = ApiConfig { max_waiting_payments: 0, ..ApiConfig::default() };
    let api = TestApi::selling_in_sync(config, 100).await;
    let order = place(&api, "one").await;
    let pay = post(format!("/v1/orders/{order}/payments")).user(USER).key("pay");
    let asked = api.call(pay.json(&json!({"paymentMethod": "ALIPAY"})));
    let open = tokio::time::timeout(Duration::from_secs(4), asked).await.unwrap();
    assert_eq!(open.status, 202);
    assert_eq!(status(&api, &order).await, "PAYING");
}

#[tokio::test]
async fn an_order_ends_in_the_mode_it_was_begun_in() {
    let api = TestApi::with_stock().await;
    let begun_async = api.order_awaiting_payment("async").await;
    api.everybody_sync().await;
    let begun_sync = place(&api, "sync").await;
    api.provider.settle(Settling::AtOnce(CallbackStatus::Succeeded));

    let pay = |order: &str, key: &str| {
        post(format!("/v1/orders/{order}/payments")).user(USER).key(key).json(&json!({"paymentMethod": "ALIPAY"}))
    };
    assert_eq!(api.call(pay(&begun_async, "pay-1")).await.status, 202, "its payment goes through the broker");
    assert!(api.provider.started().is_empty());
    api.follow(json!({"mode": "async"})).await;
    assert_eq!(api.call(pay(&begun_sync, "pay-2")).await.status, 201, "its payment is asked for in the request");
}

#[tokio::test]
async fn a_cancelled_sync_order_has_given_its_tickets_back() {
    let api = TestApi::selling_in_sync(ApiConfig::default(), 100).await;
    let order = place(&api, "one").await;
    let cancelled = api.call(post(format!("/v1/orders/{order}/cancel")).user(USER).json(&json!({}))).await;
    assert_eq!((cancelled.status, &cancelled.body["status"]), (202, &json!("CANCELLED")));
    let stock = api.call(get(format!("/v1/ticket-types/{TICKET_TYPE}/stock")).user(USER)).await;
    assert_eq!((&stock.body["available"], &stock.body["locked"]), (&json!(100), &json!(0)));
}

#[tokio::test]
async fn many_sync_buyers_get_exactly_what_there_is() {
    let api = TestApi::selling_in_sync(ApiConfig::default(), 30).await;
    let orders = (0..40).map(|n| {
        let api = &api;
        async move { api.call(post("/v1/orders").user(USER).key(&format!("k{n}")).json(&order_body())).await.status }
    });
    let answers = tokio::time::timeout(Duration::from_secs(60), futures_util::future::join_all(orders)).await.unwrap();
    let count = |status: u16| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(201), count(409)), (15, 25));
}

async fn place(api: &TestApi, key: &str) -> String {
    let placed = api.call(post("/v1/orders").user(USER).key(key).json(&order_body())).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    placed.body["orderId"].as_str().unwrap().to_owned()
}

async fn status(api: &TestApi, order: &str) -> String {
    api.call(get(format!("/v1/orders/{order}")).user(USER)).await.body["status"].as_str().unwrap().to_owned()
}
