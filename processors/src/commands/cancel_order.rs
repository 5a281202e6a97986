use std::future::Future;

use domain::order::{AttemptOutcome, PlacedOrder};
use domain::{
    Fulfilment, FulfilmentCommand, Mode, Order, OrderCommand, OrderId, OrderStatus, Payment, PaymentCommand, PaymentId,
    Stock, StockCommand,
};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};
use messaging::message::OrderCancel;
use serde::{Deserialize, Serialize};

use super::effects::{change_fulfilment, change_order, change_stock, clear_order_expiry, compensate, placed};
use super::payment_key::PaymentKey;
use super::refund::set_refund_due;
use super::steps::{Step, hand_on};
use super::{Origin, UseCaseError, answer, measured};
use crate::policy::Policy;

/// What a user's wish to cancel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cancellation {
    /// The order is cancelled; its tickets go back.
    Cancelled,
    /// It was cancelled before.
    CancelledBefore,
    /// It was confirmed: the tickets are back on sale and the money goes back.
    RefundStarted,
}

/// Cancels an order for its user. `order` may be old: it only says what is concerned.
pub async fn cancel_order(
    ledger: &Ledger,
    policy: &Policy,
    origin: Origin,
    order: &PlacedOrder,
    reason: String,
) -> Result<Committed<Cancellation>, UseCaseError> {
    let order_id = order.order_id.clone();
    let mode = origin.mode();
    let mut command = origin.command().read::<Order>(order_id.as_str());
    let captured = captured_payment(order).filter(|_| policy.cancel_confirmed);
    if let Some(payment_id) = &captured {
        command = command.read::<Payment>(payment_id.as_str());
    }
    if captured.is_some() || order.mode == Mode::Sync {
        command = command.cached::<Stock>(&order.ticket_type_id.to_string()).read::<Fulfilment>(order_id.as_str());
    }
    let cancelling = ledger.submit(command, move |uow| {
        let outcome = match &captured {
            Some(payment_id) if placed(uow, &order_id)?.status == OrderStatus::Confirmed => {
                give_back(uow, &order_id, payment_id, &reason)
            }
            _ => cancel(uow, &order_id, &reason),
        }?;
        answer(uow, &outcome)?;
        Ok(outcome)
    });
    Ok(measured("cancel_order", mode, cancelling).await?)
}

/// Undoes what was done for a cancelled order. One that is not cancelled, or was never begun, has nothing to undo.
pub fn compensate_cancelled(
    ledger: &Ledger,
    origin: Origin,
    message: OrderCancel,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let id = message.order_id.as_str();
    let command = origin.command().read::<Order>(id).read::<Fulfilment>(id);
    let compensating = ledger.submit(command, move |uow| message.take(uow));
    measured("compensate_cancelled", mode, compensating)
}

impl Step for OrderCancel {
    fn take(&self, uow: &mut UnitOfWork<'_>) -> Result<(), Refusal> {
        if !placed(uow, &self.order_id)?.status.has_ended_without_tickets() {
            return Ok(());
        }
        compensate(uow, &self.order_id, "order_cancelled")
    }
}

fn cancel(uow: &mut UnitOfWork<'_>, order_id: &OrderId, reason: &str) -> Result<Cancellation, Refusal> {
    let events = change_order(uow, order_id, OrderCommand::Cancel { reason: reason.to_owned() })?;
    if events.is_empty() {
        return Ok(Cancellation::CancelledBefore);
    }
    clear_order_expiry(uow, order_id)?;
    let cancel = OrderCancel {
        order_id: order_id.clone(),
        user_id: placed(uow, order_id)?.user_id,
        reason: reason.to_owned(),
        cancel_time: uow.now().timestamp_millis(),
    };
    hand_on(uow, order_id, &cancel)?;
    Ok(Cancellation::Cancelled)
}

fn give_back(
    uow: &mut UnitOfWork<'_>,
    order_id: &OrderId,
    payment_id: &PaymentId,
    reason: &str,
) -> Result<Cancellation, Refusal> {
    let order = placed(uow, order_id)?.clone();
    let start = OrderCommand::StartRefund { payment_id: payment_id.clone(), reason: reason.to_owned() };
    change_order(uow, order_id, start)?;
    uow.handle::<Payment>(payment_id.as_str(), PaymentCommand::StartRefund { reason: reason.to_owned() })?;
    change_fulfilment(uow, order_id, FulfilmentCommand::Compensate { reason: reason.to_owned() })?;
    if let Some(lock_id) = order.lock_id {
        let give_back = StockCommand::Return {
            lock_id: lock_id.clone(),
            order_id: order_id.clone(),
            quantity: order.quantity,
            reason: reason.to_owned(),
        };
        change_stock(uow, order.ticket_type_id, give_back)?;
        change_fulfilment(uow, order_id, FulfilmentCommand::RecordCompensated { lock_id })?;
    }
    let key = PaymentKey { order_id: order_id.clone(), payment_id: payment_id.clone() };
    set_refund_due(uow, &key);
    Ok(Cancellation::RefundStarted)
}

fn captured_payment(order: &PlacedOrder) -> Option<PaymentId> {
    let captured = order.payments.iter().find(|attempt| attempt.outcome == AttemptOutcome::Captured)?;
    Some(captured.payment_id.clone())
}
