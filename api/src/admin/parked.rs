//! Messages that the relay can't send, and those behind them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use outbox_relay::parked::{self, ParkedId, ParkedMessage};
use processors::audit::{self, Action};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{require_operator, require_staff};
use crate::answer::ListBody;
use crate::auth::Caller;
use crate::extract::{JsonBody, PathId, PathSegment, QueryParams};
use crate::fields;
use crate::openapi::{BodyProblems, CallerProblems, ConflictProblem, NotFoundProblem, ParameterProblems};
use crate::orders::page_rows;
use crate::problem::Problem;
use crate::refusals::database_away;
use crate::state::ApiState;

const MAX_REASON_CHARS: usize = 200;

/// Which parked messages.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ListParked {
    /// `true`: also those that were sent after all or given up.
    #[param(value_type = Option<bool>)]
    with_resolved: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

/// A message that can't be sent, or waits behind one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ParkedMessage)]
pub(crate) struct ParkedBody {
    /// Its place: lane, position and number.
    #[schema(example = "17-1042-0")]
    id: String,
    lane: i16,
    position: i64,
    #[schema(example = "order-create")]
    topic: String,
    ordering_key: String,
    #[schema(value_type = String, format = "uuid")]
    message_id: Uuid,
    reason: String,
    /// `parked`, `behind`, `release` or `skip` (decided, not yet carried out), `sent` or `skipped`.
    #[schema(example = "parked")]
    state: String,
    parked_at: DateTime<Utc>,
    decided_by: Option<String>,
    decision_reason: Option<String>,
    decided_at: Option<DateTime<Utc>>,
    resolved_at: Option<DateTime<Utc>>,
}

/// A page of parked messages.
#[derive(ToSchema)]
#[schema(as = ParkedMessageList)]
#[expect(dead_code, reason = "documents a ListBody of parked messages")]
pub(crate) struct ParkedListBody {
    items: Vec<ParkedBody>,
    /// Give it as `after` for the next page; null at the end.
    next: Option<String>,
}

/// Why a message is given up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SkipReason)]
pub(crate) struct SkipBody {
    #[schema(min_length = 1, max_length = 200, example = "the topic was removed")]
    reason: String,
}

/// Messages that can't be sent, by lane and position.
#[utoipa::path(
    get,
    path = "/v1/admin/parked",
    tag = "admin",
    params(ListParked),
    responses((status = 200, description = "A page", body = ParkedListBody), CallerProblems, ParameterProblems)
)]
pub(crate) async fn list(
    caller: Caller,
    State(api): State<ApiState>,
    QueryParams(query): QueryParams<ListParked>,
) -> Result<Json<ListBody<ParkedBody>>, Problem> {
    require_staff(&caller)?;
    let rows = page_rows(query.limit.as_deref())? as usize;
    let after = query.after.as_deref().map(|text| parse(text).ok_or_else(bad_cursor)).transpose()?;
    let with_resolved = match query.with_resolved.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::invalid_value("withResolved", "true or false")),
    };
    // One too many tells whether there are more.
    let limit = i64::try_from(rows + 1).unwrap_or(i64::MAX);
    let mut messages = parked::list(&api.queries, after, with_resolved, limit).await.map_err(database_away)?;
    let more = messages.len() > rows;
    messages.truncate(rows);
    let next = messages.last().filter(|_| more).map(|last| shown(last.id()));
    Ok(Json(ListBody { items: messages.into_iter().map(ParkedBody::from).collect(), next }))
}

/// Has the relay try the message again, and then those behind it.
#[utoipa::path(
    post,
    path = "/v1/admin/parked/{parkedId}/release",
    tag = "admin",
    params(("parkedId" = String, Path)),
    responses((status = 200, description = "Decided; the relay carries it out", body = ParkedBody), CallerProblems, NotFoundProblem, ConflictProblem)
)]
pub(crate) async fn release(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(id): PathId<ParkedId>,
) -> Result<Json<ParkedBody>, Problem> {
    require_operator(&caller)?;
    decide(&api, &caller.actor(), id, None).await
}

/// Has the relay give the message up for ever, and send those behind it.
#[utoipa::path(
    post,
    path = "/v1/admin/parked/{parkedId}/skip",
    tag = "admin",
    params(("parkedId" = String, Path)),
    request_body = SkipBody,
    responses(
        (status = 200, description = "Decided; the relay carries it out", body = ParkedBody),
        CallerProblems,
        NotFoundProblem,
        ConflictProblem,
        BodyProblems
    )
)]
pub(crate) async fn skip(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(id): PathId<ParkedId>,
    JsonBody(body): JsonBody<SkipBody>,
) -> Result<Json<ParkedBody>, Problem> {
    require_operator(&caller)?;
    let reason = fields::line("reason", body.reason, MAX_REASON_CHARS)?;
    decide(&api, &caller.actor(), id, Some(&reason)).await
}

/// Decides and records it, both or neither. With a reason it is given up, without one tried again.
async fn decide(api: &ApiState, actor: &str, id: ParkedId, reason: Option<&str>) -> Result<Json<ParkedBody>, Problem> {
    let mut transaction = api.queries.begin().await.map_err(database_away)?;
    let decided = match reason {
        Some(reason) => parked::skip(&mut *transaction, id, actor, reason).await,
        None => parked::release(&mut *transaction, id, actor).await,
    };
    let decided = decided.map_err(database_away)?;
    let message = parked::find(&mut *transaction, id).await.map_err(database_away)?.ok_or_else(not_found)?;
    if !decided {
        let detail = format!("it is {}, and only what is parked itself can be decided about", message.state);
        return Err(Problem::new(StatusCode::CONFLICT, "not_parked", detail));
    }
    let action = Action {
        actor,
        action: if reason.is_some() { "parked.skip" } else { "parked.release" },
        subject: &message.ordering_key,
        detail: json!({"messageId": message.message_id, "topic": message.topic, "position": id.position, "reason": reason}),
    };
    audit::record(&mut *transaction, action).await.map_err(database_away)?;
    transaction.commit().await.map_err(database_away)?;
    Ok(Json(message.into()))
}

fn not_found() -> Problem {
    Problem::not_found("parked_not_found", "there is no such parked message")
}

fn bad_cursor() -> Problem {
    Problem::invalid_value("after", "the `next` of a page of this list")
}

fn shown(id: ParkedId) -> String {
    format!("{}-{}-{}", id.lane, id.position, id.n)
}

fn parse(text: &str) -> Option<ParkedId> {
    let mut parts = text.splitn(3, '-');
    let (lane, position, n) = (parts.next()?, parts.next()?, parts.next()?);
    Some(ParkedId { lane: lane.parse().ok()?, position: position.parse().ok()?, n: n.parse().ok()? })
}

impl PathSegment for ParkedId {
    fn read(segment: &str) -> Result<Self, Problem> {
        parse(segment).ok_or_else(not_found)
    }
}

impl From<ParkedMessage> for ParkedBody {
    fn from(message: ParkedMessage) -> Self {
        Self {
            id: shown(message.id()),
            lane: message.lane,
            position: message.position,
            topic: message.topic,
            ordering_key: message.ordering_key,
            message_id: message.message_id,
            reason: message.reason,
            state: message.state,
            parked_at: message.parked_at,
            decided_by: message.decided_by,
            decision_reason: message.decision_reason,
            decided_at: message.decided_at,
            resolved_at: message.resolved_at,
        }
    }
}
