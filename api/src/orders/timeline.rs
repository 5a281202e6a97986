//! One page of truth about an order: its events, the messages they caused and how far each came, what each consumer did
//! with them, how far the saga is, what remains and what it waits for. For its owner and for those who run the shop.

mod body;
mod read;
mod waits;

use axum::Json;
use axum::extract::State;
use domain::OrderId;

use super::visible_order;
use crate::auth::Caller;
use crate::extract::PathId;
use crate::openapi::{CallerProblems, NotFoundProblem};
use crate::problem::Problem;
use crate::state::ApiState;

pub(crate) use body::TimelineBody;

/// Everything that is known of one order, at one look.
#[utoipa::path(
    get,
    path = "/v1/orders/{orderId}/timeline",
    tag = "orders",
    params(("orderId" = String, Path)),
    responses((status = 200, description = "Its timeline", body = TimelineBody), CallerProblems, NotFoundProblem)
)]
pub(crate) async fn timeline(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(id): PathId<OrderId>,
) -> Result<Json<TimelineBody>, Problem> {
    visible_order(&api, &caller, &id).await?;
    Ok(Json(read::timeline(&api, &id).await?))
}
