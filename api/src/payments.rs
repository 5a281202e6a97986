//! Paying for an order, and looking at a payment.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use domain::payment::RequestedPayment;
use domain::{Mode, Money, OrderId, OrderStatus, Payment, PaymentId, PaymentStatus, UserId};
use event_store::Committed;
use processors::commands::{NewPayment, Origin, StartPayment, start_payment};
use processors::payment_result::AddressError;
use processors::sync_payment::{SyncOutcome, ask_and_wait};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::extract::{JsonBody, PathId};
use crate::fields::payment_not_found;
use crate::idempotency::{IdempotencyKey, first_or_repeated, repeated};
use crate::openapi::{BodyProblems, CallerProblems, ConflictProblem, IdempotencyProblems, NotFoundProblem};
use crate::orders::changeable_order;
use crate::problem::{Problem, ProblemBody};
use crate::request_context::RequestContext;
use crate::state::{ApiConfig, ApiState};

/// How to pay.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewPaymentRequest)]
pub(crate) struct PayBody {
    /// Letters, digits, `_` and `-`. The sandbox declines `SANDBOX_DECLINE` and never answers `SANDBOX_SILENT`.
    #[schema(min_length = 1, max_length = 64, example = "ALIPAY")]
    payment_method: String,
    /// Who is told how the payment ended: signed, as the provider's callback is. Only https addresses on hosts of the
    /// configuration are allowed.
    #[schema(max_length = 2048, example = "https://shop.example/payments/done")]
    callback_url: Option<String>,
}

/// A payment that was started.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StartedPayment)]
pub(crate) struct StartedPaymentBody {
    #[schema(value_type = String, example = "PAY202412010001")]
    payment_id: PaymentId,
    #[schema(value_type = String, example = "ORD202412010001")]
    order_id: OrderId,
    #[schema(value_type = String, example = "REQUESTED")]
    status: PaymentStatus,
    #[schema(value_type = f64, example = 598.00)]
    amount: Money,
    payment_method: String,
    position: i64,
}

/// A payment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Payment)]
pub(crate) struct PaymentBody {
    #[schema(value_type = String, example = "PAY202412010001")]
    payment_id: PaymentId,
    #[schema(value_type = String, example = "ORD202412010001")]
    order_id: OrderId,
    #[schema(value_type = i64)]
    user_id: UserId,
    #[schema(value_type = String, example = "SUCCEEDED")]
    status: PaymentStatus,
    #[schema(value_type = f64, example = 598.00)]
    amount: Money,
    payment_method: String,
    #[schema(value_type = f64, example = 598.00)]
    captured: Money,
    #[schema(value_type = f64, example = 0.00)]
    refunded: Money,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    version: u64,
    position: i64,
}

/// Starts to pay for an order. A lock that lapsed is taken anew in the same append, or the answer is 409. For a sync order the
/// provider is asked at once, and its decision waited for a few seconds.
#[utoipa::path(
    post,
    path = "/v1/orders/{orderId}/payments",
    tag = "orders",
    params(("orderId" = String, Path), ("Idempotency-Key" = String, Header, min_length = 1, max_length = 255)),
    request_body = PayBody,
    responses(
        (status = 202, description = "Started: the provider is being asked", body = StartedPaymentBody, headers(("Location" = String))),
        (status = 201, description = "Sync: paid, and the order is confirmed", body = StartedPaymentBody, headers(("Location" = String))),
        (status = 402, description = "Sync: declined; the order may be paid again", body = ProblemBody, content_type = "application/problem+json"),
        CallerProblems,
        NotFoundProblem,
        ConflictProblem,
        BodyProblems,
        IdempotencyProblems
    )
)]
pub(crate) async fn pay(
    caller: Caller,
    context: RequestContext,
    key: IdempotencyKey,
    State(api): State<ApiState>,
    PathId(order_id): PathId<OrderId>,
    JsonBody(body): JsonBody<PayBody>,
) -> Result<Response, Problem> {
    let request = body.validate(&api.config)?;
    let key = key.scoped(&caller, "POST /v1/orders/{orderId}/payments", &(&order_id, &body))?;
    let order = changeable_order(&api, &caller, &order_id).await?;
    if let Some(wait) = api.provider_circuit.open_for().await {
        let started = repeated(&api, &key).await?.ok_or_else(|| provider_away(wait))?;
        return finish(&api, started).await;
    }
    let origin = Origin::new(context.metadata_of(&caller, Some(order.mode))).with_key(key.clone());
    let started = start_payment(&api.ledger, &api.config.policy, origin, &order, request).await;
    let started = first_or_repeated(started, &key)?;
    finish(&api, started).await
}

