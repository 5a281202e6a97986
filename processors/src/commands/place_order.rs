use chrono::{DateTime, Utc};
use domain::order::{Mode, PlacedOrder};
use domain::{
    Fulfilment, LockId, Money, Order, OrderCommand, OrderId, OrderStatus, Quantity, ShowId, Stock, TicketTypeId, UserId,
};
use event_store::{Committed, Deadline, Ledger, Refusal, UnitOfWork};
use messaging::message::OrderCreate;
use serde::{Deserialize, Serialize};

use super::begin_fulfilment::begin;
use super::deadline_kind::ORDER_EXPIRY;
use super::effects::{change_order, placed, publish};
use super::expire_order::OrderExpiryKey;
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
    /// How this order is carried out, to its end.
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
    #[serde(default = "pending")]
    pub status: OrderStatus,
    /// Why a sync order was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Answers that were kept before orders could be sync name no status.
const fn pending() -> OrderStatus {
    OrderStatus::Pending
}

/// Places an order. An async one is `PENDING` until the order processor takes it up; a sync one is decided in the same append:
/// `AWAITING_PAYMENT`, or `REJECTED`.
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
    let lock_id = ids::lock_id(Utc::now());
    let terms = policy.clone();
    let mode = request.mode;
    let mut command = origin.command().begin::<Order>(order_id.as_str());
    if mode == Mode::Sync {
        command = command.begin::<Fulfilment>(order_id.as_str()).cached::<Stock>(&request.ticket_type_id.to_string());
    }
    let placing = ledger.submit(command, move |uow| {
        place(uow, &terms, &order_id, &request, total_amount)?;
        ask_for_tickets(uow, &terms, &order_id, &lock_id)?;
        let new_order = NewOrder::from(placed(uow, &order_id)?);
        answer(uow, &new_order)?;
        Ok(new_order)
    });
    Ok(measured("place_order", mode.as_str(), placing).await?)
}

fn place(
    uow: &mut UnitOfWork<'_>,
    policy: &Policy,
    order_id: &OrderId,
    request: &PlaceOrder,
    total_amount: Money,
) -> Result<(), Refusal> {
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
    let key = OrderExpiryKey::from(placed(uow, order_id)?);
    uow.set_deadline(Deadline { kind: ORDER_EXPIRY, key: key.to_string(), due_at: expire_time });
    Ok(())
}

fn ask_for_tickets(
    uow: &mut UnitOfWork<'_>,
    policy: &Policy,
    order_id: &OrderId,
    lock_id: &LockId,
) -> Result<(), Refusal> {
    let order = placed(uow, order_id)?;
    let (mode, message) = (order.mode, order_create(order));
    match mode {
        Mode::Async => publish(uow, &message),
        Mode::Sync => begin(uow, policy, &message, lock_id),
    }
}

impl From<&PlacedOrder> for NewOrder {
    fn from(order: &PlacedOrder) -> Self {
        Self {
            order_id: order.order_id.clone(),
            total_amount: order.total_amount,
            order_time: order.order_time,
            expire_time: order.expire_time,
            mode: order.mode,
            status: order.status,
            reason: order.reason.clone(),
        }
    }
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
