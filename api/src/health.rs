//! Whether this process lives, whether it can take commands, and its numbers.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::state::ApiState;

/// How long a dependency may take to answer before it counts as away.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The process runs.
#[utoipa::path(get, path = "/livez", tag = "operation", security(()), responses((status = 200, description = "Alive", body = String)))]
pub(crate) async fn livez() -> &'static str {
    "ok"
}

/// What commands and queries depend on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Readiness {
    /// Whether commands and single reads can be served.
    ready: bool,
    postgres: Dependency,
    migrations: Dependency,
    /// Commands need no broker: its absence only delays what follows from them.
    broker: Dependency,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dependency {
    Up,
    Down,
    Unknown,
}

impl Dependency {
    fn from_probe(up: bool) -> Self {
        if up { Self::Up } else { Self::Down }
    }
}

/// Ready to take commands: Postgres answers and its schema is there.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    security(()),
    responses((status = 200, description = "Ready", body = Readiness), (status = 503, description = "Not ready", body = Readiness))
)]
pub(crate) async fn readyz(State(api): State<ApiState>) -> impl IntoResponse {
    let (schema, broker) = tokio::join!(probe_schema(&api), probe_broker(&api));
    let readiness = Readiness {
        ready: schema == Some(true),
        postgres: Dependency::from_probe(schema.is_some()),
        migrations: schema.map_or(Dependency::Unknown, Dependency::from_probe),
        broker,
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

/// None: Postgres does not answer.
async fn probe_schema(api: &ApiState) -> Option<bool> {
    tokio::time::timeout(PROBE_TIMEOUT, event_store::is_migrated(&api.queries)).await.ok()?.ok()
}

async fn probe_broker(api: &ApiState) -> Dependency {
    let Some(broker) = &api.broker else { return Dependency::Unknown };
    let reachable = tokio::time::timeout(PROBE_TIMEOUT, broker.is_reachable()).await;
    Dependency::from_probe(reachable.unwrap_or(false))
}

/// Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()), responses((status = 200, description = "Prometheus text format", body = String)))]
pub(crate) async fn metrics(State(api): State<ApiState>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (api.metrics_text)().await)
}
