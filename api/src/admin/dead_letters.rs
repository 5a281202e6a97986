//! Messages that could not be applied, and those that wait behind them.

mod body;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use messaging::Handler;
use messaging::dead_letter::{self, Contacts, DeadLetter, DeadLetterError, DeadLetterState, Filter};
use processors::dead_letters::{self, Edit};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::admin::{require_operator, require_staff};
use crate::answer::ListBody;
use crate::auth::Caller;
use crate::extract::{OptionalJsonBody, PathId, PathSegment, QueryParams, parse_param};
use crate::fields;
use crate::openapi::{BodyProblems, CallerProblems, ConflictProblem, NotFoundProblem, ParameterProblems};
use crate::orders::page_rows;
use crate::problem::Problem;
use crate::refusals::database_away;
use crate::state::ApiState;
use body::{
    DeadLetterBody, DeadLetterDetailBody, DeadLetterListBody, DiscardedBody, GroupBody, GroupListBody, RedrivenBody,
};

const MAX_REASON_CHARS: usize = 200;

/// Which dead letters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ListDeadLetters {
    /// Of this consumer only.
    #[param(example = "stock")]
    consumer: Option<String>,
    #[param(example = "stock-lock")]
    topic: Option<String>,
    /// As a group or a letter names it.
    cause: Option<String>,
    /// `dead`, `behind`, `redriven` or `discarded`.
    state: Option<String>,
    /// What waits behind it: an order's or a user's id.
    key: Option<String>,
    /// `true`: also those that were redriven or discarded.
    #[param(value_type = Option<bool>)]
    with_resolved: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

/// Of which dead letters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct GroupDeadLetters {
    consumer: Option<String>,
    topic: Option<String>,
    cause: Option<String>,
    key: Option<String>,
}

/// Why a letter is given up.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiscardParams {
    #[param(required, min_length = 1, max_length = 200, example = "sent by a test")]
    reason: Option<String>,
}

/// Another body for the message; nothing: it is applied as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = RedriveRequest)]
pub(crate) struct RedriveBody {
    /// A message of the same topic, with the same messageId and key. The one that came is kept.
    body: Option<String>,
    /// Required with a body.
    #[schema(min_length = 1, max_length = 200)]
    reason: Option<String>,
}

/// Dead letters, in the order they came. Bodies are shown one at a time: they may name people.
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
        state: query.state.as_deref().map(state).transpose()?,
        with_resolved: with_resolved(query.with_resolved.as_deref())?,
        after_id: parse_param("after", query.after.as_deref())?.unwrap_or(0),
        limit: i64::from(rows),
        consumer: query.consumer,
        topic: query.topic,
        cause: query.cause,
        waiting_key: query.key,
    };
    let letters = dead_letter::list(&api.queries, &filter).await?;
    let full = letters.len() == rows as usize;
    let next = letters.last().filter(|_| full).map(|last| last.id.to_string());
    Ok(Json(ListBody { items: letters.into_iter().map(DeadLetterBody::from).collect(), next }))
}

/// Dead letters by what is wrong with them, the largest group first.
#[utoipa::path(
    get,
    path = "/v1/admin/dead-letters/groups",
    tag = "admin",
    params(GroupDeadLetters),
    responses((status = 200, description = "The groups, at most 500", body = GroupListBody), CallerProblems, ParameterProblems)
)]
pub(crate) async fn groups(
    caller: Caller,
    State(api): State<ApiState>,
    QueryParams(query): QueryParams<GroupDeadLetters>,
) -> Result<Json<ListBody<GroupBody>>, Problem> {
    require_staff(&caller)?;
    let filter = Filter {
        consumer: query.consumer,
        topic: query.topic,
        cause: query.cause,
        waiting_key: query.key,
        ..Filter::default()
    };
    let groups = dead_letter::groups(&api.queries, &filter).await?;
    Ok(Json(ListBody { items: groups.into_iter().map(GroupBody::from).collect(), next: None }))
}

/// One dead letter with its message and what happened to it. Phone numbers and addresses are for admins.
#[utoipa::path(
    get,
    path = "/v1/admin/dead-letters/{deadLetterId}",
    tag = "admin",
    params(("deadLetterId" = i64, Path)),
    responses((status = 200, description = "The letter", body = DeadLetterDetailBody), CallerProblems, NotFoundProblem)
)]
pub(crate) async fn get(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(DeadLetterId(id)): PathId<DeadLetterId>,
) -> Result<Json<DeadLetterDetailBody>, Problem> {
    require_staff(&caller)?;
    let letter = dead_letter::find(&api.queries, id).await?;
    let history = dead_letter::history(&api.queries, id).await?;
    let contacts = if caller.may_see_contacts() { Contacts::Shown } else { Contacts::Hidden };
    Ok(Json(DeadLetterDetailBody::new(letter, history, contacts)))
}

