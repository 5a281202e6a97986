//! How it was lately, for charts. Where nobody measured there is no sample; what was not known is null.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use watch::history::{self, Sample};

use super::require_staff;
use crate::auth::Caller;
use crate::extract::{QueryParams, parse_param};
use crate::openapi::{CallerProblems, ParameterProblems};
use crate::problem::Problem;
use crate::refusals::database_away;
use crate::state::ApiState;

const DEFAULT_MINUTES: u32 = 60;
/// A week: as far as somebody might keep it.
const MAX_MINUTES: u32 = 7 * 24 * 60;

/// How far back.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct HistoryParams {
    /// An hour when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10_080)]
    minutes: Option<String>,
}

/// Samples of the last while, the oldest first, at most 360.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = History)]
pub(crate) struct HistoryBody {
    /// How far apart the samples are. Over a long time one stands for several: of lags the worst, of rates the mean.
    every_seconds: f64,
    samples: Vec<SampleBody>,
}

/// One moment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Sample)]
pub(crate) struct SampleBody {
    at: DateTime<Utc>,
    head: i64,
    /// Null after a time without samples.
    events_per_second: Option<f64>,
    orders_per_second: Option<f64>,
    sent_per_second: Option<f64>,
    outbox_pending: i64,
    outbox_age_seconds: f64,
    parked: i64,
    /// Of all groups together; null when one of them is unknown.
    consumer_lag_messages: Option<i64>,
    /// Of the group that is furthest behind.
    consumer_lag_seconds: Option<f64>,
    /// By group.
    group_lag_messages: BTreeMap<String, Option<i64>>,
    /// Of the projection that is furthest behind.
    projection_lag_events: Option<i64>,
    projection_lag_seconds: Option<f64>,
    dead_letters: i64,
    critical_time_p50_ms: Option<f64>,
    critical_time_p99_ms: Option<f64>,
    missing_messages: Option<i64>,
}

/// How everything was lately.
#[utoipa::path(
    get,
    path = "/v1/admin/history",
    tag = "admin",
    params(HistoryParams),
    responses((status = 200, description = "The samples", body = HistoryBody), CallerProblems, ParameterProblems)
)]
pub(crate) async fn get(
    caller: Caller,
    State(api): State<ApiState>,
    QueryParams(params): QueryParams<HistoryParams>,
) -> Result<Json<HistoryBody>, Problem> {
    require_staff(&caller)?;
    let minutes = parse_param("minutes", params.minutes.as_deref())?.unwrap_or(DEFAULT_MINUTES);
    if !(1..=MAX_MINUTES).contains(&minutes) {
        return Err(Problem::invalid_value("minutes", format!("must be between 1 and {MAX_MINUTES}")));
    }
    let past = history::past(&api.queries, minutes, api.config.history_interval).await.map_err(database_away)?;
    let samples = past.samples.into_iter().map(SampleBody::from).collect();
    Ok(Json(HistoryBody { every_seconds: past.every.as_secs_f64(), samples }))
}

impl From<Sample> for SampleBody {
    fn from(sample: Sample) -> Self {
        Self {
            at: sample.sampled_at,
            head: sample.head,
            events_per_second: sample.events_per_second,
            orders_per_second: sample.orders_per_second,
            sent_per_second: sample.sent_per_second,
            outbox_pending: sample.outbox_pending,
            outbox_age_seconds: sample.outbox_age_seconds,
            parked: sample.parked,
            consumer_lag_messages: sample.consumer_lag_messages,
            consumer_lag_seconds: sample.consumer_lag_seconds,
            group_lag_messages: sample.group_lag_messages.0,
            projection_lag_events: sample.projection_lag_events,
            projection_lag_seconds: sample.projection_lag_seconds,
            dead_letters: sample.dead_letters,
            critical_time_p50_ms: sample.critical_time_p50_ms,
            critical_time_p99_ms: sample.critical_time_p99_ms,
            missing_messages: sample.missing_messages,
        }
    }
}
