use chrono::Utc;
use domain::order::PlacedOrder;
use domain::{
    Fulfilment, FulfilmentCommand, LockId, Mode, Money, Order, OrderCommand, OrderId, Payment, PaymentCommand,
    PaymentId, Rejection, Stock, StockCommand, StockRejection,
};
use event_store::{CommandError, Committed, Deadline, Ledger, Refusal, UnitOfWork};
use messaging::message::OrderPayment;
use serde::{Deserialize, Serialize};

use super::deadline_kind::PAYMENT_QUERY;
use super::effects::{change_fulfilment, change_order, change_stock, live_lock, placed, publish, set_lock_lapse};
use super::payment_key::PaymentKey;
use super::{Origin, UseCaseError, answer, measured};
use crate::ids;
use crate::policy::Policy;

/// How a user wants to pay.
#[derive(Debug, Clone)]
pub struct StartPayment {
    pub payment_method: String,
    /// Whom to tell how it ended, besides the user.
    pub callback_url: Option<String>,
}

/// What the user is told; kept with the idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewPayment {
    pub payment_id: PaymentId,
    pub order_id: OrderId,
    pub amount: Money,
    pub payment_method: String,
    /// The order's.
    #[serde(default = "async_mode")]
    pub mode: Mode,
}

/// Answers that were kept before orders could be sync name no mode.
const fn async_mode() -> Mode {
    Mode::Async
}

/// Starts to pay for an order: `PAYING`, on a lock that is live, renewed or taken anew. An async order's payment is then
/// asked for by the payment processor, a sync order's by the caller: [`ask_and_wait`](crate::sync_payment::ask_and_wait).
///
/// `order` may be old: it only says whose stock is concerned.
pub async fn start_payment(
    ledger: &Ledger,
    policy: &Policy,
    origin: Origin,
    order: &PlacedOrder,
    request: StartPayment,
) -> Result<Committed<NewPayment>, UseCaseError> {
    let now = Utc::now();
    let attempt = Attempt {
        policy: policy.clone(),
        order_id: order.order_id.clone(),
        payment_id: ids::payment_id(now),
        spare_lock_id: ids::lock_id(now),
        request,
    };
    let mode = origin.mode();
    let command = origin
        .command()
        .read::<Order>(order.order_id.as_str())
        .begin::<Payment>(attempt.payment_id.as_str())
        .cached::<Stock>(&order.ticket_type_id.to_string())
        .read::<Fulfilment>(order.order_id.as_str());
    let starting = ledger.submit(command, move |uow| attempt.start(uow));
    measured("start_payment", mode, starting).await.map_err(UseCaseError::of_payment)
}

struct Attempt {
    policy: Policy,
    order_id: OrderId,
    payment_id: PaymentId,
    /// For the case that the order's lock has lapsed.
    spare_lock_id: LockId,
    request: StartPayment,
}

impl Attempt {
    fn start(&self, uow: &mut UnitOfWork<'_>) -> Result<NewPayment, Refusal> {
        let order = placed(uow, &self.order_id)?.clone();
        let live_lock = live_lock(uow, &order)?;
        let lock_id = live_lock.clone().unwrap_or_else(|| self.spare_lock_id.clone());
        self.start_order_payment(uow, &order, &lock_id)?;
        match live_lock {
            Some(lock_id) => self.renew_if_short(uow, &order, &lock_id)?,
            None => self.lock_again(uow, &order)?,
        }
        self.ask_if_silent(uow, &order);
        let new_payment = NewPayment {
            payment_id: self.payment_id.clone(),
            order_id: order.order_id,
            amount: order.total_amount,
            payment_method: self.request.payment_method.clone(),
            mode: order.mode,
        };
        answer(uow, &new_payment)?;
        Ok(new_payment)
    }

    /// Comes before anything is done to the stock: an order that cannot be paid says so, and not that stock is short.
    fn start_order_payment(
        &self,
        uow: &mut UnitOfWork<'_>,
        order: &PlacedOrder,
        lock_id: &LockId,
    ) -> Result<(), Refusal> {
        let start = OrderCommand::StartPayment {
            payment_id: self.payment_id.clone(),
            payment_method: self.request.payment_method.clone(),
            lock_id: lock_id.clone(),
        };
        change_order(uow, &order.order_id, start)?;
        let request = PaymentCommand::Request {
            payment_id: self.payment_id.clone(),
            order_id: order.order_id.clone(),
            user_id: order.user_id,
            payment_method: self.request.payment_method.clone(),
            amount: order.total_amount,
            callback_url: self.request.callback_url.clone(),
        };
        uow.handle::<Payment>(self.payment_id.as_str(), request)?;
        if order.mode == Mode::Sync {
            // Whoever asked to pay asks the provider, once this is committed.
            return Ok(());
        }
        let ask_provider = OrderPayment {
            order_id: order.order_id.clone(),
            payment_id: self.payment_id.clone(),
            payment_method: self.request.payment_method.clone(),
            amount: order.total_amount,
            payment_time: uow.now().timestamp_millis(),
            callback_url: self.request.callback_url.clone(),
        };
        publish(uow, &ask_provider)
    }

    /// Set before the provider is called, so that no crash and no lost message leaves a payment that nobody asks for.
    fn ask_if_silent(&self, uow: &mut UnitOfWork<'_>, order: &PlacedOrder) {
        let key = PaymentKey { order_id: order.order_id.clone(), payment_id: self.payment_id.clone() };
        let due_at = self.policy.payment_queried_at(uow.now());
        uow.set_deadline(Deadline { kind: PAYMENT_QUERY, key: key.to_string(), due_at });
    }

    /// The clock only hints that a lock may not last; whether it is live is the stock's to say.
    fn renew_if_short(&self, uow: &mut UnitOfWork<'_>, order: &PlacedOrder, lock_id: &LockId) -> Result<(), Refusal> {
        let stock = uow.state::<Stock>(&order.ticket_type_id.to_string())?;
        let is_short =
            stock.locks.get(lock_id).is_some_and(|lock| self.policy.should_renew(lock.expires_at, uow.now()));
        if !is_short {
            return Ok(());
        }
        let expires_at = self.policy.lock_expires_at(uow.now());
        let renew = StockCommand::Renew { lock_id: lock_id.clone(), expires_at };
        change_stock(uow, order.ticket_type_id, renew)?;
        set_lock_lapse(uow, order, lock_id)
    }

    fn lock_again(&self, uow: &mut UnitOfWork<'_>, order: &PlacedOrder) -> Result<(), Refusal> {
        let lock = StockCommand::Lock {
            lock_id: self.spare_lock_id.clone(),
            order_id: order.order_id.clone(),
            quantity: order.quantity,
            expires_at: self.policy.lock_expires_at(uow.now()),
        };
        change_stock(uow, order.ticket_type_id, lock)?;
        let relock = FulfilmentCommand::Relock { lock_id: self.spare_lock_id.clone() };
        change_fulfilment(uow, &order.order_id, relock)?;
        set_lock_lapse(uow, order, &self.spare_lock_id)
    }
}

impl UseCaseError {
    fn of_payment(error: CommandError) -> Self {
        match error {
            CommandError::Rejected(Rejection::Stock(StockRejection::InsufficientStock { .. })) => {
                Self::StockNoLongerAvailable
            }
            error => Self::Command(error),
        }
    }
}
