//! Ticket types and what is left of them.

use serde_json::json;

use crate::support::{SHOW, TestApi, USER, get, post};

#[tokio::test]
async fn stock_is_shown_as_it_is_now() {
    let api = TestApi::start().await;
    let body = json!({"showId": SHOW, "ticketTypeId": 42, "name": "内场 A", "price": 299.5, "capacity": 100});
    let put = api.call(post("/v1/ticket-types").admin().json(&body)).await;
    assert_eq!(put.status, 201);
    assert_eq!(put.header("location"), "/v1/ticket-types/42/stock");
    assert!(put.text.contains("\"price\":299.50"), "{}", put.text);

    let before = api.call(get(put.header("location")).user(USER)).await;
    assert_eq!(before.text, put.text, "what the 201 said is what is read");

    api.order_awaiting_payment("order").await;
    let after = api.call(get("/v1/ticket-types/42/stock").user(USER)).await;
    assert_eq!(after.header("etag"), "\"2\"");
    for (field, expected) in [("capacity", 100), ("available", 98), ("locked", 2), ("sold", 0), ("version", 2)] {
        assert_eq!(after.body[field], expected, "{field}");
    }
    assert_eq!(after.body["name"], "内场 A");
}

#[tokio::test]
async fn capacity_goes_up_and_down_by_what_nobody_has() {
    let api = TestApi::start().await;
    api.put_on_sale(42, 10).await;
    api.order_awaiting_payment("order").await;
    let change = |delta: i64| post("/v1/ticket-types/42/capacity").admin().json(&json!({"delta": delta}));
    let more = api.call(change(5)).await;
    assert_eq!(
        (more.status, more.body["capacity"].as_i64(), more.body["available"].as_i64()),
        (200, Some(15), Some(13))
    );
    let less = api.call(change(-13)).await;
    assert_eq!((less.status, less.body["capacity"].as_i64(), less.body["available"].as_i64()), (200, Some(2), Some(0)));
    let too_few = api.call(change(-1)).await;
    assert_eq!(too_few.problem(), (409, "withdraws_too_many", ""));
}

#[tokio::test]
async fn tickets_may_be_free() {
    let api = TestApi::start().await;
    let body = json!({"showId": SHOW, "ticketTypeId": 42, "name": "Open day", "price": 0, "capacity": 5});
    let put = api.call(post("/v1/ticket-types").admin().json(&body)).await;
    assert!(put.text.contains("\"price\":0.00"), "{}", put.text);
}
