use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use domain::{Mode, Money, OrderId, OrderStatus, Quantity};
use event_store::Committed;
use processors::commands::{NewOrder, Origin, PlaceOrder, place_order};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::extract::JsonBody;
use crate::fields;
use crate::idempotency::{IdempotencyKey, first_or_repeated};
use crate::openapi::{BodyProblems, CallerProblems, IdempotencyProblems, NotFoundProblem};
use crate::problem::Problem;
use crate::request_context::RequestContext;
use crate::state::ApiState;

/// What a user wants to buy.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewOrderRequest)]
pub(crate) struct PlaceOrderBody {
    /// The token's user; an admin may name another.
    #[schema(minimum = 1, example = 12345)]
    user_id: i64,
    #[schema(minimum = 1, example = 7)]
    show_id: i64,
    #[schema(minimum = 1, example = 42)]
    ticket_type_id: i64,
    /// At most `order.max_quantity` of the configuration.
    #[schema(minimum = 1, maximum = 10, example = 2)]
    quantity: i64,
}

/// An order that was placed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PlacedOrder)]
pub(crate) struct PlacedOrderBody {
    #[schema(value_type = String, example = "ORD202412010001")]
    order_id: OrderId,
    #[schema(value_type = String, example = "PENDING")]
    status: OrderStatus,
    /// Price × quantity, exact.
    #[schema(value_type = f64, example = 598.00)]
    total_amount: Money,
    expire_time: DateTime<Utc>,
    /// The ledger position of the order: a list that waits for it shows it.
    position: i64,
    #[schema(value_type = String, example = "async")]
    mode: Mode,
}

/// Places an order.
#[utoipa::path(
    post,
    path = "/v1/orders",
    tag = "orders",
    params(("Idempotency-Key" = String, Header, min_length = 1, max_length = 255)),
    request_body = PlaceOrderBody,
    responses(
        (status = 202, description = "Placed: stock is being locked", body = PlacedOrderBody, headers(("Location" = String))),
        CallerProblems,
        NotFoundProblem,
        BodyProblems,
        IdempotencyProblems
    )
)]
pub(crate) async fn place(
    caller: Caller,
    context: RequestContext,
    key: IdempotencyKey,
    State(api): State<ApiState>,
    JsonBody(body): JsonBody<PlaceOrderBody>,
) -> Result<impl IntoResponse, Problem> {
    let order = body.validate(&caller, api.config.max_quantity)?;
    let key = key.scoped(&caller, "POST /v1/orders", &body)?;
    let origin = Origin::new(context.metadata_of(&caller, Some(order.mode))).with_key(key.clone());
    let placed = place_order(&api.ledger, &api.catalogue, &api.config.policy, origin, order).await;
    let placed = PlacedOrderBody::from(first_or_repeated(placed, &key)?);
    let location = format!("/v1/orders/{}", placed.order_id);
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(placed)))
}

impl PlaceOrderBody {
    fn validate(&self, caller: &Caller, max_quantity: u32) -> Result<PlaceOrder, Problem> {
        let order = PlaceOrder {
            user_id: fields::user_id(self.user_id)?,
            show_id: fields::show_id(self.show_id)?,
            ticket_type_id: fields::ticket_type_id(self.ticket_type_id)?,
            quantity: quantity(self.quantity, max_quantity)?,
            mode: Mode::Async,
        };
        if caller.may_act_for(order.user_id) {
            Ok(order)
        } else {
            Err(Problem::forbidden("userId is not the token's user").field("userId"))
        }
    }
}

fn quantity(number: i64, max: u32) -> Result<Quantity, Problem> {
    let out_of_range = || Problem::invalid_value("quantity", format!("1 to {max}"));
    let number = u32::try_from(number).ok().filter(|number| *number <= max).ok_or_else(out_of_range)?;
    Quantity::new(number).map_err(|_| out_of_range())
}

impl From<Committed<NewOrder>> for PlacedOrderBody {
    fn from(committed: Committed<NewOrder>) -> Self {
        let order = committed.value;
        Self {
            order_id: order.order_id,
            status: OrderStatus::Pending,
            total_amount: order.total_amount,
            expire_time: order.expire_time,
            position: committed.position.unwrap_or_default(),
            mode: order.mode,
        }
    }
}
