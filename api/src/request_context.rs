//! What every request carries: an id to find it by, the caller's trace, and one log line when it fails.

use std::convert::Infallible;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use domain::Mode;
use event_store::Metadata;
use event_store::span::{self, KeyValue, Span, SpanKind};
use uuid::Uuid;

use crate::auth::Caller;
use crate::problem::Failure;

/// Identifies one request in answers, logs, events and messages.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    request_id: String,
    traceparent: Option<String>,
}

impl RequestContext {
    /// What the events of this request will say about where they came from.
    pub fn metadata(&self, actor: impl Into<String>, mode: Option<Mode>) -> Metadata {
        Metadata {
            correlation_id: Some(self.request_id.clone()),
            actor: Some(actor.into()),
            traceparent: self.traceparent.clone(),
            mode,
            ..Metadata::default()
        }
    }

    /// The same, for a caller with a token.
    pub fn metadata_of(&self, caller: &Caller, mode: Option<Mode>) -> Metadata {
        self.metadata(caller.actor(), mode)
    }
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost layer: names the request, and logs it when it was refused.
pub(crate) async fn identify(mut request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let parent = traceparent(request.headers());
    let mut span = request_span(&request, route.as_deref(), parent.as_deref());
    let traceparent = span.traceparent().or(parent);
    let context = RequestContext { request_id: Uuid::now_v7().to_string(), traceparent };
    request.extensions_mut().insert(context.clone());

    let started = Instant::now();
    let mut response = next.run(request).await;
    span.set("http.response.status_code", i64::from(response.status().as_u16()));
    if response.status().is_server_error() {
        span.fail("server_error", response.status().as_str().to_owned());
    }
    if let Some(failure) = response.extensions().get::<Failure>() {
        let line = FailedRequest { context: &context, method: method.as_str(), route, failure, started };
        line.log(response.status().as_u16());
    }
    if let Ok(id) = HeaderValue::from_str(&context.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Names of routes that are asked for all the time and tell nothing of an order.
const UNTRACED: [&str; 3] = ["/livez", "/readyz", "/metrics"];

fn request_span(request: &Request, route: Option<&str>, parent: Option<&str>) -> Span {
    if !span::is_on() || route.is_some_and(|route| UNTRACED.contains(&route)) {
        return Span::none();
    }
    let method = request.method().as_str().to_owned();
    let name = route.map_or_else(|| method.clone(), |route| format!("{method} {route}"));
    let mut attributes =
        vec![KeyValue::new("http.request.method", method), KeyValue::new("url.path", request.uri().path().to_owned())];
    attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
    Span::begin(name, SpanKind::Server, parent, [], attributes)
}

struct FailedRequest<'a> {
    context: &'a RequestContext,
    method: &'a str,
    route: Option<String>,
    failure: &'a Failure,
    started: Instant,
}

impl FailedRequest<'_> {
    /// A defect is an error, what is away or too busy a warning; what the caller did wrong is only worth knowing.
    fn log(&self, status: u16) {
        let request_id = &self.context.request_id;
        let trace_id = span::trace_id(self.context.traceparent.as_deref());
        let route = self.route.as_deref().unwrap_or("unknown");
        let Failure { code, field, cause, is_alarming } = self.failure;
        let (method, field, cause) = (self.method, field.as_deref(), cause.as_deref());
        let duration_ms = self.started.elapsed().as_millis();
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(request_id, trace_id, method, route, status, code, field, cause, duration_ms, $message)
            };
        }
        match status {
            500 => line!(error, "request failed"),
            501.. => line!(warn, "request not served"),
            _ if *is_alarming => line!(error, "request refused"),
            _ => line!(info, "request refused"),
        }
    }
}

/// W3C trace context, version 00; anything else is as good as none.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let lengths = text.split('-').map(str::len);
    let shaped = text.starts_with("00-") && lengths.eq([2, 32, 16, 2]);
    let lower_hex = |byte: u8| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (shaped && text.bytes().all(lower_hex)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static(value));
        traceparent(&headers)
    }

    #[test]
    fn only_a_well_formed_traceparent_is_passed_on() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(read(good).as_deref(), Some(good));
        assert_eq!(read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"), None);
        assert_eq!(read("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"), None);
        assert_eq!(read("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None);
    }
}
