//! Cancelling an order.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::OrderId;
use processors::commands::{Cancellation, Origin, cancel_order};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::extract::{OptionalJsonBody, PathId};
use crate::fields;
use crate::openapi::{BodyProblems, CallerProblems, ConflictProblem, NotFoundProblem};
use crate::orders::{OrderBody, changeable_order, visible_order};
use crate::problem::Problem;
use crate::request_context::RequestContext;
use crate::state::ApiState;

/// Why, if there is more to say than that the user wants it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = CancelRequest)]
pub(crate) struct CancelBody {
    #[schema(min_length = 1, max_length = 200, example = "bought the wrong day")]
    reason: Option<String>,
}

const DEFAULT_REASON: &str = "cancelled_by_user";
const MAX_REASON_CHARS: usize = 200;

/// Cancels an order. What it holds goes back on sale; a late capture is refunded.
#[utoipa::path(
    post,
    path = "/v1/orders/{orderId}/cancel",
    tag = "orders",
    params(("orderId" = String, Path)),
    request_body = Option<CancelBody>,
    responses(
        (status = 202, description = "Cancelled, or confirmed and being refunded; what it held is on its way back", body = OrderBody),
        (status = 200, description = "Cancelled before", body = OrderBody),
        CallerProblems,
        NotFoundProblem,
        ConflictProblem,
        BodyProblems
    )
)]
pub(crate) async fn cancel(
    caller: Caller,
    context: RequestContext,
    State(api): State<ApiState>,
    PathId(order_id): PathId<OrderId>,
    OptionalJsonBody(body): OptionalJsonBody<CancelBody>,
) -> Result<impl IntoResponse, Problem> {
    let reason = body.reason.unwrap_or_else(|| DEFAULT_REASON.to_owned());
    let reason = fields::line("reason", reason, MAX_REASON_CHARS)?;
    let order = changeable_order(&api, &caller, &order_id).await?;
    let origin = Origin::new(context.metadata_of(&caller, Some(order.mode)));
    let cancelled = cancel_order(&api.ledger, &api.config.policy, origin, &order, reason).await?;
    let status = match cancelled.value {
        Cancellation::Cancelled | Cancellation::RefundStarted => StatusCode::ACCEPTED,
        Cancellation::CancelledBefore => StatusCode::OK,
    };
    Ok((status, Json(visible_order(&api, &caller, &order_id).await?)))
}
