//! The REST interface as a buyer and an admin use it.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

const POLL_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    /// The mode that orders are pinned to, instead of what the rollout says.
    mode: Option<&'static str>,
}

/// Status and body; the body is null where there is none.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after_seconds: Option<u64>,
    pub body: Value,
}

impl Answer {
    async fn read(response: reqwest::Response) -> Self {
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let status = response.status().as_u16();
        Self { status, retry_after_seconds: retry_after, body: response.json().await.unwrap_or(Value::Null) }
    }
}

impl Client {
    pub fn new(base: &str, token: &str) -> Self {
        // A test without TLS still needs a provider to build the client with.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        Self { http, base: base.to_owned(), token: token.to_owned(), mode: None }
    }

    /// The same, with its orders pinned to a mode.
    pub fn in_mode(&self, mode: &'static str) -> Self {
        Self { mode: Some(mode), ..self.clone() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.base)), None).await
    }

    /// `/metrics` as it is.
    pub async fn metrics(&self) -> String {
        let request = self.http.get(format!("{}/metrics", self.base));
        request.send().await.expect("the API answers").text().await.expect("a text")
    }

    pub async fn post(&self, path: &str, key: Option<&str>, body: Value) -> Answer {
        self.send(self.http.post(format!("{}{path}", self.base)).json(&body), key).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.http.put(format!("{}{path}", self.base)).json(&body), None).await
    }

    /// As a client on a bad line: asks again with the same key until it has an answer below 500.
    pub async fn post_until_answered(&self, path: &str, key: &str, body: Value) -> Answer {
        for _ in 0..200 {
            let request = self.signed(self.http.post(format!("{}{path}", self.base)).json(&body));
            if let Ok(response) = request.header("idempotency-key", key).send().await {
                let answer = Answer::read(response).await;
                if answer.status < 500 && answer.status != 429 {
                    return answer;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no answer to POST {path}");
    }

    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let request = request.bearer_auth(&self.token);
        match self.mode {
            Some(mode) => request.header("x-order-mode", mode),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder, key: Option<&str>) -> Answer {
        let mut request = self.signed(request);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        Answer::read(request.send().await.expect("the API answers")).await
    }

    pub async fn put_on_sale(&self, ticket_type: i64, capacity: u32) {
        let body = json!({"showId": 1001, "ticketTypeId": ticket_type, "name": "Standing", "price": 149.5, "capacity": capacity});
        let answer = self.post("/v1/ticket-types", None, body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// Whatever the answer is.
    pub async fn order(&self, user: i64, ticket_type: i64, quantity: u32) -> Answer {
        let body = json!({"userId": user, "showId": 1001, "ticketTypeId": ticket_type, "quantity": quantity});
        self.post("/v1/orders", Some(&Uuid::new_v4().to_string()), body).await
    }

    pub async fn place(&self, user: i64, ticket_type: i64, quantity: u32) -> String {
        let answer = self.order(user, ticket_type, quantity).await;
        // Async, or sync while the broker is away.
        assert!([201, 202].contains(&answer.status), "{answer:?}");
        answer.body["orderId"].as_str().unwrap().to_owned()
    }

    pub async fn pay(&self, order: &str, method: &str) -> Answer {
        let path = format!("/v1/orders/{order}/payments");
        self.post_until_answered(&path, &Uuid::new_v4().to_string(), json!({"paymentMethod": method})).await
    }

    /// Pays once, and takes what is answered.
    pub async fn try_to_pay(&self, order: &str, method: &str) -> Answer {
        let path = format!("/v1/orders/{order}/payments");
        self.post(&path, Some(&Uuid::new_v4().to_string()), json!({"paymentMethod": method})).await
    }

    pub async fn status(&self, order: &str) -> String {
        let answer = self.get(&format!("/v1/orders/{order}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["status"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    pub async fn await_status(&self, order: &str, wanted: &[&str], timeout: Duration) -> String {
        let since = std::time::Instant::now();
        loop {
            let answer = self.get(&format!("/v1/orders/{order}")).await;
            // Asking too often on a small machine may be answered "later"; that is no answer to the question.
            assert!([200, 429, 503].contains(&answer.status), "{answer:?}");
            let status = answer.body["status"].as_str().unwrap_or("unknown").to_owned();
            if wanted.contains(&status.as_str()) {
                return status;
            }
            assert!(since.elapsed() < timeout, "{order} is {status} after {timeout:?}, wanted {wanted:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    pub async fn stock(&self, ticket_type: i64) -> Value {
        self.get(&format!("/v1/ticket-types/{ticket_type}/stock")).await.body
    }

    /// Waits for so many available, locked and sold tickets.
    pub async fn await_stock(&self, ticket_type: i64, wanted: (i64, i64, i64), timeout: Duration) {
        let since = std::time::Instant::now();
        loop {
            let stock = self.stock(ticket_type).await;
            let count = |name: &str| stock[name].as_i64();
            if (count("available"), count("locked"), count("sold")) == (Some(wanted.0), Some(wanted.1), Some(wanted.2))
            {
                return;
            }
            assert!(since.elapsed() < timeout, "{stock} after {timeout:?}, wanted {wanted:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
