//! An order's updates as server-sent events.

use axum::body::BodyDataStream;
use axum::response::Response;
use futures_util::StreamExt;
use processors::provider::CallbackStatus::{Failed, Succeeded};
use serde_json::Value;
use std::time::Duration;

use crate::support::{OTHER_USER, TestApi, USER, get};

/// Longer than any update takes; a test that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that reads server-sent events.
struct Client {
    body: BodyDataStream,
    read: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Update {
    id: i64,
    event: String,
    data: Value,
}

impl Client {
    async fn connect(api: &TestApi, order: &str, last_event_id: Option<i64>) -> Self {
        let response = Self::ask(api, order, last_event_id).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), read: String::new() }
    }

    async fn ask(api: &TestApi, order: &str, last_event_id: Option<i64>) -> Response {
        let mut call = get(format!("/v1/orders/{order}/updates")).user(USER);
        if let Some(id) = last_event_id {
            call = call.header("last-event-id", &id.to_string());
        }
        api.respond(call).await
    }

    /// The next block of lines; `None` when the stream has ended.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let block = block.to_owned();
                self.read = rest.to_owned();
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("nothing came in time")?;
            self.read.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    async fn next(&mut self) -> Option<Update> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                line.map(str::to_owned)
            };
            if let (Some(id), Some(event), Some(data)) = (field("id"), field("event"), field("data")) {
                return Some(Update { id: id.parse().unwrap(), event, data: serde_json::from_str(&data).unwrap() });
            }
        }
    }

    async fn rest(mut self) -> Vec<Update> {
        let mut updates = Vec::new();
        while let Some(update) = self.next().await {
            updates.push(update);
        }
        updates
    }
}

#[tokio::test]
async fn an_order_is_followed_from_its_placing_to_its_end() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    let mut client = Client::connect(&api, &order, None).await;
    let placed = client.next().await.unwrap();
    assert_eq!((placed.id, placed.event.as_str()), (1, "PENDING"));
    assert_eq!(placed.data["type"], "OrderPlaced");
    assert_eq!(placed.data["orderId"], order);
    assert_eq!(placed.data["version"], 1);
    assert!(placed.data["position"].is_number() && placed.data["time"].is_string(), "{placed:?}");

    api.lock_stock(&order).await;
    assert_eq!(client.next().await.unwrap().event, "AWAITING_PAYMENT");
    let payment = api.start_payment(&order).await;
    api.settle(&order, &payment, Failed).await;
    assert_eq!(client.next().await.unwrap().event, "PAYING");
    let declined = client.next().await.unwrap();
    assert_eq!(
        (declined.event.as_str(), &declined.data["reason"]),
        ("AWAITING_PAYMENT", &"declined_by_provider".into())
    );

    api.cancel(&order).await;
    let last = client.next().await.unwrap();
    assert_eq!((last.event.as_str(), last.data["reason"].as_str()), ("CANCELLED", Some("cancelled_by_user")));
    assert_eq!(client.next().await, None, "the order is over, and so is the stream");
}

#[tokio::test]
async fn a_client_that_reconnects_after_every_update_misses_none_and_gets_none_twice() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    let following = async {
        let mut seen: Vec<Update> = Vec::new();
        loop {
            let mut client = Client::connect(&api, &order, seen.last().map(|update| update.id)).await;
            seen.push(client.next().await.unwrap());
            if seen.last().unwrap().event == "CONFIRMED" {
                return seen;
            }
        }
    };
    let living = async {
        api.lock_stock(&order).await;
        for outcome in [Failed, Failed, Succeeded] {
            let payment = api.start_payment(&order).await;
            api.settle(&order, &payment, outcome).await;
        }
        api.deduct_stock(&order).await;
    };
    let (seen, ()) = tokio::join!(following, living);
    let ids: Vec<i64> = seen.iter().map(|update| update.id).collect();
    assert_eq!(ids, (1..=ids.len() as i64).collect::<Vec<_>>(), "versions without a gap or a repeat");
    assert_eq!(ids.len(), 9);

    let at_once = Client::connect(&api, &order, None).await.rest().await;
    assert_eq!(at_once, seen, "a late client reads the same");
    let half = Client::connect(&api, &order, Some(4)).await.rest().await;
    assert_eq!(half, seen[4..]);
}

