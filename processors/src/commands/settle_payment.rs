use chrono::{DateTime, Utc};
use domain::order::PlacedOrder;
use domain::{
    Fulfilment, FulfilmentCommand, LockId, Order, OrderCommand, OrderId, OrderRejection, OrderStatus, Payment,
    PaymentCommand, PaymentId, PaymentRejection, Rejection, Stock, StockCommand, StockRejection,
};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};
use messaging::message::StockDeduct;

use super::effects::{
    change_fulfilment, change_order, change_stock, change_stock_quietly, clear_lock_lapse, clear_order_expiry,
    conclude_payment, fail_payment, live_lock, placed,
};
use super::lapse_lock::LockLapseKey;
use super::payment_key::PaymentKey;
use super::refund::set_refund_due;
use super::steps::hand_on;
use super::{Origin, UseCaseError, measured};
use crate::ids;
use crate::policy::Policy;
use crate::provider::{CallbackStatus, PaymentCallback};

const DECLINED: &str = "declined_by_provider";

/// What a provider's callback did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The money is taken and the tickets are the user's.
    Paid,
    /// The money is taken and goes back.
    RefundStarted,
    /// No money is taken.
    Failed,
    /// Known before, or overtaken: it changed nothing.
    NoEffect,
    /// This very callback was taken in before.
    Repeated,
}

/// Takes in what the provider says of a payment. A repeat of the callback changes nothing.
pub async fn settle_payment(
    ledger: &Ledger,
    policy: &Policy,
    origin: Origin,
    callback: PaymentCallback,
) -> Result<Committed<Settlement>, UseCaseError> {
    let order = ledger.load::<Order>(callback.order_id.as_str()).await?.state.placed;
    let Some(order) = order else { return Err(wrong_order_or_payment(ledger, &callback.payment_id).await?) };
    let news = News { policy: policy.clone(), spare_lock_id: ids::lock_id(Utc::now()), callback };
    let origin = origin.in_mode_of(&order);
    let mode = origin.mode();
    let command = origin
        .command()
        .read::<Payment>(news.callback.payment_id.as_str())
        .read::<Order>(order.order_id.as_str())
        .cached::<Stock>(&order.ticket_type_id.to_string())
        .read::<Fulfilment>(order.order_id.as_str());
    let settling = ledger.submit(command, move |uow| news.settle(uow));
    match measured("settle_payment", mode, settling).await {
        Err(CommandError::Duplicate(_)) => Ok(Committed { value: Settlement::Repeated, position: None }),
        outcome => outcome.map_err(UseCaseError::of_settlement),
    }
}

async fn wrong_order_or_payment(ledger: &Ledger, payment_id: &PaymentId) -> Result<UseCaseError, UseCaseError> {
    let payment = ledger.load::<Payment>(payment_id.as_str()).await?.state;
    Ok(if payment.requested.is_some() { UseCaseError::WrongOrder } else { UseCaseError::UnknownPayment })
}

struct News {
    policy: Policy,
    /// For the case that the order's lock is gone.
    spare_lock_id: LockId,
    callback: PaymentCallback,
}

impl News {
    fn settle(&self, uow: &mut UnitOfWork<'_>) -> Result<Settlement, Refusal> {
        self.check_order(uow)?;
        match self.callback.status {
            CallbackStatus::Succeeded => self.capture(uow),
            CallbackStatus::Failed => self.fail(uow),
        }
    }

    fn check_order(&self, uow: &UnitOfWork<'_>) -> Result<(), Refusal> {
        let payment = uow.state::<Payment>(self.payment_id().as_str())?;
        let payment = payment.requested.as_ref().ok_or(PaymentRejection::NotFound)?;
        if payment.order_id != self.callback.order_id {
            return Err(OrderRejection::UnknownPayment { payment_id: self.payment_id().clone() }.into());
        }
        Ok(())
    }

    fn capture(&self, uow: &mut UnitOfWork<'_>) -> Result<Settlement, Refusal> {
        let capture = PaymentCommand::Capture {
            amount: self.callback.amount,
            provider_reference: self.callback.provider_reference.clone(),
            paid_time: DateTime::from_timestamp_millis(self.callback.paid_time).unwrap_or(uow.now()),
        };
        if uow.handle::<Payment>(self.payment_id().as_str(), capture)?.is_empty() {
            return Ok(Settlement::NoEffect);
        }
        let wants_tickets = uow.state::<Order>(self.order_id().as_str())?.capture_wants_tickets(self.payment_id());
        let lock_id = if wants_tickets { self.secure_tickets(uow)? } else { None };
        let capture = OrderCommand::CapturePayment {
            payment_id: self.payment_id().clone(),
            amount: self.callback.amount,
            lock_id: lock_id.clone(),
        };
        change_order(uow, self.order_id(), capture)?;
        let refund_owed = lock_id.is_none();
        let record = FulfilmentCommand::RecordCapture { payment_id: self.payment_id().clone(), refund_owed };
        change_fulfilment(uow, self.order_id(), record)?;
        clear_order_expiry(uow, self.order_id())?;
        conclude_payment(uow, &self.key(), CallbackStatus::Succeeded)?;
        match lock_id {
            Some(lock_id) => self.ask_to_deduct(uow, lock_id),
            None => self.start_refund(uow),
        }
    }

