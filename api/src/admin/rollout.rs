//! The rollout's policy, how it is followed, and what it is worth.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use chrono::{DateTime, TimeDelta, Utc};
use rollout::report::{self, Report};
use rollout::store::{self, Stored};
use rollout::{InForce, RolloutError, RolloutPolicy};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{require_operator, require_staff};
use crate::auth::Caller;
use crate::extract::{JsonBody, QueryParams};
use crate::openapi::{BodyProblems, CallerProblems, ParameterProblems};
use crate::problem::{Problem, ProblemBody};
use crate::refusals::database_away;
use crate::state::ApiState;

/// Who is taken which way.
#[derive(ToSchema)]
#[schema(as = Rollout, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what rollout::RolloutPolicy serializes to")]
pub(crate) struct RolloutBody {
    /// `async` or `sync`.
    #[schema(example = "async")]
    mode: String,
    /// Of the users, by a stable hash; the rest is sync.
    #[schema(minimum = 0, maximum = 100, example = 10)]
    async_percent: u8,
    /// Mode by the name of a group in the caller's token, whatever the percentage says.
    groups: BTreeMap<String, String>,
    /// `sync` or `none`: what new orders do while the broker is away.
    #[schema(example = "sync")]
    fallback: String,
}

/// The policy in force, and who set it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RolloutStatus)]
pub(crate) struct StatusBody {
    version: i64,
    changed_at: DateTime<Utc>,
    #[schema(example = "user:1")]
    changed_by: String,
    /// Whether new orders go around the broker because it, or the way to it, is bad.
    is_falling_back: bool,
    /// Why, now or the last time.
    #[schema(example = "broker_circuit_open")]
    fallback_reason: Option<String>,
    fallback_changed_at: DateTime<Utc>,
    /// The version this process follows; it lags by no more than a second.
    in_force_version: i64,
}

/// The policy. Its version is the ETag.
#[utoipa::path(
    get,
    path = "/v1/admin/rollout",
    tag = "admin",
    responses((status = 200, description = "The policy", body = RolloutBody, headers(("ETag" = String))), CallerProblems)
)]
pub(crate) async fn get(caller: Caller, State(api): State<ApiState>) -> Result<impl IntoResponse, Problem> {
    require_staff(&caller)?;
    Ok(policy(store::load(&api.queries).await?))
}

/// Replaces the policy, whole or not at all. It is in force on every process within a second.
#[utoipa::path(
    put,
    path = "/v1/admin/rollout",
    tag = "admin",
    params(("If-Match" = Option<String>, Header, description = "The ETag that was read: 412 if it changed since")),
    request_body = RolloutBody,
    responses(
        (status = 200, description = "The policy as it is now", body = RolloutBody, headers(("ETag" = String))),
        (status = 412, description = "Somebody else changed it", body = ProblemBody, content_type = "application/problem+json"),
        CallerProblems,
        BodyProblems
    )
)]
pub(crate) async fn put(
    caller: Caller,
    State(api): State<ApiState>,
    headers: HeaderMap,
    JsonBody(wanted): JsonBody<RolloutPolicy>,
) -> Result<impl IntoResponse, Problem> {
    require_operator(&caller)?;
    let stored = store::put(&api.queries, &caller.actor(), &wanted, expected_version(&headers)?).await?;
    Ok(policy(stored))
}

/// How the policy is followed.
#[utoipa::path(
    get,
    path = "/v1/admin/rollout/status",
    tag = "admin",
    responses((status = 200, description = "Version, fallback, and what this process follows", body = StatusBody), CallerProblems)
)]
pub(crate) async fn status(caller: Caller, State(api): State<ApiState>) -> Result<Json<StatusBody>, Problem> {
    require_staff(&caller)?;
    let stored = store::load(&api.queries).await?;
    Ok(Json(StatusBody::new(stored, &api.rollout.in_force())))
}

/// What the report looks at.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReportParams {
    /// RFC 3339; the last hour without it.
    #[param(example = "2024-12-01T12:00:00Z")]
    since: Option<String>,
}

const DEFAULT_PERIOD: TimeDelta = TimeDelta::hours(1);

/// Async against sync, and whether the difference is more than noise.
#[utoipa::path(
    get,
    path = "/v1/admin/rollout/report",
    tag = "admin",
    params(ReportParams),
    responses((status = 200, description = "Both cohorts", body = serde_json::Value), CallerProblems, ParameterProblems)
)]
pub(crate) async fn report(
    caller: Caller,
    State(api): State<ApiState>,
    QueryParams(params): QueryParams<ReportParams>,
) -> Result<Json<Report>, Problem> {
    require_staff(&caller)?;
    let since = match params.since {
        None => api.ledger.now() - DEFAULT_PERIOD,
        Some(text) => DateTime::parse_from_rfc3339(&text)
            .map_err(|_| Problem::invalid_value("since", "a time like 2024-12-01T12:00:00Z"))?
            .to_utc(),
    };
    Ok(Json(report::measure(&api.queries, since).await?))
}

fn policy(stored: Stored) -> impl IntoResponse {
    ([(ETAG, format!("\"{}\"", stored.version))], Json(stored.policy))
}

fn expected_version(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    if value.as_bytes() == b"*" {
        return Ok(None);
    }
    let version = value.to_str().ok().and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok());
    version.map(Some).ok_or_else(|| Problem::invalid_value("If-Match", "the ETag of this address"))
}

impl StatusBody {
    fn new(stored: Stored, in_force: &InForce) -> Self {
        Self {
            version: stored.version,
            changed_at: stored.changed_at,
            changed_by: stored.changed_by,
            is_falling_back: in_force.is_falling_back(),
            fallback_reason: stored.fallback.reason,
            fallback_changed_at: stored.fallback.changed_at,
            in_force_version: in_force.version,
        }
    }
}

impl From<RolloutError> for Problem {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Database(cause) => database_away(cause),
            RolloutError::Invalid(invalid) => Self::invalid_value(invalid.field, invalid.reason),
            RolloutError::Changed { .. } => {
                let detail = "somebody else changed the policy since it was read";
                Self::new(StatusCode::PRECONDITION_FAILED, "version_changed", detail).field("If-Match")
            }
            RolloutError::Unreadable(_) => Self::internal(error),
        }
    }
}
