//! The sandbox's HTTP face: what `provider::HttpProvider` calls.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;

use super::Sandbox;
use super::books::{self, RefundOutcome};
use crate::provider::{PaymentRequest, RefundRequest};

const MAX_BODY_BYTES: usize = 16 * 1024;

/// The provider's routes, with their full paths.
pub fn router(sandbox: Sandbox) -> Router {
    Router::new()
        .route("/sandbox/v1/payments", post(start))
        .route("/sandbox/v1/payments/{payment_id}", get(query))
        .route("/sandbox/v1/payments/{payment_id}/refunds", post(refund))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .route_layer(middleware::from_fn_with_state(sandbox.clone(), require_api_key))
        .with_state(sandbox)
}

async fn start(State(sandbox): State<Sandbox>, body: Bytes) -> Result<Response, Refused> {
    let payment: PaymentRequest = serde_json::from_slice(&body).map_err(Refused::malformed)?;
    let started = books::start(&sandbox.0.pool, &payment, sandbox.0.config.settle_delay_ms).await?;
    let started = started.ok_or(Refused(StatusCode::CONFLICT, "another payment has this id".to_owned()))?;
    sandbox.0.started.notify_one();
    json(StatusCode::ACCEPTED, &started)
}

async fn query(State(sandbox): State<Sandbox>, Path(payment_id): Path<String>) -> Result<Response, Refused> {
    let payment = books::find(&sandbox.0.pool, &payment_id).await?.ok_or_else(Refused::unknown_payment)?;
    json(StatusCode::OK, &payment)
}

async fn refund(
    State(sandbox): State<Sandbox>,
    Path(payment_id): Path<String>,
    body: Bytes,
) -> Result<Response, Refused> {
    let request: RefundRequest = serde_json::from_slice(&body).map_err(Refused::malformed)?;
    match books::refund(&sandbox.0.pool, &payment_id, request.amount).await? {
        RefundOutcome::Refunded(refund) => json(StatusCode::OK, &refund),
        RefundOutcome::UnknownPayment => Err(Refused::unknown_payment()),
        RefundOutcome::Refused => Err(Refused(StatusCode::CONFLICT, "this cannot be refunded".to_owned())),
    }
}

async fn require_api_key(State(sandbox): State<Sandbox>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let expected = format!("Bearer {}", sandbox.0.config.api_key);
    match shown {
        Some(shown) if equal_in_constant_time(shown, expected.as_bytes()) => next.run(request).await,
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// A comparison whose time tells nothing about where the two differ.
fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |difference, (l, r)| difference | (l ^ r)) == 0
}

fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Refused> {
    let body = serde_json::to_string(body).map_err(|error| {
        tracing::error!(%error, "the sandbox cannot write its answer");
        Refused(StatusCode::INTERNAL_SERVER_ERROR, "unwritable answer".to_owned())
    })?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

struct Refused(StatusCode, String);

impl Refused {
    fn malformed(error: serde_json::Error) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }

    fn unknown_payment() -> Self {
        Self(StatusCode::NOT_FOUND, "no such payment".to_owned())
    }
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(%error, "the sandbox cannot reach its books");
        Self(StatusCode::SERVICE_UNAVAILABLE, "try again".to_owned())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}