/// What a payment that was started, now or before, is answered.
async fn finish(api: &ApiState, started: Committed<NewPayment>) -> Result<Response, Problem> {
    let outcome = match started.value.mode {
        Mode::Async => SyncOutcome::Open,
        Mode::Sync => settle_now(api, &started.value).await?,
    };
    answer(started, outcome)
}

/// Committed before the provider is asked: whatever happens in between, the payment's deadline goes on from there.
async fn settle_now(api: &ApiState, payment: &NewPayment) -> Result<SyncOutcome, Problem> {
    let Ok(_turn) = api.waiting_payments.try_acquire() else { return Ok(SyncOutcome::Open) };
    let wait = Duration::from_millis(api.config.sync_payment_wait_ms);
    Ok(ask_and_wait(&api.ledger, api.provider.as_ref(), payment, wait).await?)
}

fn answer(started: Committed<NewPayment>, outcome: SyncOutcome) -> Result<Response, Problem> {
    let (code, status) = match outcome {
        SyncOutcome::Paid => (StatusCode::CREATED, PaymentStatus::Succeeded),
        SyncOutcome::Open => (StatusCode::ACCEPTED, PaymentStatus::Requested),
        SyncOutcome::Declined => return Err(declined(started.value)),
    };
    let body = StartedPaymentBody { status, ..StartedPaymentBody::from(started) };
    let location = format!("/v1/payments/{}", body.payment_id);
    Ok((code, [(LOCATION, location)], Json(body)).into_response())
}

fn declined(payment: NewPayment) -> Problem {
    Problem::new(StatusCode::PAYMENT_REQUIRED, "payment_declined", "the provider declined the payment; try another one")
        .order_id(payment.order_id)
        .payment_id(payment.payment_id)
        .order_status(Some(OrderStatus::AwaitingPayment))
}

/// Said before anything is written: an order that is not being paid can be cancelled, and its user comes back.
fn provider_away(wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
    Problem::unavailable("payment_provider_unavailable", "the payment provider does not answer just now")
        .retry_after(seconds)
}

/// One payment, as the ledger has it now.
#[utoipa::path(
    get,
    path = "/v1/payments/{paymentId}",
    tag = "payments",
    params(("paymentId" = String, Path)),
    responses((status = 200, description = "The payment", body = PaymentBody), CallerProblems, NotFoundProblem)
)]
pub(crate) async fn get(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(id): PathId<PaymentId>,
) -> Result<Json<PaymentBody>, Problem> {
    let loaded = api.ledger.load::<Payment>(id.as_str()).await?;
    let payment = loaded.state.requested.filter(|payment| caller.may_see(payment.user_id));
    let payment = payment.ok_or_else(payment_not_found)?;
    Ok(Json(PaymentBody::new(payment, loaded.version, loaded.position)))
}

const MAX_METHOD_CHARS: usize = 64;

impl PayBody {
    fn validate(&self, config: &ApiConfig) -> Result<StartPayment, Problem> {
        let method = &self.payment_method;
        let plain = method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if method.is_empty() || method.len() > MAX_METHOD_CHARS || !plain {
            let detail = format!("1 to {MAX_METHOD_CHARS} letters, digits, `_` and `-`");
            return Err(Problem::invalid_value("paymentMethod", detail));
        }
        Ok(StartPayment { payment_method: method.clone(), callback_url: self.result_address(config)? })
    }

    fn result_address(&self, config: &ApiConfig) -> Result<Option<String>, Problem> {
        let Some(address) = &self.callback_url else { return Ok(None) };
        let refused = |error: AddressError| {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "callback_url_not_allowed", error.to_string())
                .field("callbackUrl")
        };
        Ok(Some(config.result_callback_hosts.check(address).map_err(refused)?.into()))
    }
}

impl From<Committed<NewPayment>> for StartedPaymentBody {
    fn from(committed: Committed<NewPayment>) -> Self {
        let payment = committed.value;
        Self {
            payment_id: payment.payment_id,
            order_id: payment.order_id,
            status: PaymentStatus::Requested,
            amount: payment.amount,
            payment_method: payment.payment_method,
            position: committed.position.unwrap_or_default(),
        }
    }
}

impl PaymentBody {
    fn new(payment: RequestedPayment, version: u64, position: i64) -> Self {
        Self {
            payment_id: payment.payment_id,
            order_id: payment.order_id,
            user_id: payment.user_id,
            status: payment.status,
            amount: payment.amount,
            payment_method: payment.payment_method,
            captured: payment.captured,
            refunded: payment.refunded,
            provider_reference: payment.provider_reference,
            reason: payment.reason,
            version,
            position,
        }
    }
}
