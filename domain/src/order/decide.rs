use chrono::{DateTime, Utc};

use super::{AttemptOutcome, Order, OrderCommand, OrderEvent, OrderRejection, OrderStatus, PlacedOrder};
use crate::ids::{LockId, PaymentId};
use crate::money::Money;

type Decision = Result<Vec<OrderEvent>, OrderRejection>;

/// Why captured money goes back without anybody's asking.
const NO_TICKETS_HELD: &str = "no_tickets_held";
const ORDER_CANCELLED: &str = "order_cancelled";
const PAID_BEFORE: &str = "paid_before";

pub(super) fn decide(state: &Order, command: OrderCommand) -> Decision {
    let order = state.placed.as_ref().ok_or(OrderRejection::NotFound);
    match command {
        OrderCommand::Place {
            order_id,
            user_id,
            show_id,
            ticket_type_id,
            quantity,
            total_amount,
            order_time,
            expire_time,
            mode,
        } => {
            if order.is_ok() {
                return Err(OrderRejection::AlreadyPlaced);
            }
            if expire_time <= order_time {
                return Err(OrderRejection::ExpiresTooEarly);
            }
            Ok(vec![OrderEvent::OrderPlaced {
                order_id,
                user_id,
                show_id,
                ticket_type_id,
                quantity,
                total_amount,
                order_time,
                expire_time,
                mode,
            }])
        }
        OrderCommand::HoldStock { lock_id, lock_expires_at } => order?.hold_stock(lock_id, lock_expires_at),
        OrderCommand::Reject { reason } => order?.reject(reason),
        OrderCommand::StartPayment { payment_id, payment_method, lock_id } => {
            order?.start_payment(payment_id, payment_method, lock_id)
        }
        OrderCommand::FailPayment { payment_id, reason } => order?.fail_payment(payment_id, reason),
        OrderCommand::CapturePayment { payment_id, amount, lock_id } => {
            order?.capture_payment(payment_id, amount, lock_id)
        }
        OrderCommand::Confirm { lock_id } => order?.confirm(lock_id),
        OrderCommand::Cancel { reason } => order?.cancel(reason),
        OrderCommand::Expire => Ok(order?.expire()),
        OrderCommand::StartRefund { payment_id, reason } => order?.start_refund(payment_id, reason),
        OrderCommand::CompleteRefund { payment_id } => order?.complete_refund(payment_id),
    }
}

impl PlacedOrder {
    fn hold_stock(&self, lock_id: LockId, lock_expires_at: DateTime<Utc>) -> Decision {
        if self.status.has_ended_without_tickets() {
            return Err(self.ended());
        }
        match &self.lock_id {
            None => Ok(vec![OrderEvent::OrderStockHeld { lock_id, lock_expires_at }]),
            Some(held) if *held == lock_id => Ok(vec![]),
            Some(_) => Err(OrderRejection::StockAlreadyHeld),
        }
    }

    fn reject(&self, reason: String) -> Decision {
        match self.status {
            OrderStatus::Pending => Ok(vec![OrderEvent::OrderRejected { reason }]),
            OrderStatus::Rejected => Ok(vec![]),
            status if status.has_ended_without_tickets() => Err(self.ended()),
            _ => Err(OrderRejection::StockAlreadyHeld),
        }
    }

    fn start_payment(&self, payment_id: PaymentId, payment_method: String, lock_id: LockId) -> Decision {
        match self.status {
            OrderStatus::Pending => Err(OrderRejection::NotPayableYet),
            OrderStatus::AwaitingPayment if self.payment(&payment_id).is_some() => {
                Err(OrderRejection::PaymentIdReused { payment_id })
            }
            OrderStatus::AwaitingPayment => {
                Ok(vec![OrderEvent::OrderPaymentStarted { payment_id, payment_method, lock_id }])
            }
            OrderStatus::Paying => Err(OrderRejection::PaymentInProgress),
            OrderStatus::Paid | OrderStatus::Confirmed => Err(OrderRejection::AlreadyPaid),
            _ => Err(self.ended()),
        }
    }

    fn fail_payment(&self, payment_id: PaymentId, reason: String) -> Decision {
        self.outcome_of(&payment_id)?;
        if !self.is_paying_by(&payment_id) {
            return Ok(vec![]);
        }
        Ok(vec![OrderEvent::OrderPaymentFailed { payment_id, reason }])
    }

