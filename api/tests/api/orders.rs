//! Placing, reading, listing and cancelling orders.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use projections::{Checkpoints, OrderView, Projector, ProjectorConfig};
use serde_json::json;

use crate::support::{OTHER_USER, SHOW, TICKET_TYPE, TestApi, USER, get, order_body, post};

impl TestApi {
    /// What the order projection would do next.
    async fn project_orders(&self) {
        let checkpoints = Checkpoints::new(self.pool.clone());
        let mut projector = Projector::<OrderView>::new(self.pool.clone(), checkpoints, ProjectorConfig::default());
        let head = self.events().await;
        while projector.position() < head {
            projector.step(&[]).await.unwrap();
        }
        projector.release().await;
    }
}

#[tokio::test]
async fn a_placed_order_is_answered_and_can_be_read_at_once() {
    let api = TestApi::with_stock().await;
    let placed = api.call(post("/v1/orders").user(USER).key("one").json(&order_body())).await;
    assert_eq!(placed.status, 202);
    assert_eq!(placed.body["status"], "PENDING");
    assert_eq!(placed.body["mode"], "async");
    assert!(placed.text.contains("\"totalAmount\":598.00"), "{}", placed.text);
    assert_eq!(placed.body["position"], api.events().await);

    let order = api.call(get(placed.header("location")).user(USER)).await;
    assert_eq!(order.status, 200);
    assert_eq!(order.header("etag"), "\"1\"");
    assert_eq!(order.body["orderId"], placed.body["orderId"]);
    assert_eq!(order.body["showId"], SHOW);
    assert_eq!(order.body["ticketTypeId"], TICKET_TYPE);
    assert_eq!(order.body["expireTime"], placed.body["expireTime"]);
    assert!(order.text.contains("\"totalAmount\":598.00"), "{}", order.text);
}

#[tokio::test]
async fn a_read_order_is_current_without_any_projection() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    api.project_orders().await;
    api.lock_stock(&order).await;
    let shown = api.call(get(format!("/v1/orders/{order}")).user(USER)).await;
    assert_eq!(shown.body["status"], "AWAITING_PAYMENT");
    assert_eq!(shown.header("etag"), "\"2\"");
    assert!(shown.body["lockId"].as_str().unwrap().starts_with("LOCK"));
}

#[tokio::test]
async fn an_orders_events_say_what_happened_and_who_caused_it() {
    let api = TestApi::with_stock().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let place = post("/v1/orders").user(USER).key("one").header("traceparent", trace).json(&order_body());
    let placed = api.call(place).await;
    let order = placed.body["orderId"].as_str().unwrap();
    api.lock_stock(order).await;

    let events = api.call(get(format!("/v1/orders/{order}/events")).user(USER)).await;
    let types: Vec<_> = events.body["items"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["OrderPlaced", "OrderStockHeld"]);
    let metadata = &events.body["items"][0]["metadata"];
    assert_eq!(metadata["actor"], format!("user:{USER}"));
    assert_eq!(metadata["traceparent"], trace);
    assert_eq!(metadata["correlationId"], placed.header("x-request-id"));
    assert_eq!(metadata["mode"], "async");

    let first = api.call(get(format!("/v1/orders/{order}/events?limit=1")).user(USER)).await;
    let next = first.body["next"].as_str().unwrap();
    let second = api.call(get(format!("/v1/orders/{order}/events?limit=1&after={next}")).user(USER)).await;
    assert_eq!(second.body["items"][0]["type"], "OrderStockHeld");
}

#[tokio::test]
async fn a_list_waits_until_it_shows_what_the_caller_wrote() {
    let api = TestApi::with_stock().await;
    let placed = api.call(post("/v1/orders").user(USER).key("one").json(&order_body())).await;
    let position = placed.body["position"].as_i64().unwrap();
    let list = |timeout_ms: u32| get(format!("/v1/orders?waitFor={position}&timeoutMs={timeout_ms}")).user(USER);

    let too_early = api.call(list(20)).await;
    assert_eq!(too_early.problem(), (503, "not_yet_visible", "waitFor"));
    assert_eq!(too_early.header("retry-after"), "1");

    let (waited, ()) = tokio::join!(api.call(list(10_000)), api.project_orders());
    assert_eq!(waited.status, 200, "{waited:?}");
    assert_eq!(waited.body["items"][0]["orderId"], placed.body["orderId"]);
    assert!(waited.header("ledger-position").parse::<i64>().unwrap() >= position);
}

