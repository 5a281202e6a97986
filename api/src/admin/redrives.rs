//! Redriving many dead letters: asked for here, carried out by `process`, key by key.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use messaging::dead_letter::redrives::{
    self, DEFAULT_RATE_PER_SECOND, MAX_IDS, MAX_RATE_PER_SECOND, Plan, Redrive, Selection, StoppedKey,
};
use processors::dead_letters;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::admin::{require_operator, require_staff};
use crate::answer::ListBody;
use crate::auth::Caller;
use crate::extract::{JsonBody, PathId, PathSegment, QueryParams, parse_param};
use crate::openapi::{BodyProblems, CallerProblems, ConflictProblem, NotFoundProblem, ParameterProblems};
use crate::orders::page_rows;
use crate::problem::Problem;
use crate::state::ApiState;

/// Stopped keys shown with a redrive.
const SHOWN_STOPPED_KEYS: i64 = 50;

/// Which redrives.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListRedrives {
    /// `next` of the page before.
    after: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

/// What to redrive: keys whose next message is like the filter (`{}`: all), or those of the letters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RedriveSelection)]
pub(crate) struct StartRedrive {
    filter: Option<RedriveFilter>,
    #[serde(default)]
    #[schema(max_items = 1000)]
    ids: Vec<i64>,
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
    /// Messages a second.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 500)]
    rate_per_second: Option<i64>,
}

/// Of a key's next message. With a cause, a key stops before a letter that is dead of another.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = RedriveFilter)]
pub(crate) struct RedriveFilter {
    #[schema(example = "stock")]
    consumer: Option<String>,
    topic: Option<String>,
    cause: Option<String>,
    key: Option<String>,
}

/// What a redrive would do.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RedrivePlan)]
pub(crate) struct PlanBody {
    #[schema(example = true)]
    dry_run: bool,
    messages: i64,
    keys: i64,
    groups: Vec<PlannedGroupBody>,
}

/// Part of a redrive: keys whose next message has this cause.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RedrivePlanGroup)]
pub(crate) struct PlannedGroupBody {
    cause: String,
    consumer: String,
    topic: String,
    messages: i64,
    keys: i64,
}

/// How a redrive stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Redrive)]
pub(crate) struct RedriveBody {
    #[schema(value_type = String, format = "uuid")]
    redrive_id: Uuid,
    /// `running`, `done` (stopped keys included), `failed` (every key stopped) or `cancelled`.
    #[schema(example = "running")]
    state: String,
    /// Messages to be applied, those included that came meanwhile.
    selected: i64,
    delivered: i64,
    keys: i64,
    /// Keys whose next message failed again, or is dead of another cause.
    stopped_keys: i64,
    rate_per_second: i32,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    started_by: String,
    /// The process that carries it out; null while none does.
    worker: Option<String>,
    #[schema(value_type = Object)]
    selection: serde_json::Value,
    /// The first of the stopped keys, where one redrive is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<Vec<StoppedKeyBody>>,
}

/// A key that stopped.
#[derive(Serialize, ToSchema)]
#[schema(as = StoppedKey)]
pub(crate) struct StoppedKeyBody {
    consumer: String,
    key: Option<String>,
    reason: String,
}

/// A page of redrives.
#[derive(ToSchema)]
#[schema(as = RedriveList)]
#[expect(dead_code, reason = "documents a ListBody of redrives")]
pub(crate) struct RedriveListBody {
    items: Vec<RedriveBody>,
    /// Give it as `after` for the next page; null at the end.
    next: Option<String>,
}

/// Starts a redrive of many, or only says what it would do. `process` carries it out.
#[utoipa::path(
    post,
    path = "/v1/admin/redrives",
    tag = "admin",
    request_body = StartRedrive,
    responses(
        (status = 200, description = "With dryRun: what would be done", body = PlanBody),
        (status = 202, description = "Started", body = RedriveBody),
        CallerProblems,
        NotFoundProblem,
        ConflictProblem,
        BodyProblems
    )
)]
pub(crate) async fn start(
    caller: Caller,
    State(api): State<ApiState>,
    JsonBody(wanted): JsonBody<StartRedrive>,
) -> Result<Response, Problem> {
    require_operator(&caller)?;
    let rate_per_second = rate_per_second(wanted.rate_per_second)?;
    let dry_run = wanted.dry_run;
    let selection = selection(&api, wanted)?;
    if dry_run {
        let plan = redrives::plan(&api.queries, &selection).await?;
        return Ok(Json(PlanBody::from(plan)).into_response());
    }
    let redrive = dead_letters::start_redrive(&api.queries, &selection, rate_per_second, &caller.actor()).await?;
    Ok((StatusCode::ACCEPTED, Json(RedriveBody::from(redrive))).into_response())
}

