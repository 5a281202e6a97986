//! A real HTTP server that stands for a provider of text messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub struct SmsProvider {
    pub url: String,
    books: Arc<Mutex<Books>>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Books {
    /// What it answers to the next calls; 200 when there is nothing here.
    answers: Vec<StatusCode>,
    /// Takes no notice of calls.
    is_silent: bool,
    calls: Vec<Call>,
    /// Texts that left, by idempotency key.
    sent: HashMap<String, Value>,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub idempotency_key: String,
    pub authorization: String,
    pub body: Value,
}

impl SmsProvider {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/messages", listener.local_addr().unwrap());
        let books = Arc::new(Mutex::new(Books::default()));
        let router = Router::new().route("/messages", post(receive)).with_state(books.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, books, serving }
    }

    pub fn answer_next(&self, answers: &[u16]) {
        let answers = answers.iter().rev().map(|code| StatusCode::from_u16(*code).unwrap());
        self.books.lock().unwrap().answers = answers.collect();
    }

    pub fn set_silent(&self, is_silent: bool) {
        self.books.lock().unwrap().is_silent = is_silent;
    }

    pub fn calls(&self) -> Vec<Call> {
        self.books.lock().unwrap().calls.clone()
    }

    pub fn sent(&self) -> Vec<Value> {
        self.books.lock().unwrap().sent.values().cloned().collect()
    }
}

impl Drop for SmsProvider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(State(books): State<Arc<Mutex<Books>>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let call = Call {
        idempotency_key: header("idempotency-key"),
        authorization: header("authorization"),
        body: serde_json::from_slice(&body).unwrap(),
    };
    let is_silent = books.lock().unwrap().is_silent;
    if is_silent {
        std::future::pending::<()>().await;
    }
    let mut books = books.lock().unwrap();
    books.calls.push(call.clone());
    let status = books.answers.pop().unwrap_or(StatusCode::OK);
    if !status.is_success() {
        // As careless as a provider can be: it repeats the number.
        return (status, format!("{{\"error\":\"no text to {}\"}}", call.body["to"]));
    }
    let reference = format!("sms-{}", call.idempotency_key);
    books.sent.insert(call.idempotency_key, call.body);
    (status, format!("{{\"messageId\":\"{reference}\"}}"))
}
