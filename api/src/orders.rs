//! Orders: placing one, reading one, listing many, and the events, updates and timeline of one.

mod events;
mod list;
mod place;
mod taking;
mod timeline;
mod updates;

use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::IntoResponse;
use domain::order::PlacedOrder;
use domain::{Order, OrderId};
use projections::OrderView;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::extract::{PathId, QueryParams};
use crate::fields::order_not_found;
use crate::moment::{self, AtQuery};
use crate::openapi::{CallerProblems, NotFoundProblem, ParameterProblems};
use crate::problem::Problem;
use crate::state::ApiState;

pub(crate) use events::*;
pub(crate) use list::*;
pub(crate) use place::*;
pub(crate) use timeline::*;
pub(crate) use updates::*;

/// An order, as the read models and the ledger show it.
#[derive(ToSchema)]
#[schema(as = Order, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what projections::OrderView serializes to")]
pub(crate) struct OrderBody {
    #[schema(example = "ORD202412010001")]
    order_id: String,
    user_id: i64,
    show_id: i64,
    ticket_type_id: i64,
    quantity: u32,
    /// Exact, two decimals.
    #[schema(example = 598.00)]
    total_amount: f64,
    #[schema(example = "AWAITING_PAYMENT")]
    status: String,
    reason: Option<String>,
    order_time: chrono::DateTime<chrono::Utc>,
    expire_time: chrono::DateTime<chrono::Utc>,
    lock_id: Option<String>,
    payment_id: Option<String>,
    #[schema(example = "async")]
    mode: String,
    /// The version of its stream; also the ETag.
    version: i64,
    /// The ledger position of its last event.
    position: i64,
}

/// One order, always current: what the read model has, and the events after it. With `at` as it was then.
#[utoipa::path(
    get,
    path = "/v1/orders/{orderId}",
    tag = "orders",
    params(("orderId" = String, Path), AtQuery),
    responses(
        (status = 200, description = "The order", body = OrderBody, headers(("ETag" = String, description = "Its stream version"))),
        CallerProblems,
        NotFoundProblem,
        ParameterProblems
    )
)]
pub(crate) async fn get(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(id): PathId<OrderId>,
    QueryParams(query): QueryParams<AtQuery>,
) -> Result<impl IntoResponse, Problem> {
    let order = match query.at {
        None => visible_order(&api, &caller, &id).await?,
        Some(at) => {
            let order = projections::orders::at(&api.queries, &id, moment::position(&api, &at).await?).await?;
            order.filter(|order| caller.may_see(order.user_id)).ok_or_else(order_not_found)?
        }
    };
    Ok(([(ETAG, format!("\"{}\"", order.version))], Json(order)))
}

/// The order, where there is one that this caller may see; 404 otherwise, so that ids do not leak.
pub(crate) async fn visible_order(api: &ApiState, caller: &Caller, id: &OrderId) -> Result<OrderView, Problem> {
    let order = projections::orders::get(&api.queries, id).await?;
    order.filter(|order| caller.may_see(order.user_id)).ok_or_else(order_not_found)
}

/// What a command about an order starts from, where there is one that this caller may change; 404 otherwise.
pub(crate) async fn changeable_order(api: &ApiState, caller: &Caller, id: &OrderId) -> Result<PlacedOrder, Problem> {
    let order = api.ledger.load::<Order>(id.as_str()).await?.state.placed;
    order.filter(|order| caller.may_act_for(order.user_id)).ok_or_else(order_not_found)
}