/// Applies a dead letter, and those of its key that wait with it, in order; with another body where one is given.
#[utoipa::path(
    post,
    path = "/v1/admin/dead-letters/{deadLetterId}/redrive",
    tag = "admin",
    params(("deadLetterId" = i64, Path)),
    request_body = Option<RedriveBody>,
    responses(
        (status = 200, description = "What was delivered", body = RedrivenBody),
        CallerProblems,
        NotFoundProblem,
        ConflictProblem,
        BodyProblems
    )
)]
pub(crate) async fn redrive(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(DeadLetterId(id)): PathId<DeadLetterId>,
    OptionalJsonBody(wanted): OptionalJsonBody<RedriveBody>,
) -> Result<Json<RedrivenBody>, Problem> {
    require_operator(&caller)?;
    let letter = dead_letter::find(&api.queries, id).await?;
    let reason = match (&wanted.body, wanted.reason) {
        (Some(_), reason) => Some(required_reason(reason)?),
        (None, Some(_)) => return Err(Problem::invalid_value("reason", "a reason is for another body")),
        (None, None) => None,
    };
    if wanted.body.is_some() && dead_letter::may_name_contacts(&letter) && !caller.may_see_contacts() {
        return Err(Problem::forbidden("what may name a phone number or an address is edited by admins only"));
    }
    let handler = handler_of(&api, &letter)?;
    let edit = wanted.body.as_deref().zip(reason.as_deref()).map(|(body, reason)| Edit { body, reason });
    Ok(Json(dead_letters::redrive(&api.queries, handler, id, edit, &caller.actor()).await?.into()))
}

/// Gives a dead letter up. Those of its key that waited behind it go on by themselves.
#[utoipa::path(
    delete,
    path = "/v1/admin/dead-letters/{deadLetterId}",
    tag = "admin",
    params(("deadLetterId" = i64, Path), DiscardParams),
    responses(
        (status = 200, description = "Discarded, and what becomes of those behind it", body = DiscardedBody),
        CallerProblems,
        NotFoundProblem,
        ConflictProblem,
        ParameterProblems
    )
)]
pub(crate) async fn discard(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(DeadLetterId(id)): PathId<DeadLetterId>,
    QueryParams(params): QueryParams<DiscardParams>,
) -> Result<Json<DiscardedBody>, Problem> {
    require_operator(&caller)?;
    let reason = required_reason(params.reason)?;
    let discarded = dead_letters::discard(&api.queries, id, &reason, &caller.actor()).await?;
    Ok(Json(DiscardedBody::new(id, discarded)))
}

fn required_reason(reason: Option<String>) -> Result<String, Problem> {
    let missing = || {
        let detail = "say why: it is kept with the letter";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "missing_field", detail).field("reason")
    };
    fields::line("reason", reason.ok_or_else(missing)?, MAX_REASON_CHARS)
}

fn handler_of<'a>(api: &'a ApiState, letter: &DeadLetter) -> Result<&'a Arc<dyn Handler>, Problem> {
    let known = api.consumers.iter().find(|consumer| consumer.name == letter.consumer);
    known.and_then(|consumer| consumer.handler.as_ref()).ok_or_else(|| {
        let detail = format!("consumer {} can't be redriven from here", letter.consumer);
        Problem::new(StatusCode::CONFLICT, "consumer_not_redrivable", detail)
    })
}

fn state(text: &str) -> Result<DeadLetterState, Problem> {
    DeadLetterState::parse(text).ok_or_else(|| Problem::invalid_value("state", "dead, behind, redriven or discarded"))
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
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, detail.clone());
        match error {
            DeadLetterError::NotFound(_) => Self::not_found("dead_letter_not_found", detail),
            DeadLetterError::Resolved { .. } => conflict("dead_letter_resolved"),
            DeadLetterError::NothingToRedrive => conflict("nothing_to_redrive"),
            DeadLetterError::UnknownRedrive(_) => Self::not_found("redrive_not_found", detail),
            DeadLetterError::RedriveEnded { .. } => conflict("redrive_ended"),
            DeadLetterError::Edit(_) => Self::invalid_value("body", detail),
            DeadLetterError::OtherConsumer { .. } => Self::internal(detail),
            DeadLetterError::Database(cause) => database_away(cause),
        }
    }
}
