//! `X-Order-Mode`: an operator decides for one order whether it goes through the broker.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::Mode;

use crate::auth::{Caller, Role};
use crate::problem::Problem;

const HEADER: &str = "x-order-mode";
const FIELD: &str = "X-Order-Mode";

/// The header's value, where there is one; 403 unless an operator or an admin sends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModePin(pub Option<Mode>);

impl<S: Sync> FromRequestParts<S> for ModePin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(HEADER).cloned() else { return Ok(Self(None)) };
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.require_any(&[Role::Operator, Role::Admin]).is_err() {
            return Err(Problem::forbidden("only operators decide how an order is taken").field(FIELD));
        }
        let mode = value.to_str().ok().and_then(Mode::parse);
        mode.map(|mode| Self(Some(mode))).ok_or_else(|| Problem::invalid_value(FIELD, "`async` or `sync`"))
    }
}
