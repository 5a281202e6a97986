//! Messages that could not be applied, and those that wait behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use messaging::Handler;
use messaging::dead_letter::{self, DeadLetter, DeadLetterError, Filter, Redriven};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::admin::{require_operator, require_staff};
use crate::answer::ListBody;
use crate::auth::Caller;
use crate::extract::{PathId, PathSegment, QueryParams, parse_param};
use crate::openapi::{CallerProblems, ConflictProblem, NotFoundProblem, ParameterProblems};
use crate::orders::page_rows;
use crate::problem::Problem;
use crate::refusals::database_away;
use crate::state::ApiState;

/// Which dead letters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ListDeadLetters {
    /// Of this consumer only.
    consumer: Option<String>,
    /// `true`: also those that were redriven or discarded.
    #[param(value_type = Option<bool>)]
    with_resolved: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

/// A dead letter.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterBody {
    id: i64,
    consumer: String,
    topic: String,
    waiting_key: Option<String>,
    #[schema(value_type = Option<String>, format = "uuid")]
    message_id: Option<Uuid>,
    /// `dead`, `behind`, `redriven` or `discarded`.
    state: &'static str,
    reason: String,
    attempts: i32,
    created_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
    resolved_by: Option<String>,
    properties: BTreeMap<String, String>,
}

/// A page of dead letters.
#[derive(ToSchema)]
#[schema(as = DeadLetterList)]
#[expect(dead_code, reason = "documents a ListBody of dead letters")]
pub(crate) struct DeadLetterListBody {
    items: Vec<DeadLetterBody>,
    /// Give it as `after` for the next page; null at the end.
    next: Option<String>,
}

/// What a redrive did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Redriven)]
pub(crate) struct RedrivenBody {
    /// Messages of the same key that are delivered now.
    delivered: u32,
    /// The one that failed again; it and those behind it stay.
    stopped_at: Option<i64>,
    reason: Option<String>,
}

/// Dead letters, in the order they came. Bodies stay in the database: they may name people.
#[utoipa::path(
    get,
    path = "/v1/admin/dead-letters",
    tag = "admin",
    params(ListDeadLetters),
    responses((status = 200, description = "A page", body = DeadLetterListBody), CallerProblems, ParameterProblems)
)]
pub(crate) async fn list(
    caller: Caller,
    State(api): State<ApiState>,
    QueryParams(query): QueryParams<ListDeadLetters>,
) -> Result<Json<ListBody<DeadLetterBody>>, Problem> {
    require_staff(&caller)?;
    let rows = page_rows(query.limit.as_deref())?;
    let filter = Filter {
        with_resolved: with_resolved(query.with_resolved.as_deref())?,
        after_id: parse_param("after", query.after.as_deref())?.unwrap_or(0),
        limit: i64::from(rows),
        consumer: query.consumer,
    };
    let letters = dead_letter::list(&api.queries, &filter).await?;
    let full = letters.len() == rows as usize;
    let next = letters.last().filter(|_| full).map(|last| last.id.to_string());
    Ok(Json(ListBody { items: letters.into_iter().map(DeadLetterBody::from).collect(), next }))
}

/// Applies a dead letter, and those of its key that wait with it, in order.
#[utoipa::path(
    post,
    path = "/v1/admin/dead-letters/{deadLetterId}/redrive",
    tag = "admin",
    params(("deadLetterId" = i64, Path)),
    responses((status = 200, description = "What was delivered", body = RedrivenBody), CallerProblems, NotFoundProblem, ConflictProblem)
)]
pub(crate) async fn redrive(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(DeadLetterId(id)): PathId<DeadLetterId>,
) -> Result<Json<RedrivenBody>, Problem> {
    require_operator(&caller)?;
    let letter = dead_letter::find(&api.queries, id).await?;
    let handler = handler_of(&api, &letter)?;
    let redriven = dead_letter::redrive(&api.queries, handler.as_ref(), id, &caller.actor()).await?;
    Ok(Json(redriven.into()))
}

/// Gives a dead letter up.
#[utoipa::path(
    delete,
    path = "/v1/admin/dead-letters/{deadLetterId}",
    tag = "admin",
    params(("deadLetterId" = i64, Path)),
    responses((status = 204, description = "Discarded"), CallerProblems, NotFoundProblem, ConflictProblem)
)]
pub(crate) async fn discard(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(DeadLetterId(id)): PathId<DeadLetterId>,
) -> Result<StatusCode, Problem> {
    require_operator(&caller)?;
    dead_letter::discard(&api.queries, id, &caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn handler_of<'a>(api: &'a ApiState, letter: &DeadLetter) -> Result<&'a Arc<dyn Handler>, Problem> {
    let known = api.consumers.iter().find(|consumer| consumer.name == letter.consumer);
    known.and_then(|consumer| consumer.handler.as_ref()).ok_or_else(|| {
        let detail = format!("consumer {} can't be redriven from here", letter.consumer);
        Problem::new(StatusCode::CONFLICT, "consumer_not_redrivable", detail)
    })
}

fn with_resolved(text: Option<&str>) -> Result<bool, Problem> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::invalid_value("withResolved", "true or false")),
    }
}

pub(crate) struct DeadLetterId(i64);

impl PathSegment for DeadLetterId {
    fn read(segment: &str) -> Result<Self, Problem> {
        let unknown = |_| Problem::not_found("dead_letter_not_found", "there is no such dead letter");
        segment.parse().map(Self).map_err(unknown)
    }
}

impl From<DeadLetterError> for Problem {
    fn from(error: DeadLetterError) -> Self {
        let detail = error.to_string();
        match error {
            DeadLetterError::NotFound(_) => Self::not_found("dead_letter_not_found", detail),
            DeadLetterError::Resolved { .. } => Self::new(StatusCode::CONFLICT, "dead_letter_resolved", detail),
            DeadLetterError::OtherConsumer { .. } => Self::internal(detail),
            DeadLetterError::Database(cause) => database_away(cause),
        }
    }
}

impl From<DeadLetter> for DeadLetterBody {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            consumer: letter.consumer,
            topic: letter.topic,
            waiting_key: letter.waiting_key,
            message_id: letter.message_id,
            state: letter.state.as_str(),
            reason: letter.reason,
            attempts: letter.attempts,
            created_at: letter.created_at,
            resolved_at: letter.resolved_at,
            resolved_by: letter.resolved_by,
            properties: letter.properties.into_iter().collect(),
        }
    }
}

impl From<Redriven> for RedrivenBody {
    fn from(redriven: Redriven) -> Self {
        let (stopped_at, reason) = redriven.stopped_at.map(|at| (at.id, at.reason)).unzip();
        Self { delivered: redriven.delivered, stopped_at, reason }
    }
}
