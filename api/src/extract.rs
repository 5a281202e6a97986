//! Reads bodies, path segments and queries, and answers problems where they are wrong.

use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// A JSON object as body: 400 when it is not JSON, 413, 415, 422 with the field that is wrong.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let body = read_body(request, state).await?;
        parse_object(&body).map(Self)
    }
}

/// A JSON object as body, or no body at all.
pub struct OptionalJsonBody<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let declared = require_json(request.headers());
        let body = read_body(request, state).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        declared?;
        parse_object(&body).map(Self)
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = "send the body as Content-Type: application/json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
}

/// The body as it came, within the limit the router sets.
pub(crate) async fn read_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is larger than allowed")
        }
        other => Problem::malformed("unreadable_body", "the body could not be read").caused_by(other),
    })
}

/// The object in these bytes; the first field that is wrong, named, when it is not what the call takes.
pub(crate) fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // A derived struct would also take an array of its fields' values.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::malformed("malformed_json", "the body must be a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(describe)?;
    deserializer.end().map_err(|error| Problem::malformed("malformed_json", error.to_string()))?;
    Ok(parsed)
}

fn describe(error: serde_path_to_error::Error<serde_json::Error>) -> Problem {
    if !error.inner().is_data() {
        return Problem::malformed("malformed_json", error.inner().to_string());
    }
    let message = error.inner().to_string();
    match named_field(&message) {
        Some((code, field)) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message.clone()).field(field),
        None => Problem::invalid_value(error.path().to_string(), message),
    }
}

/// serde names a missing, unknown or doubled field only in its message.
fn named_field(message: &str) -> Option<(&'static str, &str)> {
    const KINDS: [(&str, &str); 3] = [
        ("missing field `", "missing_field"),
        ("unknown field `", "unknown_field"),
        ("duplicate field `", "duplicate_field"),
    ];
    KINDS.iter().find_map(|(prefix, code)| {
        let (field, _) = message.strip_prefix(prefix)?.split_once('`')?;
        Some((*code, field))
    })
}

/// What a path segment can be read as.
pub trait PathSegment: Sized {
    /// Reads it, or says what the caller is told.
    fn read(segment: &str) -> Result<Self, Problem>;
}

/// The one `{…}` of a route.
pub struct PathId<T>(pub T);

impl<T: PathSegment, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let not_found = |_| Problem::not_found("not_found", "there is nothing at this address");
        let Path(segment) = Path::<String>::from_request_parts(parts, state).await.map_err(not_found)?;
        T::read(&segment).map(Self)
    }
}

/// A query string; a parameter the call does not know is refused, not ignored.
pub struct QueryParams<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Postgres' text holds no NUL, and nothing anybody asks for does.
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Problem::malformed("malformed_query", "a parameter holds a NUL"));
        }
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(describe_query(&rejection.body_text())),
        }
    }
}

fn describe_query(message: &str) -> Problem {
    let message = message.split_once(": ").map_or(message, |(_, reason)| reason);
    // axum puts the path of the parameter before serde's reason.
    let reason = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|prefix| message.find(prefix).map(|at| &message[at..]))
        .unwrap_or(message);
    match named_field(reason) {
        Some((code, field)) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, reason.to_owned()).field(field),
        None => Problem::malformed("malformed_query", "the query string can't be read"),
    }
}

/// Reads an optional query parameter; 422 with its name when it is something else.
pub(crate) fn parse_param<T: FromStr>(field: &str, text: Option<&str>) -> Result<Option<T>, Problem> {
    let wrong = |_| Problem::invalid_value(field, "not a number in range");
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::response::IntoResponse;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Body {
        #[allow(dead_code)]
        ticket_type_id: i64,
    }

    fn refusal(body: &str) -> (u16, &'static str, Option<String>) {
        let problem = parse_object::<Body>(body.as_bytes()).unwrap_err();
        let response = problem.into_response();
        let failure = response.extensions().get::<crate::problem::Failure>().unwrap();
        (response.status().as_u16(), failure.code, failure.field.clone())
    }

    #[test]
    fn each_wrong_body_is_told_what_is_wrong_and_where() {
        let field = |name: &str| Some(name.to_owned());
        assert_eq!(refusal("{"), (400, "malformed_json", None));
        assert_eq!(refusal("[1]"), (400, "malformed_json", None));
        assert_eq!(refusal(""), (400, "malformed_json", None));
        assert_eq!(refusal(r#"{"ticketTypeId":1} x"#), (400, "malformed_json", None));
        assert_eq!(refusal("{}"), (422, "missing_field", field("ticketTypeId")));
        assert_eq!(refusal(r#"{"ticketTypeId":"a"}"#), (422, "invalid_value", field("ticketTypeId")));
        assert_eq!(refusal(r#"{"ticketTypeId":1.5}"#), (422, "invalid_value", field("ticketTypeId")));
        assert_eq!(refusal(r#"{"ticketTypeId":99999999999999999999}"#), (422, "invalid_value", field("ticketTypeId")));
        assert_eq!(refusal(r#"{"ticketTypeId":1,"x":1}"#), (422, "unknown_field", field("x")));
        assert_eq!(refusal(r#"{"ticketTypeId":1,"ticketTypeId":2}"#), (422, "duplicate_field", field("ticketTypeId")));
    }
}
