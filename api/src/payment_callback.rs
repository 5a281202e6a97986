//! What the payment provider reports, signed as Standard Webhooks has it.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode};
use chrono::DateTime;
use domain::{Money, OrderId, PaymentId};
use event_store::CommandKey;
use metrics::counter;
use processors::commands::{Origin, Settlement, settle_payment};
use processors::provider::{CallbackStatus, PaymentCallback};
use serde::Deserialize;
use standardwebhooks::{HEADER_WEBHOOK_ID, WebhookError};
use utoipa::ToSchema;

use crate::extract::{parse_object, read_body};
use crate::fields::{self, payment_not_found};
use crate::openapi::{BodyProblems, NotFoundProblem};
use crate::problem::{Problem, ProblemBody};
use crate::request_context::RequestContext;
use crate::state::ApiState;

/// How the scopes of webhook ids begin, for whoever forgets old ones.
pub const WEBHOOK_SCOPE_PREFIX: &str = "webhook:";

/// How a payment ended. A provider may send more than this; what is not known here is left alone.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PaymentCallback)]
pub(crate) struct CallbackBody {
    #[schema(example = "PAY202412010001")]
    payment_id: String,
    #[schema(example = "ORD202412010001")]
    order_id: String,
    /// `SUCCEEDED` or `FAILED`.
    #[schema(value_type = String, example = "SUCCEEDED")]
    status: CallbackStatus,
    #[schema(value_type = f64, example = 598.00)]
    amount: Money,
    #[schema(min_length = 1, max_length = 255)]
    provider_reference: String,
    /// Epoch milliseconds.
    paid_time: i64,
}

/// Takes in how a payment ended. The same `webhook-id` again has no second effect.
#[utoipa::path(
    post,
    path = "/v1/payments/callback",
    tag = "payments",
    security(()),
    params(
        ("webhook-id" = String, Header, min_length = 1, max_length = 255),
        ("webhook-timestamp" = i64, Header, description = "Epoch seconds, within five minutes of now"),
        ("webhook-signature" = String, Header, description = "`v1,<base64 of HMAC-SHA256 over id.timestamp.body>`")
    ),
    request_body = CallbackBody,
    responses(
        (status = 204, description = "Taken in, now or before"),
        (status = 401, description = "The signature is wrong, or its time too far from now", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now; send it again", body = ProblemBody, content_type = "application/problem+json"),
        NotFoundProblem,
        BodyProblems
    )
)]
pub(crate) async fn receive(
    context: RequestContext,
    State(api): State<ApiState>,
    SignedBody { webhook_id, body }: SignedBody,
) -> Result<StatusCode, Problem> {
    let callback = parse_object::<CallbackBody>(&body).and_then(CallbackBody::validate);
    let callback = callback.map_err(|problem| counted(problem, "unreadable"))?;
    let payment_id = callback.payment_id.clone();
    let key = CommandKey { scope: format!("{WEBHOOK_SCOPE_PREFIX}payments"), key: webhook_id, request_hash: None };
    let origin = Origin::new(context.metadata("payment-provider", None)).with_key(key);
    match settle_payment(&api.ledger, &api.config.policy, origin, callback).await.map_err(Problem::from) {
        Ok(settled) => {
            count(outcome(settled.value));
            Ok(StatusCode::NO_CONTENT)
        }
        Err(problem) => Err(counted(problem, payment_id.as_str())),
    }
}

/// Somebody who knows the secret reports what does not fit: a person must look at it, and the payment stays open.
fn counted(problem: Problem, payment_id: &str) -> Problem {
    match problem.code() {
        "wrong_amount" | "wrong_order" => {
            count("mismatch");
            return problem.caused_by(format!("the callback does not fit payment {payment_id}")).alarming();
        }
        "payment_not_found" => count("unknown_payment"),
        _ if problem.status().is_client_error() => count("malformed"),
        _ => count("unavailable"),
    }
    problem
}

const CALLBACKS: &str = "ledger_payment_callbacks_total";
const OUTCOMES: [&str; 11] = [
    "paid",
    "refund_started",
    "failed",
    "no_effect",
    "repeated",
    "mismatch",
    "unknown_payment",
    "malformed",
    "unavailable",
    "forged",
    "stale",
];

/// Puts the counters there at 0, so that an alert can be written on them.
pub(crate) fn register_metrics() {
    metrics::describe_counter!(CALLBACKS, "Payment callbacks by what came of them");
    for outcome in OUTCOMES {
        counter!(CALLBACKS, "outcome" => outcome).absolute(0);
    }
}

fn count(outcome: &'static str) {
    counter!(CALLBACKS, "outcome" => outcome).increment(1);
}

fn outcome(settlement: Settlement) -> &'static str {
    match settlement {
        Settlement::Paid => "paid",
        Settlement::RefundStarted => "refund_started",
        Settlement::Failed => "failed",
        Settlement::NoEffect => "no_effect",
        Settlement::Repeated => "repeated",
    }
}

/// A body whose signature was checked, byte for byte as it came, before anything was read from it.
pub(crate) struct SignedBody {
    webhook_id: String,
    body: Bytes,
}

const MAX_WEBHOOK_ID_CHARS: usize = 255;

impl FromRequest<ApiState> for SignedBody {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &ApiState) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let body = read_body(request, api).await?;
        api.callback_webhook.verify(&body, &headers).map_err(|error| {
            count(if is_stale(&error) { "stale" } else { "forged" });
            Problem::unauthorized("signature_invalid", "the webhook signature is not valid").caused_by(error)
        })?;
        Ok(Self { webhook_id: webhook_id(&headers)?, body })
    }
}

/// Sent too long ago to be taken, or from a future: a recording perhaps, or a clock that is wrong.
fn is_stale(error: &WebhookError) -> bool {
    matches!(error, WebhookError::TimestampTooOldError | WebhookError::FutureTimestampError)
}

fn webhook_id(headers: &HeaderMap) -> Result<String, Problem> {
    let id = headers.get(HEADER_WEBHOOK_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    if (1..=MAX_WEBHOOK_ID_CHARS).contains(&id.len()) {
        Ok(id.to_owned())
    } else {
        Err(Problem::invalid_value(HEADER_WEBHOOK_ID, format!("1 to {MAX_WEBHOOK_ID_CHARS} characters")))
    }
}

const MAX_REFERENCE_CHARS: usize = 255;

impl CallbackBody {
    fn validate(self) -> Result<PaymentCallback, Problem> {
        let paid_time = DateTime::from_timestamp_millis(self.paid_time).filter(|_| self.paid_time >= 0);
        if paid_time.is_none() {
            return Err(Problem::invalid_value("paidTime", "epoch milliseconds"));
        }
        let wrong_order = |_| {
            let detail = "the payment belongs to another order";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong_order", detail).field("orderId")
        };
        Ok(PaymentCallback {
            payment_id: PaymentId::parse(&self.payment_id).map_err(|_| payment_not_found())?,
            order_id: OrderId::parse(&self.order_id).map_err(wrong_order)?,
            status: self.status,
            amount: self.amount,
            provider_reference: fields::line("providerReference", self.provider_reference, MAX_REFERENCE_CHARS)?,
            paid_time: self.paid_time,
        })
    }
}
