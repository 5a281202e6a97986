//! The sagas of the orders: how far they are, which hang and why, and what a person decides about one that does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::fulfilment::ResolveAction;
use domain::{FulfilmentStep, OrderId, PaymentId};
use messaging::Handler;
use messaging::dead_letter::{self, DeadLetter, DeadLetterState};
use processors::resolution::{self, Decision, Resolution, ResolutionError};
use projections::{SagaFilter, SagaStatus, SagaView};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::admin::{require_operator, require_staff};
use crate::answer::ListBody;
use crate::auth::Caller;
use crate::extract::{JsonBody, PathId, QueryParams};
use crate::fields;
use crate::openapi::{BodyProblems, CallerProblems, ConflictProblem, NotFoundProblem, ParameterProblems};
use crate::orders::page_rows;
use crate::problem::Problem;
use crate::refusals::database_away;
use crate::request_context::RequestContext;
use crate::state::ApiState;

const MAX_REASON_CHARS: usize = 200;

/// Which sagas.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListSagas {
    /// `running`, `stuck` (running, but without a step for too long), `completed` or `compensated`; without it all.
    #[param(example = "stuck")]
    status: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

/// The saga of one order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Saga)]
pub(crate) struct SagaBody {
    #[schema(value_type = String, example = "ORD202412010001")]
    order_id: OrderId,
    ticket_type_id: i64,
    /// `running`, `completed` or `compensated`.
    #[schema(example = "running")]
    status: &'static str,
    #[schema(value_type = String, example = "RELEASING_STOCK")]
    step: FulfilmentStep,
    /// When it came to this step, or a person last decided about it.
    since: DateTime<Utc>,
    /// In the order they are to be done.
    remaining: Vec<&'static str>,
    /// A compensation failed too often: only a person moves it.
    handed_over: bool,
    /// Why it was refused or undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What is known of why it does not go on, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "dead letter 12 of stock (stock-rollback): no such ticket type")]
    problem: Option<String>,
    /// The letter it is blocked behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<BlockingLetterBody>,
    /// Where no letter is in the way: the refund the provider refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_failure: Option<RefundFailureBody>,
    begun_at: DateTime<Utc>,
    version: i64,
    position: i64,
}

/// A dead letter that a saga waits for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SagaDeadLetter)]
pub(crate) struct BlockingLetterBody {
    id: i64,
    #[schema(example = "stock")]
    consumer: String,
    #[schema(example = "stock-rollback")]
    topic: String,
    #[schema(example = "no such ticket type")]
    reason: String,
}

/// A refund that failed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SagaRefundFailure)]
pub(crate) struct RefundFailureBody {
    #[schema(value_type = String, example = "PAY202412010001")]
    payment_id: PaymentId,
    attempts: u32,
    reason: String,
}

/// A page of sagas.
#[derive(ToSchema)]
#[schema(as = SagaList)]
#[expect(dead_code, reason = "documents a ListBody of sagas")]
pub(crate) struct SagaListBody {
    items: Vec<SagaBody>,
    /// Give it as `after` for the next page; null at the end.
    next: Option<String>,
}

/// What a person decides.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = SagaDecision)]
pub(crate) struct ResolveBody {
    /// `retry`: try again what hangs; `skip`: what is to be undone counts as done.
    #[schema(value_type = String, example = "skip")]
    action: ResolveAction,
    #[schema(min_length = 1, max_length = 200, example = "paid back by bank transfer")]
    reason: String,
}

/// What a decision did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SagaResolution)]
pub(crate) struct ResolutionBody {
    #[schema(value_type = String, example = "ORD202412010001")]
    order_id: OrderId,
    #[schema(value_type = String, example = "REFUNDING")]
    step: FulfilmentStep,
    remaining: Vec<&'static str>,
    /// Dead letters that were applied after all.
    redriven: u32,
    /// Dead letters that were given up.
    discarded: u32,
    /// Why a dead letter failed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
}

/// Sagas, newest first.
#[utoipa::path(
    get,
    path = "/v1/admin/sagas",
    tag = "admin",
    params(ListSagas),
    responses((status = 200, description = "A page", body = SagaListBody), CallerProblems, ParameterProblems)
)]
pub(crate) async fn list(
    caller: Caller,
    State(api): State<ApiState>,
    QueryParams(query): QueryParams<ListSagas>,
) -> Result<Json<ListBody<SagaBody>>, Problem> {
    require_staff(&caller)?;
    let filter = filter(&api, query.status.as_deref())?;
    let rows = page_rows(query.limit.as_deref())?;
    let page = projections::sagas::list(&api.queries, filter, query.after.as_deref(), rows).await?;
    let letters = dead_letters(&api, &page.items).await?;
    let items = page.items.into_iter().map(|saga| SagaBody::of(saga, &letters)).collect();
    Ok(Json(ListBody { items, next: page.next }))
}

