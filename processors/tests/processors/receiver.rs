//! Somebody who is called back over HTTP, and answers as a test wants.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

#[derive(Clone, Default)]
pub struct Receiver {
    calls: Arc<Mutex<Vec<Call>>>,
    answers: Arc<Mutex<Vec<Response>>>,
}

#[derive(Clone)]
pub struct Call {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Receiver {
    /// Takes calls at this path.
    pub fn router(&self, path: &str) -> Router {
        Router::new().route(path, post(receive)).with_state(self.clone())
    }

    /// The answers to the next calls; later ones are answered 204.
    pub fn answer_with<A: IntoResponse>(&self, answers: impl IntoIterator<Item = A>) {
        self.answers.lock().unwrap().extend(answers.into_iter().map(IntoResponse::into_response));
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    receiver.calls.lock().unwrap().push(Call { headers, body });
    let mut answers = receiver.answers.lock().unwrap();
    if answers.is_empty() { StatusCode::NO_CONTENT.into_response() } else { answers.remove(0) }
}

/// Serves on a free port; the address without a path.
pub async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}
