//! Every refusal leaves as RFC 9457 `application/problem+json`, with a stable `code`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{OrderId, OrderStatus, PaymentId};
use serde::Serialize;
use utoipa::ToSchema;

/// What a refused request is answered with.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    field: Option<String>,
    /// Boxed: most problems have none, and all are results.
    about: Option<Box<About>>,
    retry_after_seconds: Option<u32>,
    cause: Option<String>,
    is_alarming: bool,
}

/// The order or payment a problem is about.
#[derive(Debug, Clone, Default)]
struct About {
    order_status: Option<OrderStatus>,
    order_id: Option<OrderId>,
    payment_id: Option<PaymentId>,
}

/// The JSON form of a [`Problem`].
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Names the kind of problem; the code as a URN.
    #[serde(rename = "type")]
    #[schema(example = "urn:order-ledger:problem:invalid_value")]
    kind: String,
    #[schema(example = "Invalid value")]
    title: String,
    #[schema(example = 422)]
    status: u16,
    detail: String,
    /// Stable, for programs.
    #[schema(example = "invalid_value")]
    code: &'static str,
    /// The field, parameter or header that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "quantity")]
    field: Option<String>,
    /// The status in which the order was found, where that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "PAID")]
    order_status: Option<OrderStatus>,
    /// The order that was made and could not be carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "ORD202412010001")]
    order_id: Option<OrderId>,
    /// The payment that was tried and came to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "PAY202412010001")]
    payment_id: Option<PaymentId>,
}

/// Left in the response's extensions, so that the one log line of a failed request can name its reason.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub code: &'static str,
    pub field: Option<String>,
    /// Never sent to the caller.
    pub cause: Option<String>,
    /// A person must look at it, whatever its status.
    pub is_alarming: bool,
}

impl Problem {
    /// A problem of this status; `code` is stable, `detail` is for people.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            field: None,
            about: None,
            retry_after_seconds: None,
            cause: None,
            is_alarming: false,
        }
    }

    /// Names the field, parameter or header that is wrong.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says in which status the order was found.
    pub fn order_status(mut self, status: Option<OrderStatus>) -> Self {
        if status.is_some() {
            self.about.get_or_insert_default().order_status = status;
        }
        self
    }

    /// Names the order that was made all the same.
    pub fn order_id(mut self, id: OrderId) -> Self {
        self.about.get_or_insert_default().order_id = Some(id);
        self
    }

    /// Names the payment that was tried.
    pub fn payment_id(mut self, id: PaymentId) -> Self {
        self.about.get_or_insert_default().payment_id = Some(id);
        self
    }

    /// What the log should say and the caller must not see.
    pub fn caused_by(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Has the log tell it as an error, though the caller is refused.
    pub fn alarming(mut self) -> Self {
        self.is_alarming = true;
        self
    }

    /// Says after how many seconds trying again is worth it.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// 422: a field has a value it can't have.
    pub fn invalid_value(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail).field(field)
    }

    /// 400: the request can't be read at all.
    pub fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401.
    pub fn unauthorized(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    /// 403.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404.
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 503: not now; trying again is worth it.
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(RETRY_AFTER_SECONDS)
    }

    /// 429: this caller asks too often.
    pub fn too_many_requests(retry_after_seconds: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests from this user")
            .retry_after(retry_after_seconds)
    }

    /// 500: a defect of ours; the reason goes to the log only.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "something went wrong on our side; the request id finds it in the log",
        )
        .caused_by(cause)
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    fn body(&self) -> ProblemBody {
        let About { order_status, order_id, payment_id } = self.about.as_deref().cloned().unwrap_or_default();
        ProblemBody {
            kind: format!("urn:order-ledger:problem:{}", self.code),
            title: title(self.code),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            code: self.code,
            field: self.field.clone(),
            order_status,
            order_id,
            payment_id,
        }
    }
}

/// Long enough for a restart of the relay or the database to make a difference, short enough to be tried.
const RETRY_AFTER_SECONDS: u32 = 1;

/// A title is the same for every problem of a kind, so the code is its source: `rate_limited` is "Rate limited".
fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let Self { code, field, cause, is_alarming, .. } = self;
        response.extensions_mut().insert(Failure { code, field, cause, is_alarming });
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_the_code_in_words() {
        assert_eq!(title("insufficient_stock"), "Insufficient stock");
        assert_eq!(title(""), "");
    }

    #[test]
    fn the_cause_is_for_the_log_and_not_for_the_caller() {
        let problem = Problem::internal("relation \"store.events\" does not exist");
        assert!(!serde_json::to_string(&problem.body()).is_ok_and(|body| body.contains("store.events")));
        let response = problem.into_response();
        let failure = response.extensions().get::<Failure>();
        assert!(failure.is_some_and(|f| f.cause.as_deref().is_some_and(|c| c.contains("store.events"))));
    }
}
