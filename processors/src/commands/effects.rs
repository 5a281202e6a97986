//! What several use cases have in common: a decision together with the messages that tell of it.

use domain::fulfilment::{BegunFulfilment, Tickets};
use domain::order::PlacedOrder;
use domain::{
    Fulfilment, FulfilmentCommand, LockId, Order, OrderCommand, OrderEvent, OrderId, OrderRejection, Payment,
    PaymentCommand, Stock, StockCommand, StockEvent, StockRejection, TicketTypeId,
};
use event_store::{Deadline, Refusal, UnitOfWork};
use messaging::message::{OrderStatusUpdate, StockRollback, StockSync};
use messaging::{MessageData, outbox_message};

use super::deadline_kind::{LOCK_LAPSE, ORDER_EXPIRY, PAYMENT_QUERY, PAYMENT_RESULT};
use super::expire_order::OrderExpiryKey;
use super::lapse_lock::LockLapseKey;
use super::payment_key::{PaymentKey, PaymentResultKey};
use super::steps::hand_on;
use crate::provider::CallbackStatus;

/// Sends a message with the event decided last.
pub fn publish<D: MessageData>(uow: &mut UnitOfWork<'_>, data: &D) -> Result<(), Refusal> {
    let message = outbox_message(uow.new_id(), uow.now(), data);
    uow.publish(message)
}

/// The order as it stands.
pub fn placed<'a>(uow: &'a UnitOfWork<'_>, order_id: &OrderId) -> Result<&'a PlacedOrder, Refusal> {
    let order = uow.state::<Order>(order_id.as_str())?;
    order.placed.as_ref().ok_or(Refusal::Rejected(OrderRejection::NotFound.into()))
}

/// The order's lock, while it holds its tickets: that is the stock's to say, not the clock's.
pub fn live_lock(uow: &UnitOfWork<'_>, order: &PlacedOrder) -> Result<Option<LockId>, Refusal> {
    let stock = uow.state::<Stock>(&order.ticket_type_id.to_string())?;
    Ok(order.lock_id.clone().filter(|lock_id| stock.locks.contains_key(lock_id)))
}

/// Decides about an order, and tells the world if its status changed.
pub fn change_order(
    uow: &mut UnitOfWork<'_>,
    order_id: &OrderId,
    command: OrderCommand,
) -> Result<Vec<OrderEvent>, Refusal> {
    let from_status = uow.state::<Order>(order_id.as_str())?.status();
    let events = uow.handle::<Order>(order_id.as_str(), command)?;
    let order = placed(uow, order_id)?;
    if from_status != Some(order.status) {
        let update = OrderStatusUpdate {
            order_id: order_id.clone(),
            user_id: order.user_id,
            from_status,
            to_status: order.status,
            reason: order.reason.clone(),
            change_time: uow.now().timestamp_millis(),
        };
        publish(uow, &update)?;
    }
    Ok(events)
}

/// Decides about stock, and tells the caches if it changed.
pub fn change_stock(
    uow: &mut UnitOfWork<'_>,
    ticket_type_id: TicketTypeId,
    command: StockCommand,
) -> Result<Vec<StockEvent>, Refusal> {
    let events = change_stock_quietly(uow, ticket_type_id, command)?;
    if !events.is_empty() {
        tell_stock(uow, ticket_type_id)?;
    }
    Ok(events)
}

/// Decides about stock as one of several steps, the last of which tells the caches.
pub fn change_stock_quietly(
    uow: &mut UnitOfWork<'_>,
    ticket_type_id: TicketTypeId,
    command: StockCommand,
) -> Result<Vec<StockEvent>, Refusal> {
    uow.handle::<Stock>(&ticket_type_id.to_string(), command)
}

/// Tells a saga something.
pub fn change_fulfilment(
    uow: &mut UnitOfWork<'_>,
    order_id: &OrderId,
    command: FulfilmentCommand,
) -> Result<(), Refusal> {
    uow.handle::<Fulfilment>(order_id.as_str(), command).map(drop)
}

/// Has the saga undo what it did, and asks for the tickets back if there may be any.
pub fn compensate(uow: &mut UnitOfWork<'_>, order_id: &OrderId, reason: &str) -> Result<(), Refusal> {
    let command = FulfilmentCommand::Compensate { reason: reason.to_owned() };
    let events = uow.handle::<Fulfilment>(order_id.as_str(), command)?;
    let begun = uow.state::<Fulfilment>(order_id.as_str())?.begun.as_ref();
    let releasing = begun.filter(|begun| !events.is_empty() && begun.tickets == Tickets::Releasing);
    match releasing.cloned() {
        Some(begun) => ask_for_tickets_back(uow, &begun, reason),
        None => Ok(()),
    }
}

