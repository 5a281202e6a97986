//! What still works while something is away, and that nothing which was accepted is lost by it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use support::Instance;
use support::client::{Answer, Client};
use support::down::KeptDown;
use support::provider::callback;

const SOON: Duration = Duration::from_secs(60);
const TICKET_TYPE: i64 = 2001;

#[tokio::test(flavor = "multi_thread")]
async fn with_the_broker_away_orders_are_taken_and_served_and_go_on_when_it_returns() {
    let instance = Instance::start(&[]);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 100).await;
    let before = client.place(1, TICKET_TYPE, 1).await;
    client.await_status(&before, &["AWAITING_PAYMENT"], SOON).await;

    let away = KeptDown::kill(&instance, "rocketmq");
    let mut meanwhile = Vec::new();
    for user in 2..12 {
        let placed = client.order(user, TICKET_TYPE, 1).await;
        assert!([201, 202].contains(&placed.status), "{placed:?}");
        let order = placed.body["orderId"].as_str().unwrap().to_owned();
        let seen = client.get(&format!("/v1/orders/{order}")).await;
        assert_eq!(
            (seen.status, &seen.body["status"]),
            (200, &placed.body["status"]),
            "what was answered is what is seen"
        );
        meanwhile.push((order, placed.body["position"].as_i64().unwrap()));
    }
    let (last, position) = meanwhile.last().unwrap();
    let listed = client.get(&format!("/v1/orders?userId=11&waitFor={position}&timeoutMs=10000")).await;
    assert_eq!((listed.status, &listed.body["items"][0]["orderId"]), (200, &json!(last)), "{listed:?}");
    let (cancelled, _) = meanwhile.swap_remove(0);
    let answer = client.post(&format!("/v1/orders/{cancelled}/cancel"), None, json!({})).await;
    assert!([200, 202].contains(&answer.status) && answer.body["status"] == "CANCELLED", "{answer:?}");
    client.put_on_sale(TICKET_TYPE + 1, 1).await;
    let lag = client.get("/v1/admin/lag").await.body;
    assert!(lag["outbox"]["pendingMessages"].as_i64().unwrap() > 0, "{lag}");

    away.end();
    for (order, _) in &meanwhile {
        client.await_status(order, &["AWAITING_PAYMENT"], SOON).await;
    }
    client.pay(&before, "ALIPAY").await;
    client.await_status(&before, &["CONFIRMED"], SOON).await;
    let (order, _) = &meanwhile[0];
    client.pay(order, "ALIPAY").await;
    client.await_status(order, &["CONFIRMED"], SOON).await;
    // The cancelled order's tickets came back, or were never taken.
    client.await_stock(TICKET_TYPE, (90, 8, 2), SOON).await;
    instance.assert_settled();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_payment_provider_away_no_payment_is_both_taken_and_lost() {
    let port = support::free_port();
    let url = format!("http://127.0.0.1:{port}");
    let instance = Instance::start(&[
        ("LEDGER__PAYMENT__PROVIDER_URL", &url),
        ("LEDGER__PAYMENT__PROVIDER_API_KEY", "key-of-the-provider"),
    ]);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 100).await;
    let mut orders = Vec::new();
    for user in 1..=5 {
        orders.push(client.place(user, TICKET_TYPE, 1).await);
    }
    for order in &orders {
        client.await_status(order, &["AWAITING_PAYMENT"], SOON).await;
        let answer =
            client.post(&format!("/v1/orders/{order}/payments"), Some(order), json!({"paymentMethod": "ALIPAY"})).await;
        match answer.status {
            202 => assert_eq!(client.status(order).await, "PAYING"),
            503 => {
                assert!(answer.retry_after_seconds.is_some(), "{answer:?}");
                assert_eq!(client.status(order).await, "AWAITING_PAYMENT", "refused, and nothing was begun");
            }
            _ => panic!("{answer:?}"),
        }
    }

    let provider = Provider::start(port).await;
    for order in &orders {
        // The same key again: a payment that was begun is answered as before, one that was refused is begun now.
        let body = json!({"paymentMethod": "ALIPAY"});
        let answer = client.post_until_answered(&format!("/v1/orders/{order}/payments"), order, body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let asked = provider.payments_for(&orders).await;
    for payment in asked.values() {
        callback(&instance, payment, "SUCCEEDED").await;
    }
    for order in &orders {
        client.await_status(order, &["CONFIRMED"], SOON).await;
    }
    assert_eq!(provider.payments_asked(), orders.len(), "each order was paid for by one payment");
    client.await_stock(TICKET_TYPE, (95, 0, 5), SOON).await;
    instance.assert_settled();
}

#[tokio::test(flavor = "multi_thread")]
async fn under_overload_the_answer_is_no_at_once_and_what_was_accepted_is_finished() {
    const BUYERS: i64 = 96;
    let limits = [
        ("LEDGER__HTTP__MAX_CONCURRENT_REQUESTS", "4"),
        ("LEDGER__HTTP__RATE_LIMIT_PER_SECOND", "20"),
        ("LEDGER__HTTP__RATE_LIMIT_BURST", "40"),
    ];
    let instance = Instance::start(&limits);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 1_000).await;

    let storm = (1..=BUYERS).map(|user| {
        let client = client.clone();
        tokio::spawn(async move {
            let asked = Instant::now();
            (client.order(user, TICKET_TYPE, 1).await, asked.elapsed())
        })
    });
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for answer in storm.collect::<Vec<_>>() {
        let (answer, took) = answer.await.unwrap();
        if [201, 202].contains(&answer.status) {
            accepted.push(answer.body["orderId"].as_str().unwrap().to_owned());
        } else {
            assert_is_later(&answer);
            assert!(took < Duration::from_secs(5), "a refusal took {took:?}");
            refused.push(answer.status);
        }
    }
    println!("{} of {BUYERS} accepted, refused: {refused:?}", accepted.len());
    assert!(!accepted.is_empty() && refused.contains(&503), "{} accepted, refused: {refused:?}", accepted.len());

    assert_is_later(&first_refusal(&instance.client_of(77)).await);
    assert_eq!(instance.client_of(78).get("/v1/orders?userId=78").await.status, 200, "the limit is each user's own");

    for order in &accepted {
        client.await_status(order, &["AWAITING_PAYMENT"], SOON).await;
    }
    let locked = accepted.len() as i64;
    client.await_stock(TICKET_TYPE, (1_000 - locked, locked, 0), SOON).await;
    instance.assert_settled();
}

