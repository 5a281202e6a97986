//! Ticket types and what is left of them.

use projections::{Checkpoints, Projector, ProjectorConfig, StockView};
use serde_json::{Value, json};

use crate::support::{SHOW, TestApi, USER, get, post};

async fn project_stock(api: &TestApi) {
    let checkpoints = Checkpoints::new(api.pool.clone());
    let mut projector = Projector::<StockView>::new(api.pool.clone(), checkpoints, ProjectorConfig::default());
    projector.step(&[]).await.unwrap();
}

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
async fn ticket_types_are_listed_by_id_and_show_once_they_are_projected() {
    let api = TestApi::start().await;
    for ticket_type in [44, 42, 43] {
        api.put_on_sale(ticket_type, 10).await;
    }
    let listed = async |query: &str| api.call(get(format!("/v1/ticket-types{query}")).user(USER)).await;
    assert_eq!(listed("").await.body["items"], json!([]), "nothing is projected yet");
    project_stock(&api).await;

    let first = listed("?limit=2").await;
    let ids = |body: &Value| -> Vec<i64> {
        body["items"].as_array().unwrap().iter().map(|item| item["ticketTypeId"].as_i64().unwrap()).collect()
    };
    assert_eq!((ids(&first.body), &first.body["next"]), (vec![42, 43], &json!("43")));
    assert_eq!(first.header("ledger-position"), "3");
    let second = listed("?limit=2&after=43").await.body;
    assert_eq!((ids(&second), &second["next"]), (vec![44], &Value::Null));
    assert_eq!(ids(&listed(&format!("?showId={SHOW}")).await.body), [42, 43, 44]);
    assert_eq!(ids(&listed("?showId=999").await.body), Vec::<i64>::new());
    for (query, field) in [("showId=0", "showId"), ("showId=x", "showId"), ("after=x", "after"), ("limit=0", "limit")] {
        assert_eq!(listed(&format!("?{query}")).await.problem(), (422, "invalid_value", field), "{query}");
    }
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
