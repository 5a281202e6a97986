//! `/openapi.json`: made from the handlers themselves, so that it lists what is served.

use std::collections::BTreeMap;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as DocumentedResponse, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi};

use crate::problem::ProblemBody;

/// The head of the document; the router adds the paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "order-ledger",
        description = "Ticket orders on an event-sourced ledger. Every refusal is application/problem+json with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemBody)),
    modifiers(&BearerScheme),
    security(("bearer" = [])),
    tags(
        (name = "orders", description = "Placing, reading, paying and cancelling orders"),
        (name = "payments", description = "Payments and the provider's callback"),
        (name = "stock", description = "Ticket types and what is left of them"),
        (name = "users", description = "Notifications and how to reach a user"),
        (name = "admin", description = "Lag, projections, dead letters and the rollout"),
        (name = "operation", description = "Health, metrics and this document"),
    )
)]
pub(crate) struct Document;

struct BearerScheme;

impl Modify for BearerScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        document.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Answers with the document rendered at start.
pub(crate) fn serve(document: &str) -> Response {
    ([(CONTENT_TYPE, "application/json")], document.to_owned()).into_response()
}

/// What any call with a token may be refused with.
pub(crate) struct CallerProblems;

impl IntoResponses for CallerProblems {
    fn responses() -> BTreeMap<String, RefOr<DocumentedResponse>> {
        problems(&[
            (401, "No token, or one that is not valid (any more)"),
            (403, "The token does not allow this"),
            (429, "Too many requests; Retry-After says when to come back"),
            (503, "Not now; Retry-After says when to come back"),
        ])
    }
}

/// What a call that takes a JSON body may be refused with besides.
pub(crate) struct BodyProblems;

impl IntoResponses for BodyProblems {
    fn responses() -> BTreeMap<String, RefOr<DocumentedResponse>> {
        problems(&[
            (400, "The body is not a JSON object"),
            (413, "The body is larger than 64 KiB"),
            (415, "The body is not application/json"),
            (422, "A field is missing, unknown or wrong; `field` names it"),
        ])
    }
}

/// What a call that needs an Idempotency-Key may be refused with besides.
pub(crate) struct IdempotencyProblems;

impl IntoResponses for IdempotencyProblems {
    fn responses() -> BTreeMap<String, RefOr<DocumentedResponse>> {
        problems(&[(428, "The Idempotency-Key header is missing")])
    }
}

/// What a call with wrong parameters is refused with.
pub(crate) struct ParameterProblems;

impl IntoResponses for ParameterProblems {
    fn responses() -> BTreeMap<String, RefOr<DocumentedResponse>> {
        problems(&[(422, "A parameter is unknown or wrong; `field` names it")])
    }
}

/// What a call about one thing is refused with when there is no such thing, or it is somebody else's.
pub(crate) struct NotFoundProblem;

impl IntoResponses for NotFoundProblem {
    fn responses() -> BTreeMap<String, RefOr<DocumentedResponse>> {
        problems(&[(404, "Unknown, or somebody else's")])
    }
}

/// What a decision on the state may be refused with.
pub(crate) struct ConflictProblem;

impl IntoResponses for ConflictProblem {
    fn responses() -> BTreeMap<String, RefOr<DocumentedResponse>> {
        problems(&[(409, "The state does not allow it; `code` says why")])
    }
}

fn problems(documented: &[(u16, &str)]) -> BTreeMap<String, RefOr<DocumentedResponse>> {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = |description: &str| {
        ResponseBuilder::new().description(description).content("application/problem+json", content.clone()).build()
    };
    documented.iter().map(|(status, description)| (status.to_string(), response(description).into())).collect()
}