/// Has the saga's tickets put back on sale.
pub fn ask_for_tickets_back(uow: &mut UnitOfWork<'_>, begun: &BegunFulfilment, reason: &str) -> Result<(), Refusal> {
    let rollback = StockRollback {
        lock_id: begun.lock_id.clone(),
        order_id: begun.order_id.clone(),
        ticket_type_id: begun.ticket_type_id,
        quantity: begun.quantity,
        reason: reason.to_owned(),
        rollback_time: uow.now().timestamp_millis(),
    };
    hand_on(uow, &begun.order_id, &rollback)
}

/// Has the lock lapse when its time is over.
pub fn set_lock_lapse(uow: &mut UnitOfWork<'_>, order: &PlacedOrder, lock_id: &LockId) -> Result<(), Refusal> {
    let stock = uow.state::<Stock>(&order.ticket_type_id.to_string())?;
    if let Some(lock) = stock.locks.get(lock_id) {
        let due_at = lock.expires_at;
        uow.set_deadline(Deadline { kind: LOCK_LAPSE, key: LockLapseKey::of(order, lock_id).to_string(), due_at });
    }
    Ok(())
}

/// The lock has ended or is paid for: it lapses no more.
pub fn clear_lock_lapse(uow: &mut UnitOfWork<'_>, key: &LockLapseKey) {
    uow.clear_deadline(LOCK_LAPSE, &key.to_string());
}

/// The order is paid or over: it expires no more.
pub fn clear_order_expiry(uow: &mut UnitOfWork<'_>, order_id: &OrderId) -> Result<(), Refusal> {
    let key = OrderExpiryKey::from(placed(uow, order_id)?);
    uow.clear_deadline(ORDER_EXPIRY, &key.to_string());
    Ok(())
}

/// No money was taken: the order may be paid anew, unless it has ended. False where the payment had an outcome before.
pub fn fail_payment(uow: &mut UnitOfWork<'_>, key: &PaymentKey, reason: &str) -> Result<bool, Refusal> {
    let fail = PaymentCommand::Fail { reason: reason.to_owned() };
    if uow.handle::<Payment>(key.payment_id.as_str(), fail)?.is_empty() {
        return Ok(false);
    }
    let fail = OrderCommand::FailPayment { payment_id: key.payment_id.clone(), reason: reason.to_owned() };
    change_order(uow, &key.order_id, fail)?;
    conclude_payment(uow, key, CallbackStatus::Failed)?;
    Ok(true)
}

/// The payment has an outcome: the provider need not be asked, and whoever wanted to know is told.
pub fn conclude_payment(uow: &mut UnitOfWork<'_>, key: &PaymentKey, status: CallbackStatus) -> Result<(), Refusal> {
    clear_payment_query(uow, key);
    let payment = uow.state::<Payment>(key.payment_id.as_str())?.requested.as_ref();
    if payment.is_some_and(|payment| payment.callback_url.is_some()) {
        let key = PaymentResultKey { payment: key.clone(), status };
        let due_at = uow.now();
        uow.set_deadline(Deadline { kind: PAYMENT_RESULT, key: key.to_string(), due_at });
    }
    Ok(())
}

/// The provider need not be asked any more how the payment ended.
pub fn clear_payment_query(uow: &mut UnitOfWork<'_>, key: &PaymentKey) {
    uow.clear_deadline(PAYMENT_QUERY, &key.to_string());
}

fn tell_stock(uow: &mut UnitOfWork<'_>, ticket_type_id: TicketTypeId) -> Result<(), Refusal> {
    let id = ticket_type_id.to_string();
    let stock = uow.state::<Stock>(&id)?;
    let on_sale = stock.on_sale.as_ref().ok_or(Refusal::Rejected(StockRejection::NotOnSale.into()))?;
    let sync = StockSync {
        ticket_type_id,
        show_id: on_sale.show_id,
        capacity: stock.capacity,
        available: stock.available,
        locked: stock.locked,
        sold: stock.sold,
        stream_version: uow.version::<Stock>(&id)?,
        sync_time: uow.now().timestamp_millis(),
    };
    publish(uow, &sync)
}
