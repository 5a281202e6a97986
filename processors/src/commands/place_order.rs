use chrono::{DateTime, Utc};
use domain::order::{Mode, PlacedOrder};
use domain::{Money, Order, OrderCommand, OrderId, Quantity, ShowId, TicketTypeId, UserId};
use event_store::{Committed, Deadline, Ledger, Refusal, UnitOfWork};
use messaging::message::OrderCreate;
use serde::{Deserialize, Serialize};

use super::deadline_kind::ORDER_EXPIRY;
use super::effects::{change_order, placed, publish};
use super::{Origin, UseCaseError, answer, measured};
use crate::catalogue::Catalogue;
use crate::ids;
use crate::policy::{self, Policy};

/// What a user asks for.
#[derive(Debug, Clone)]
pub struct PlaceOrder {
    pub user_id: UserId,
    pub show_id: ShowId,
    pub ticket_type_id: TicketTypeId,
    pub quantity: Quantity,
    pub mode: Mode,
}

/// What the user is told; kept with the idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewOrder {
    pub order_id: OrderId,
    pub total_amount: Money,
    pub order_time: DateTime<Utc>,
    pub expire_time: DateTime<Utc>,
    pub mode: Mode,
}

/// Places an order: `PENDING`, until the order processor takes it up.
pub async fn place_order(
    ledger: &Ledger,
    catalogue: &Catalogue,
    policy: &Policy,
    origin: Origin,
    request: PlaceOrder,
) -> Result<Committed<NewOrder>, UseCaseError> {
    let ticket_type = catalogue
        .find(ledger, request.ticket_type_id)
        .await?
        .filter(|ticket_type| ticket_type.show_id == request.show_id)
        .ok_or(UseCaseError::UnknownTicketType(request.ticket_type_id))?;
    let total_amount = ticket_type.price.times(request.quantity).ok_or(UseCaseError::AmountTooLarge)?;
    let order_id = ids::order_id(Utc::now());
    let terms = policy.clone();
    let mode = request.mode.as_str();
    let command = origin.command().begin::<Order>(order_id.as_str());
    let placing = ledger.submit(command, move |uow| {
        let new_order = place(uow, &terms, &order_id, &request, total_amount)?;
        ask_for_tickets(uow, &order_id)?;
        answer(uow, &new_order)?;
        Ok(new_order)
    });
    Ok(measured("place_order", mode, placing).await?)
}

fn place(
    uow: &mut UnitOfWork<'_>,
    policy: &Policy,
    order_id: &OrderId,
    request: &PlaceOrder,
    total_amount: Money,
) -> Result<NewOrder, Refusal> {
    let order_time = policy::whole_milliseconds(uow.now());
    let expire_time = policy.order_expires_at(order_time);
    let place = OrderCommand::Place {
        order_id: order_id.clone(),
        user_id: request.user_id,
        show_id: request.show_id,
        ticket_type_id: request.ticket_type_id,
        quantity: request.quantity,
        total_amount,
        order_time,
        expire_time,
        mode: request.mode,
    };
    change_order(uow, order_id, place)?;
    uow.set_deadline(Deadline { kind: ORDER_EXPIRY, key: order_id.to_string(), due_at: expire_time });
    Ok(NewOrder { order_id: order_id.clone(), total_amount, order_time, expire_time, mode: request.mode })
}

fn ask_for_tickets(uow: &mut UnitOfWork<'_>, order_id: &OrderId) -> Result<(), Refusal> {
    let message = order_create(placed(uow, order_id)?);
    publish(uow, &message)
}

fn order_create(order: &PlacedOrder) -> OrderCreate {
    OrderCreate {
        order_id: order.order_id.clone(),
        user_id: order.user_id,
        show_id: order.show_id,
        ticket_type_id: order.ticket_type_id,
        quantity: order.quantity,
        total_amount: order.total_amount,
        order_time: order.order_time.timestamp_millis(),
        expire_time: order.expire_time.timestamp_millis(),
    }
}