/// Decides about a saga that hangs: tries again what failed, or has it count as done. The ledger says so in events, and
/// the decision is kept with who made it and why.
#[utoipa::path(
    post,
    path = "/v1/admin/sagas/{orderId}/resolve",
    tag = "admin",
    params(("orderId" = String, Path)),
    request_body = ResolveBody,
    responses(
        (status = 200, description = "Where it is now", body = ResolutionBody),
        CallerProblems,
        NotFoundProblem,
        ConflictProblem,
        BodyProblems
    )
)]
pub(crate) async fn resolve(
    caller: Caller,
    context: RequestContext,
    State(api): State<ApiState>,
    PathId(order_id): PathId<OrderId>,
    JsonBody(body): JsonBody<ResolveBody>,
) -> Result<Json<ResolutionBody>, Problem> {
    require_operator(&caller)?;
    let decision = Decision {
        order_id: order_id.clone(),
        action: body.action,
        reason: fields::line("reason", body.reason, MAX_REASON_CHARS)?,
        metadata: context.metadata_of(&caller, None),
    };
    let handler_of = |name: &str| handler_of(&api, name);
    let resolution = resolution::resolve(&api.ledger, &handler_of, decision).await?;
    Ok(Json(ResolutionBody::of(order_id, resolution)))
}

fn filter(api: &ApiState, status: Option<&str>) -> Result<SagaFilter, Problem> {
    match status {
        None => Ok(SagaFilter::Any),
        Some("stuck") => Ok(SagaFilter::Stuck { after: Duration::from_secs(api.config.saga_stuck_after_seconds) }),
        Some(text) => SagaStatus::parse(text)
            .map(SagaFilter::Of)
            .ok_or_else(|| Problem::invalid_value("status", "running, stuck, completed or compensated")),
    }
}

/// The first dead letter of each of the orders.
async fn dead_letters(api: &ApiState, sagas: &[SagaView]) -> Result<HashMap<String, DeadLetter>, Problem> {
    let orders: Vec<&str> = sagas.iter().map(|saga| saga.order_id.as_str()).collect();
    let letters = dead_letter::undelivered_of(&api.queries, &resolution::CONSUMERS, &orders).await?;
    let mut first = HashMap::new();
    for letter in letters.into_iter().filter(|letter| letter.state == DeadLetterState::Dead) {
        if let Some(order_id) = letter.waiting_key.clone() {
            first.entry(order_id).or_insert(letter);
        }
    }
    Ok(first)
}

fn handler_of(api: &ApiState, name: &str) -> Option<Arc<dyn Handler>> {
    api.consumers.iter().find(|consumer| consumer.name == name)?.handler.clone()
}

impl SagaBody {
    fn of(saga: SagaView, letters: &HashMap<String, DeadLetter>) -> Self {
        let dead_letter = letters.get(saga.order_id.as_str()).map(BlockingLetterBody::from);
        let failure = saga.saga.refund_failures.first().filter(|_| dead_letter.is_none());
        let refund_failure = failure.map(|failure| RefundFailureBody {
            payment_id: failure.payment_id.clone(),
            attempts: failure.attempts,
            reason: failure.reason.clone(),
        });
        let letter = dead_letter.as_ref().map(BlockingLetterBody::in_words);
        Self {
            remaining: saga.remaining(),
            problem: letter.or_else(|| refund_failure.as_ref().map(RefundFailureBody::in_words)),
            dead_letter,
            refund_failure,
            order_id: saga.order_id,
            ticket_type_id: saga.ticket_type_id.get(),
            status: saga.status.as_str(),
            step: saga.step,
            since: saga.step_since,
            handed_over: saga.handed_over,
            reason: saga.saga.reason,
            begun_at: saga.begun_at,
            version: saga.version,
            position: saga.position,
        }
    }
}

impl BlockingLetterBody {
    fn in_words(&self) -> String {
        format!("dead letter {} of {} ({}): {}", self.id, self.consumer, self.topic, self.reason)
    }
}

impl From<&DeadLetter> for BlockingLetterBody {
    fn from(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id,
            consumer: letter.consumer.clone(),
            topic: letter.topic.clone(),
            reason: letter.reason.clone(),
        }
    }
}

impl RefundFailureBody {
    fn in_words(&self) -> String {
        format!("the refund of {} failed {} times: {}", self.payment_id, self.attempts, self.reason)
    }
}

impl ResolutionBody {
    fn of(order_id: OrderId, resolution: Resolution) -> Self {
        Self {
            order_id,
            step: resolution.step,
            remaining: resolution.remaining,
            redriven: resolution.letters.redriven,
            discarded: resolution.letters.discarded,
            stopped: resolution.letters.stopped,
        }
    }
}

impl From<ResolutionError> for Problem {
    fn from(error: ResolutionError) -> Self {
        let detail = error.to_string();
        match error {
            ResolutionError::NotBegun => Self::not_found("saga_not_found", detail),
            ResolutionError::NotSkippable { .. } => Self::new(StatusCode::CONFLICT, "not_skippable", detail),
            ResolutionError::NotRedrivable(_) => Self::new(StatusCode::CONFLICT, "consumer_not_redrivable", detail),
            ResolutionError::Command(error) => error.into(),
            ResolutionError::Store(error) => error.into(),
            ResolutionError::DeadLetter(error) => error.into(),
            ResolutionError::Database(error) => database_away(error),
        }
    }
}