/// Redrives, the newest first.
#[utoipa::path(
    get,
    path = "/v1/admin/redrives",
    tag = "admin",
    params(ListRedrives),
    responses((status = 200, description = "A page", body = RedriveListBody), CallerProblems, ParameterProblems)
)]
pub(crate) async fn list(
    caller: Caller,
    State(api): State<ApiState>,
    QueryParams(query): QueryParams<ListRedrives>,
) -> Result<Json<ListBody<RedriveBody>>, Problem> {
    require_staff(&caller)?;
    let rows = page_rows(query.limit.as_deref())?;
    let before = parse_param("after", query.after.as_deref())?;
    let redrives = redrives::list(&api.queries, before, i64::from(rows)).await?;
    let full = redrives.len() == rows as usize;
    let next = redrives.last().filter(|_| full).map(|last| last.redrive_id.to_string());
    Ok(Json(ListBody { items: redrives.into_iter().map(RedriveBody::from).collect(), next }))
}

/// How far a redrive is, and which keys stopped.
#[utoipa::path(
    get,
    path = "/v1/admin/redrives/{redriveId}",
    tag = "admin",
    params(("redriveId" = String, Path)),
    responses((status = 200, description = "The redrive", body = RedriveBody), CallerProblems, NotFoundProblem)
)]
pub(crate) async fn get(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(RedriveId(id)): PathId<RedriveId>,
) -> Result<Json<RedriveBody>, Problem> {
    require_staff(&caller)?;
    let redrive = redrives::find(&api.queries, id).await?;
    let stopped = redrives::stopped_keys(&api.queries, id, SHOWN_STOPPED_KEYS).await?;
    let stopped = stopped.into_iter().map(StoppedKeyBody::from).collect();
    Ok(Json(RedriveBody { stopped: Some(stopped), ..redrive.into() }))
}

/// Ends a redrive after the messages that are being applied. What is delivered stays so.
#[utoipa::path(
    post,
    path = "/v1/admin/redrives/{redriveId}/cancel",
    tag = "admin",
    params(("redriveId" = String, Path)),
    responses(
        (status = 200, description = "Cancelled", body = RedriveBody),
        CallerProblems,
        NotFoundProblem,
        ConflictProblem
    )
)]
pub(crate) async fn cancel(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(RedriveId(id)): PathId<RedriveId>,
) -> Result<Json<RedriveBody>, Problem> {
    require_operator(&caller)?;
    Ok(Json(dead_letters::cancel_redrive(&api.queries, id, &caller.actor()).await?.into()))
}

fn selection(api: &ApiState, wanted: StartRedrive) -> Result<Selection, Problem> {
    if wanted.filter.is_none() && wanted.ids.is_empty() {
        let detail = "say which: a filter ({} is all), or ids";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "missing_field", detail).field("filter"));
    }
    if wanted.ids.len() > MAX_IDS {
        return Err(Problem::invalid_value("ids", format!("at most {MAX_IDS}; a filter takes any number")));
    }
    let filter = wanted.filter.unwrap_or_default();
    for (field, value) in
        [("filter.topic", &filter.topic), ("filter.cause", &filter.cause), ("filter.key", &filter.key)]
    {
        if value.as_ref().is_some_and(|value| value.contains('\0')) {
            return Err(Problem::invalid_value(field, "holds a NUL"));
        }
    }
    if let Some(consumer) = &filter.consumer
        && !api.consumers.iter().any(|known| known.name == consumer)
    {
        return Err(Problem::invalid_value("filter.consumer", format!("there is no consumer {consumer}")));
    }
    let RedriveFilter { consumer, topic, cause, key } = filter;
    Ok(Selection { consumer, topic, cause, waiting_key: key, ids: wanted.ids })
}

fn rate_per_second(wanted: Option<i64>) -> Result<i32, Problem> {
    let rate = wanted.map_or(Ok(DEFAULT_RATE_PER_SECOND), i32::try_from).unwrap_or(0);
    if (1..=MAX_RATE_PER_SECOND).contains(&rate) {
        Ok(rate)
    } else {
        Err(Problem::invalid_value("ratePerSecond", format!("1 to {MAX_RATE_PER_SECOND}")))
    }
}

pub(crate) struct RedriveId(Uuid);

impl PathSegment for RedriveId {
    fn read(segment: &str) -> Result<Self, Problem> {
        let unknown = |_| Problem::not_found("redrive_not_found", "there is no such redrive");
        segment.parse().map(Self).map_err(unknown)
    }
}

impl From<Plan> for PlanBody {
    fn from(plan: Plan) -> Self {
        let groups = plan.groups.into_iter().map(|group| PlannedGroupBody {
            cause: group.cause,
            consumer: group.consumer,
            topic: group.topic,
            messages: group.messages,
            keys: group.keys,
        });
        Self { dry_run: true, messages: plan.messages, keys: plan.keys, groups: groups.collect() }
    }
}

impl From<Redrive> for RedriveBody {
    fn from(redrive: Redrive) -> Self {
        Self {
            redrive_id: redrive.redrive_id,
            state: redrive.state,
            selected: redrive.selected,
            delivered: redrive.delivered,
            keys: redrive.keys,
            stopped_keys: redrive.stopped_keys,
            rate_per_second: redrive.rate_per_second,
            started_at: redrive.started_at,
            ended_at: redrive.ended_at,
            started_by: redrive.started_by,
            worker: redrive.worker,
            selection: redrive.selection,
            stopped: None,
        }
    }
}

impl From<StoppedKey> for StoppedKeyBody {
    fn from(stopped: StoppedKey) -> Self {
        Self { consumer: stopped.consumer, key: stopped.waiting_key, reason: stopped.reason }
    }
}
