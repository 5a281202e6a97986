//! What protects the process: requests in flight, time per request, requests per user, and panics.

use std::any::Any;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::auth::Caller;
use crate::problem::Problem;
use crate::state::ApiState;

/// Says no at once when too much is under way: a queue here would only make everybody late.
pub(crate) async fn refuse_overload(
    State(api): State<ApiState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Ok(_in_flight) = api.in_flight.try_acquire() else {
        return Err(Problem::unavailable("overloaded", "too many requests are under way"));
    };
    Ok(next.run(request).await)
}

/// A command that was already handed to the ledger goes on; a repeat with its idempotency key finds the answer.
pub(crate) async fn bound_time(State(api): State<ApiState>, request: Request, next: Next) -> Result<Response, Problem> {
    let limit = Duration::from_millis(api.config.request_timeout_ms);
    let timed_out =
        |_| Problem::unavailable("request_timeout", "the request took too long; its outcome is not known here");
    tokio::time::timeout(limit, next.run(request)).await.map_err(timed_out)
}

/// Comes after authentication: the limit is the user's, whatever address they call from.
pub(crate) async fn limit_rate(
    State(api): State<ApiState>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(limiter) = &api.rate_limiter {
        limiter.admit(caller.user_id()).map_err(Problem::too_many_requests)?;
    }
    Ok(next.run(request).await)
}

/// A panic is a defect: 500, and the message goes to the log.
pub(crate) fn answer_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&'static str>().copied())
        .unwrap_or("a panic without a message");
    Problem::internal(format!("panic: {message}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    #[tokio::test]
    async fn a_panic_is_a_500_that_does_not_tell_what_it_was() {
        let response = answer_panic(Box::new("index 7 out of range in orders.rs".to_owned()));
        assert_eq!(response.status(), 500);
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
        assert!(!String::from_utf8_lossy(&body).contains("orders.rs"));
    }
}