    /// The lock that holds the order's tickets from here on: its own if that is live, else a new one if stock is left.
    fn secure_tickets(&self, uow: &mut UnitOfWork<'_>) -> Result<Option<LockId>, Refusal> {
        let order = placed(uow, self.order_id())?.clone();
        match live_lock(uow, &order)? {
            Some(lock_id) if order.status != OrderStatus::Expired => self.secure(uow, &order, lock_id).map(Some),
            // A rollback of an expired order's lock is on its way, so the tickets move to a lock it does not name.
            Some(lock_id) => {
                let release = StockCommand::Release { lock_id: lock_id.clone(), reason: "late_capture".to_owned() };
                change_stock_quietly(uow, order.ticket_type_id, release)?;
                clear_lock_lapse(uow, &LockLapseKey::of(&order, &lock_id));
                self.lock_again(uow, &order)
            }
            None => self.lock_again(uow, &order),
        }
    }

    fn lock_again(&self, uow: &mut UnitOfWork<'_>, order: &PlacedOrder) -> Result<Option<LockId>, Refusal> {
        let lock = StockCommand::Lock {
            lock_id: self.spare_lock_id.clone(),
            order_id: order.order_id.clone(),
            quantity: order.quantity,
            expires_at: self.policy.lock_expires_at(uow.now()),
        };
        match change_stock_quietly(uow, order.ticket_type_id, lock) {
            Err(Refusal::Rejected(Rejection::Stock(StockRejection::InsufficientStock { .. }))) => Ok(None),
            Err(refusal) => Err(refusal),
            Ok(_) => {
                let lock_id = self.secure(uow, order, self.spare_lock_id.clone())?;
                change_fulfilment(uow, self.order_id(), FulfilmentCommand::Relock { lock_id: lock_id.clone() })?;
                Ok(Some(lock_id))
            }
        }
    }

    fn secure(&self, uow: &mut UnitOfWork<'_>, order: &PlacedOrder, lock_id: LockId) -> Result<LockId, Refusal> {
        change_stock(uow, order.ticket_type_id, StockCommand::Secure { lock_id: lock_id.clone() })?;
        clear_lock_lapse(uow, &LockLapseKey::of(order, &lock_id));
        Ok(lock_id)
    }

    fn ask_to_deduct(&self, uow: &mut UnitOfWork<'_>, lock_id: LockId) -> Result<Settlement, Refusal> {
        let order = placed(uow, self.order_id())?;
        let deduct = StockDeduct {
            lock_id,
            order_id: order.order_id.clone(),
            ticket_type_id: order.ticket_type_id,
            quantity: order.quantity,
            deduct_time: uow.now().timestamp_millis(),
        };
        hand_on(uow, self.order_id(), &deduct)?;
        Ok(Settlement::Paid)
    }

    fn start_refund(&self, uow: &mut UnitOfWork<'_>) -> Result<Settlement, Refusal> {
        let start = PaymentCommand::StartRefund { reason: "no_tickets".to_owned() };
        uow.handle::<Payment>(self.payment_id().as_str(), start)?;
        set_refund_due(uow, &self.key());
        Ok(Settlement::RefundStarted)
    }

    /// A failure takes no money, but one that names another amount is not about this payment, which stays open.
    fn fail(&self, uow: &mut UnitOfWork<'_>) -> Result<Settlement, Refusal> {
        let received = self.callback.amount;
        let payment = uow.state::<Payment>(self.payment_id().as_str())?.requested.as_ref();
        let expected = payment.ok_or(PaymentRejection::NotFound)?.amount;
        if received != expected {
            return Err(PaymentRejection::WrongAmount { expected, received }.into());
        }
        let is_news = fail_payment(uow, &self.key(), DECLINED)?;
        Ok(if is_news { Settlement::Failed } else { Settlement::NoEffect })
    }

    fn key(&self) -> PaymentKey {
        PaymentKey { order_id: self.order_id().clone(), payment_id: self.payment_id().clone() }
    }

    fn order_id(&self) -> &OrderId {
        &self.callback.order_id
    }

    fn payment_id(&self) -> &PaymentId {
        &self.callback.payment_id
    }
}

impl UseCaseError {
    fn of_settlement(error: CommandError) -> Self {
        match error {
            CommandError::Rejected(Rejection::Payment(PaymentRejection::NotFound)) => Self::UnknownPayment,
            CommandError::Rejected(Rejection::Order(OrderRejection::UnknownPayment { .. })) => Self::WrongOrder,
            error => Self::Command(error),
        }
    }
}