#[tokio::test]
async fn a_list_is_the_users_own_in_pages_newest_first() {
    let api = TestApi::with_stock().await;
    let mut placed = Vec::new();
    for number in 0..5 {
        placed.push(api.place_order(&format!("key-{number}")).await);
    }
    let mut others = order_body();
    others["userId"] = json!(OTHER_USER);
    api.call(post("/v1/orders").user(OTHER_USER).key("other").json(&others)).await;
    api.project_orders().await;

    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page = api.call(get(format!("/v1/orders?limit=2{after}")).user(USER)).await;
        let items = page.body["items"].as_array().unwrap();
        listed.extend(items.iter().map(|order| order["orderId"].as_str().unwrap().to_owned()));
        match page.body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    placed.reverse();
    assert_eq!(listed, placed);

    let all = api.call(get("/v1/orders").admin()).await;
    assert_eq!(all.body["items"].as_array().unwrap().len(), 6);
    let none = api.call(get("/v1/orders?status=CONFIRMED").admin()).await;
    assert_eq!(none.body["items"], json!([]));
    assert_eq!(none.body["next"], json!(null));
}

#[tokio::test]
async fn an_order_is_cancelled_once() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    let cancel = || post(format!("/v1/orders/{order}/cancel")).user(USER).json(&json!({"reason": "wrong day"}));
    let cancelled = api.call(cancel()).await;
    assert_eq!((cancelled.status, cancelled.body["status"].as_str()), (202, Some("CANCELLED")));
    assert_eq!(cancelled.body["reason"], "wrong day");
    let events = api.events().await;
    let again = api.call(post(format!("/v1/orders/{order}/cancel")).user(USER)).await;
    assert_eq!((again.status, again.body["status"].as_str()), (200, Some("CANCELLED")));
    assert_eq!(api.events().await, events);
}

#[tokio::test]
async fn an_order_that_is_over_cannot_be_cancelled_and_says_so() {
    let api = TestApi::start().await;
    api.put_on_sale(TICKET_TYPE, 1).await;
    let order = api.place_order("one").await;
    api.lock_stock(&order).await;
    let refused = api.call(post(format!("/v1/orders/{order}/cancel")).user(USER)).await;
    assert_eq!(refused.problem(), (409, "not_cancellable", ""));
    assert_eq!(refused.body["orderStatus"], "REJECTED");
}

#[tokio::test]
async fn a_ticket_type_can_be_ordered_once_its_201_is_sent() {
    let api = TestApi::start().await;
    for ticket_type in 1..=5 {
        let mut body = order_body();
        body["ticketTypeId"] = json!(ticket_type);
        let early = api.call(post("/v1/orders").user(USER).key(&format!("e{ticket_type}")).json(&body)).await;
        assert_eq!(early.status, 404);
        api.put_on_sale(ticket_type, 10).await;
        let placed = api.call(post("/v1/orders").user(USER).key(&format!("k{ticket_type}")).json(&body)).await;
        assert_eq!(placed.status, 202, "{placed:?}");
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered() {
    let config = api::ApiConfig { request_timeout_ms: 50, ..Default::default() };
    let api = TestApi::start_with(config).await;
    let started = std::time::Instant::now();
    let answer = api.call(get("/v1/orders?waitFor=1000000&timeoutMs=10000").user(USER)).await;
    assert_eq!(answer.problem(), (503, "request_timeout", ""));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_list_that_did_not_wait_long_enough_counts_as_the_callers_doing() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let api = TestApi::start().await;
    for _ in 0..3 {
        let answer = api.call(get("/v1/orders?waitFor=9000000000&timeoutMs=1").user(USER)).await;
        assert_eq!(answer.problem(), (503, "not_yet_visible", "waitFor"));
    }
    let text = recorder.handle().render();
    let series = |outcome| {
        let labels = format!("method=\"GET\",route=\"/v1/orders\",outcome=\"{outcome}\"");
        format!("ledger_http_requests_total{{{labels}}}")
    };
    assert!(text.contains(&format!("{} 3\n", series("refused"))), "{text}");
    assert!(!text.contains(&series("failed")), "{text}");
}
