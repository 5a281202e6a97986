use super::{AttemptOutcome, Order, OrderEvent, OrderStatus, PaymentAttempt, PlacedOrder};
use crate::ids::PaymentId;

impl Order {
    pub(super) fn evolve(&mut self, event: OrderEvent) {
        match event {
            OrderEvent::OrderPlaced {
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
                self.placed = Some(PlacedOrder {
                    order_id,
                    user_id,
                    show_id,
                    ticket_type_id,
                    quantity,
                    total_amount,
                    order_time,
                    expire_time,
                    mode,
                    status: OrderStatus::Pending,
                    reason: None,
                    lock_id: None,
                    payments: vec![],
                });
            }
            event => {
                if let Some(order) = &mut self.placed {
                    order.evolve(event);
                }
            }
        }
    }
}

impl PlacedOrder {
    fn evolve(&mut self, event: OrderEvent) {
        self.status = event.status();
        event.explain(&mut self.reason);
        match event {
            OrderEvent::OrderStockHeld { lock_id, .. } => self.lock_id = Some(lock_id),
            OrderEvent::OrderPaymentStarted { payment_id, lock_id, .. } => {
                self.lock_id = Some(lock_id);
                self.payments.push(PaymentAttempt { payment_id, outcome: AttemptOutcome::Started });
            }
            OrderEvent::OrderPaymentFailed { payment_id, .. } => {
                self.settle(&payment_id, AttemptOutcome::Failed);
            }
            OrderEvent::OrderPaid { payment_id, lock_id, .. } => {
                self.lock_id = Some(lock_id);
                self.settle(&payment_id, AttemptOutcome::Captured);
            }
            OrderEvent::OrderRefundStarted { payment_id, .. } => {
                self.settle(&payment_id, AttemptOutcome::Refunding);
            }
            OrderEvent::OrderRefunded { payment_id, .. } => {
                self.settle(&payment_id, AttemptOutcome::Refunded);
            }
            OrderEvent::OrderPlaced { .. }
            | OrderEvent::OrderRejected { .. }
            | OrderEvent::OrderConfirmed { .. }
            | OrderEvent::OrderCancelled { .. }
            | OrderEvent::OrderExpired {} => {}
        }
    }

    fn settle(&mut self, payment_id: &PaymentId, outcome: AttemptOutcome) {
        if let Some(attempt) = self.payments.iter_mut().find(|attempt| attempt.payment_id == *payment_id) {
            attempt.outcome = outcome;
        }
    }
}