#[tokio::test]
async fn many_clients_of_many_orders_each_get_their_own() {
    let api = TestApi::with_stock().await;
    let mut orders = Vec::new();
    for number in 0..6 {
        orders.push(api.place_order(&number.to_string()).await);
    }
    let following = orders.iter().flat_map(|order| [order, order]).map(|order| async {
        let updates = Client::connect(&api, order, None).await.rest().await;
        assert!(updates.iter().all(|update| update.data["orderId"] == *order.as_str()));
        updates.iter().map(|update| update.event.clone()).collect::<Vec<_>>()
    });
    let living = async {
        for order in &orders {
            api.lock_stock(order).await;
            api.expire(order).await;
        }
    };
    let (followed, ()) = tokio::join!(futures_util::future::join_all(following), living);
    assert_eq!(followed, vec![["PENDING", "AWAITING_PAYMENT", "EXPIRED"]; 12]);
}

#[tokio::test]
async fn an_order_that_ended_while_it_was_paid_for_is_followed_to_what_becomes_of_the_money() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    api.lock_stock(&order).await;
    let payment = api.start_payment(&order).await;
    api.cancel(&order).await;
    let mut client = Client::connect(&api, &order, Some(3)).await;
    assert_eq!(client.next().await.unwrap().event, "CANCELLED");

    api.settle(&order, &payment, Succeeded).await;
    assert_eq!(client.next().await.unwrap().event, "REFUNDING", "the stream did not end with the order");
}

#[tokio::test]
async fn a_client_that_has_it_all_is_told_not_to_come_back() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    api.cancel(&order).await;
    assert_eq!(Client::ask(&api, &order, Some(2)).await.status(), 204);
    assert_eq!(Client::connect(&api, &order, Some(1)).await.rest().await.len(), 1);
}

#[tokio::test]
async fn a_silent_stream_says_that_it_is_alive() {
    let config = api::ApiConfig { update_heartbeat_ms: 20, ..Default::default() };
    let api = TestApi::start_with(config).await;
    api.put_on_sale(crate::support::TICKET_TYPE, 10).await;
    let order = api.place_order("one").await;
    let mut client = Client::connect(&api, &order, Some(1)).await;
    for _ in 0..3 {
        assert_eq!(client.block().await.unwrap(), ":", "a comment");
    }
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_until_one_ends() {
    let config = api::ApiConfig { max_update_streams: 1, ..Default::default() };
    let api = TestApi::start_with(config).await;
    api.put_on_sale(crate::support::TICKET_TYPE, 10).await;
    let order = api.place_order("one").await;
    let first = Client::connect(&api, &order, None).await;
    let refused = api.call(get(format!("/v1/orders/{order}/updates")).user(USER)).await;
    assert_eq!(refused.problem(), (503, "too_many_streams", ""));
    assert_eq!(refused.header("retry-after"), "1");
    drop(first);
    Client::connect(&api, &order, None).await;
}

#[tokio::test]
async fn streams_end_when_the_process_stops() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    let mut client = Client::connect(&api, &order, None).await;
    client.next().await.unwrap();
    api.shutdown.cancel();
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn a_wrong_last_event_id_and_a_strangers_order_are_refused() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    for wrong in ["-1", "one", "1.5"] {
        let call = get(format!("/v1/orders/{order}/updates")).user(USER).header("last-event-id", wrong);
        assert_eq!(api.call(call).await.problem(), (422, "invalid_value", "Last-Event-ID"), "{wrong}");
    }
    let stranger = api.call(get(format!("/v1/orders/{order}/updates")).user(OTHER_USER)).await;
    assert_eq!(stranger.problem(), (404, "order_not_found", ""));
}
