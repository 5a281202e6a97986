//! `Idempotency-Key`: the answer of the first request is written in its append, and repeated from there.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use event_store::{CommandError, CommandKey, Committed, KeyRecord, read};
use processors::commands::UseCaseError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::auth::Caller;
use crate::problem::Problem;
use crate::state::ApiState;

/// How the scopes of these keys begin, for whoever forgets old ones.
pub const IDEMPOTENCY_SCOPE_PREFIX: &str = "idempotency:";

const HEADER: &str = "idempotency-key";
const MAX_CHARS: usize = 255;

/// The header's value: 1 to 255 visible ASCII characters; 428 when it is missing.
#[derive(Debug, Clone)]
pub(crate) struct IdempotencyKey(String);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let required = || {
            let detail = "send an Idempotency-Key header, so that a repeated request has no second effect";
            Problem::new(StatusCode::PRECONDITION_REQUIRED, "idempotency_key_required", detail).field("Idempotency-Key")
        };
        let value = parts.headers.get(HEADER).ok_or_else(required)?;
        Self::parse(value.as_bytes())
    }
}

impl IdempotencyKey {
    fn parse(value: &[u8]) -> Result<Self, Problem> {
        let visible = value.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(value) {
            Ok(text) if visible && (1..=MAX_CHARS).contains(&value.len()) => Ok(Self(text.to_owned())),
            _ => Err(Problem::invalid_value("Idempotency-Key", "1 to 255 visible ASCII characters")),
        }
    }

    /// This caller's key for this route; `request` is what a repeat must equal, whatever its spelling was.
    pub fn scoped(self, caller: &Caller, route: &str, request: &impl Serialize) -> Result<CommandKey, Problem> {
        let canonical = serde_json::to_vec(request).map_err(Problem::internal)?;
        Ok(CommandKey {
            scope: format!("{IDEMPOTENCY_SCOPE_PREFIX}{route} {}", caller.actor()),
            key: self.0,
            request_hash: Some(Sha256::digest(canonical).to_vec()),
        })
    }
}

/// What the first request with this key was answered, if there was one: for calls that cannot be carried out just now.
pub(crate) async fn repeated<T: DeserializeOwned>(
    api: &ApiState,
    key: &CommandKey,
) -> Result<Option<Committed<T>>, Problem> {
    let Some(record) = read::known_key(&api.queries, key).await? else { return Ok(None) };
    Ok(Some(Committed { value: first_answer(&record, key)?, position: record.position }))
}

/// A repeat of a request is answered as the first was, with the position the first one got.
pub(crate) fn first_or_repeated<T: DeserializeOwned>(
    outcome: Result<Committed<T>, UseCaseError>,
    key: &CommandKey,
) -> Result<Committed<T>, Problem> {
    match outcome {
        Err(UseCaseError::Command(CommandError::Duplicate(record))) => {
            Ok(Committed { value: first_answer(&record, key)?, position: record.position })
        }
        outcome => Ok(outcome?),
    }
}

/// What the first request with this key was answered; 422 when this one asks for something else.
fn first_answer<T: DeserializeOwned>(record: &KeyRecord, key: &CommandKey) -> Result<T, Problem> {
    if record.request_hash != key.request_hash {
        let detail = "this Idempotency-Key was used for another request";
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail);
        return Err(problem.field("Idempotency-Key"));
    }
    let response = record.response.as_deref().ok_or_else(|| Problem::internal("a key without its answer"))?;
    serde_json::from_str(response).map_err(Problem::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_1_to_255_visible_ascii_characters() {
        assert!(IdempotencyKey::parse(b"3f2c-1").is_ok());
        assert!(IdempotencyKey::parse(&[b'k'; 255]).is_ok());
        for wrong in [b"".as_slice(), b"two words", "schl\u{fc}ssel".as_bytes(), &[b'k'; 256]] {
            assert!(IdempotencyKey::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