    fn capture_payment(&self, payment_id: PaymentId, amount: Money, lock_id: Option<LockId>) -> Decision {
        if amount != self.total_amount {
            return Err(OrderRejection::WrongAmount { expected: self.total_amount, received: amount });
        }
        if !self.outcome_of(&payment_id)?.is_open() {
            return Ok(vec![]);
        }
        if !self.capture_wants_tickets(&payment_id) {
            return Ok(self.refund_unwanted(payment_id, amount));
        }
        let event = match lock_id {
            Some(lock_id) => OrderEvent::OrderPaid { payment_id, amount, lock_id },
            None => OrderEvent::OrderRefundStarted {
                payment_id,
                amount,
                reason: NO_TICKETS_HELD.to_owned(),
                status: OrderStatus::Refunding,
            },
        };
        Ok(vec![event])
    }

    /// A capture on a cancelled order ends in a refund of the order; one on an order that has been
    /// paid before is given back and leaves the order where it is.
    fn refund_unwanted(&self, payment_id: PaymentId, amount: Money) -> Vec<OrderEvent> {
        let (reason, status) = match self.status {
            OrderStatus::Cancelled => (ORDER_CANCELLED, OrderStatus::Refunding),
            status => (PAID_BEFORE, status),
        };
        vec![OrderEvent::OrderRefundStarted { payment_id, amount, reason: reason.to_owned(), status }]
    }

    fn confirm(&self, lock_id: LockId) -> Decision {
        match self.status {
            OrderStatus::Paid | OrderStatus::Confirmed if self.lock_id.as_ref() != Some(&lock_id) => {
                Err(OrderRejection::WrongLock { lock_id })
            }
            OrderStatus::Paid => Ok(vec![OrderEvent::OrderConfirmed { lock_id }]),
            OrderStatus::Confirmed => Ok(vec![]),
            status => Err(OrderRejection::NotPaid { status }),
        }
    }

    fn cancel(&self, reason: String) -> Decision {
        match self.status {
            OrderStatus::Pending | OrderStatus::AwaitingPayment | OrderStatus::Paying => {
                Ok(vec![OrderEvent::OrderCancelled { reason }])
            }
            OrderStatus::Cancelled => Ok(vec![]),
            status => Err(OrderRejection::NotCancellable { status }),
        }
    }

    fn expire(&self) -> Vec<OrderEvent> {
        match self.status {
            OrderStatus::Pending | OrderStatus::AwaitingPayment | OrderStatus::Paying => {
                vec![OrderEvent::OrderExpired {}]
            }
            _ => vec![],
        }
    }

    fn start_refund(&self, payment_id: PaymentId, reason: String) -> Decision {
        match self.outcome_of(&payment_id)? {
            AttemptOutcome::Captured => Ok(vec![OrderEvent::OrderRefundStarted {
                payment_id,
                amount: self.total_amount,
                reason,
                status: OrderStatus::Refunding,
            }]),
            AttemptOutcome::Refunding | AttemptOutcome::Refunded => Ok(vec![]),
            AttemptOutcome::Started | AttemptOutcome::Failed => Err(OrderRejection::PaymentNotCaptured { payment_id }),
        }
    }

    fn complete_refund(&self, payment_id: PaymentId) -> Decision {
        match self.outcome_of(&payment_id)? {
            AttemptOutcome::Refunding => {
                Ok(vec![OrderEvent::OrderRefunded { status: self.status_once_refunded(&payment_id), payment_id }])
            }
            AttemptOutcome::Refunded => Ok(vec![]),
            _ => Err(OrderRejection::RefundNotStarted { payment_id }),
        }
    }

    /// An order is refunded when its last refund is through.
    fn status_once_refunded(&self, payment_id: &PaymentId) -> OrderStatus {
        let owes_another = self
            .payments
            .iter()
            .any(|attempt| attempt.payment_id != *payment_id && attempt.outcome == AttemptOutcome::Refunding);
        match self.status {
            OrderStatus::Refunding if !owes_another => OrderStatus::Refunded,
            status => status,
        }
    }

    fn outcome_of(&self, payment_id: &PaymentId) -> Result<AttemptOutcome, OrderRejection> {
        self.payment(payment_id)
            .map(|attempt| attempt.outcome)
            .ok_or_else(|| OrderRejection::UnknownPayment { payment_id: payment_id.clone() })
    }

    const fn ended(&self) -> OrderRejection {
        OrderRejection::Ended { status: self.status }
    }
}