/// One user asks as fast as answers come.
async fn first_refusal(client: &Client) -> Answer {
    for _ in 0..1_000 {
        let answer = client.get("/v1/orders?userId=77").await;
        if answer.status == 429 {
            return answer;
        }
    }
    panic!("a thousand requests in a row were answered");
}

fn assert_is_later(answer: &Answer) {
    assert!([429, 503].contains(&answer.status) && answer.retry_after_seconds.is_some(), "{answer:?}");
}

/// A payment provider that writes down what it is asked, and says nothing by itself.
struct Provider {
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Provider {
    async fn start(port: u16) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new()
            .route("/v1/payments", post(ask))
            .route("/v1/payments/{id}", get(query))
            .with_state(asked.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { asked }
    }

    /// Waits until a payment was asked for each of these orders; by payment.
    async fn payments_for(&self, orders: &[String]) -> std::collections::HashMap<String, Value> {
        let since = Instant::now();
        loop {
            let asked = self.asked.lock().unwrap().clone();
            let of_orders: HashSet<&str> = asked.iter().filter_map(|payment| payment["orderId"].as_str()).collect();
            if orders.iter().all(|order| of_orders.contains(order.as_str())) {
                let by_id = |payment: &Value| (payment["paymentId"].as_str().unwrap().to_owned(), payment.clone());
                return asked.iter().map(by_id).collect();
            }
            assert!(since.elapsed() < SOON, "{} of {} orders' payments came", of_orders.len(), orders.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// However often each was repeated.
    fn payments_asked(&self) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|payment| payment["paymentId"].as_str().unwrap().to_owned()).collect::<HashSet<_>>().len()
    }
}

async fn ask(State(asked): State<Arc<Mutex<Vec<Value>>>>, Json(payment): Json<Value>) -> Json<Value> {
    let answer = pending(&payment["paymentId"]);
    asked.lock().unwrap().push(payment);
    Json(answer)
}

async fn query(Path(id): Path<String>) -> Json<Value> {
    Json(pending(&json!(id)))
}

fn pending(payment_id: &Value) -> Value {
    json!({"paymentId": payment_id, "status": "PENDING", "providerReference": "provider-1"})
}
