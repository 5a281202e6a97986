//! Every request is counted by its call and how it ended, and timed.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use metrics::{counter, describe_counter, describe_histogram, histogram};

use crate::orders::NOT_YET_VISIBLE;
use crate::problem::Failure;

const REQUESTS: &str = "ledger_http_requests_total";
const DURATION: &str = "ledger_http_request_duration_seconds";
/// What is at no address of the interface, so that callers can't make up labels.
const UNKNOWN_ROUTE: &str = "unknown";

/// Whose doing the answer is.
#[derive(Clone, Copy)]
enum Outcome {
    /// As asked for.
    Ok,
    /// The caller's: 4xx, and a list that did not wait long enough. How long is the caller's word, and how far a list is
    /// behind has a promise of its own.
    Refused,
    /// Ours: 5xx, an answer "later" included.
    Failed,
}

impl Outcome {
    const ALL: [Outcome; 3] = [Outcome::Ok, Outcome::Refused, Outcome::Failed];

    fn of(response: &Response) -> Self {
        let code = response.extensions().get::<Failure>().map(|failure| failure.code);
        match response.status().as_u16() {
            _ if code == Some(NOT_YET_VISIBLE) => Outcome::Refused,
            500.. => Outcome::Failed,
            400.. => Outcome::Refused,
            _ => Outcome::Ok,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

/// Has the series of these calls there from the start, so that the first failure is an increase.
pub(crate) fn register<'a>(calls: impl Iterator<Item = (&'static str, &'a str)>) {
    describe_counter!(
        REQUESTS,
        "Requests by call and by whose doing the answer was: ok, refused (4xx, not_yet_visible), failed (5xx)"
    );
    describe_histogram!(DURATION, "Seconds from a request to the head of its answer");
    for (method, route) in calls {
        for outcome in Outcome::ALL {
            requests(method, route, outcome).increment(0);
        }
        drop(duration(method, route));
    }
}

/// The layer that counts.
pub(crate) async fn count(request: Request, next: Next) -> Response {
    let method = label_of(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let started = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(UNKNOWN_ROUTE, MatchedPath::as_str);
    requests(method, route, Outcome::of(&response)).increment(1);
    duration(method, route).record(started.elapsed().as_secs_f64());
    response
}

/// Callers can make up methods too.
fn label_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

fn requests(method: &'static str, route: &str, outcome: Outcome) -> metrics::Counter {
    counter!(REQUESTS, "method" => method, "route" => route.to_owned(), "outcome" => outcome.label())
}

fn duration(method: &'static str, route: &str) -> metrics::Histogram {
    histogram!(DURATION, "method" => method, "route" => route.to_owned())
}
