use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use domain::{Mode, Money, OrderId, OrderStatus, Quantity, UserId};
use event_store::Committed;
use processors::commands::{NewOrder, Origin, PlaceOrder, place_order};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::extract::JsonBody;
use crate::fields;
use crate::idempotency::{IdempotencyKey, first_or_repeated};
use crate::openapi::{BodyProblems, CallerProblems, IdempotencyProblems, NotFoundProblem};
use crate::pin::ModePin;
use crate::problem::{Problem, ProblemBody};
use crate::request_context::RequestContext;
use crate::state::ApiState;

use super::taking::Taking;

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

/// Places an order. Whether it is async or sync is the rollout's to say, or an operator's for this order.
#[utoipa::path(
    post,
    path = "/v1/orders",
    tag = "orders",
    params(
        ("Idempotency-Key" = String, Header, min_length = 1, max_length = 255),
        ("X-Order-Mode" = Option<String>, Header, description = "`async` or `sync`, whatever the rollout says; operators only")
    ),
    request_body = PlaceOrderBody,
    responses(
        (status = 202, description = "Async, placed: stock is being locked", body = PlacedOrderBody, headers(("Location" = String))),
        (status = 201, description = "Sync, placed: the stock is held", body = PlacedOrderBody, headers(("Location" = String))),
        (status = 409, description = "Sync: no stock; the order is REJECTED", body = ProblemBody, content_type = "application/problem+json"),
        CallerProblems,
        NotFoundProblem,
        BodyProblems,
        IdempotencyProblems
    )
)]
pub(crate) async fn place(
    caller: Caller,
    context: RequestContext,
    ModePin(pin): ModePin,
    key: IdempotencyKey,
    State(api): State<ApiState>,
    JsonBody(body): JsonBody<PlaceOrderBody>,
) -> Result<impl IntoResponse, Problem> {
    let user_id = body.buyer(&caller)?;
    let assignment = api.rollout.assign(pin, user_id, caller.groups());
    let order = body.validate(user_id, assignment.mode, api.config.max_quantity)?;
    let key = key.scoped(&caller, "POST /v1/orders", &body)?;
    let origin = Origin::new(context.metadata_of(&caller, Some(order.mode))).with_key(key.clone());
    let taking = Taking::start(&api, assignment);
    let placed = place_order(&api.ledger, &api.catalogue, &api.config.policy, origin, order).await;
    taking.finish(&placed);
    answer(first_or_repeated(placed, &key)?)
}

/// An async order is promised, a sync one is decided.
fn answer(placed: Committed<NewOrder>) -> Result<impl IntoResponse, Problem> {
    let status = match placed.value.status {
        OrderStatus::Pending => StatusCode::ACCEPTED,
        OrderStatus::Rejected => return Err(rejected(placed.value.order_id)),
        _ => StatusCode::CREATED,
    };
    let placed = PlacedOrderBody::from(placed);
    let location = format!("/v1/orders/{}", placed.order_id);
    Ok((status, [(LOCATION, location)], Json(placed)))
}

fn rejected(order_id: OrderId) -> Problem {
    Problem::new(StatusCode::CONFLICT, "insufficient_stock", "there are not as many tickets left")
        .order_id(order_id)
        .order_status(Some(OrderStatus::Rejected))
}

impl PlaceOrderBody {
    fn buyer(&self, caller: &Caller) -> Result<UserId, Problem> {
        let user_id = fields::user_id(self.user_id)?;
        if caller.may_act_for(user_id) {
            Ok(user_id)
        } else {
            Err(Problem::forbidden("userId is not the token's user").field("userId"))
        }
    }

    fn validate(&self, user_id: UserId, mode: Mode, max_quantity: u32) -> Result<PlaceOrder, Problem> {
        Ok(PlaceOrder {
            user_id,
            show_id: fields::show_id(self.show_id)?,
            ticket_type_id: fields::ticket_type_id(self.ticket_type_id)?,
            quantity: quantity(self.quantity, max_quantity)?,
            mode,
        })
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
            status: order.status,
            total_amount: order.total_amount,
            expire_time: order.expire_time,
            position: committed.position.unwrap_or_default(),
            mode: order.mode,
        }
    }
}
