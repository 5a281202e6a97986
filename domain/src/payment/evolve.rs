use super::{Payment, PaymentEvent, PaymentStatus, RequestedPayment};
use crate::money::Money;

impl Payment {
    pub(super) fn evolve(&mut self, event: PaymentEvent) {
        match event {
            PaymentEvent::PaymentRequested { payment_id, order_id, user_id, payment_method, amount, callback_url } => {
                self.requested = Some(RequestedPayment {
                    payment_id,
                    order_id,
                    user_id,
                    payment_method,
                    amount,
                    callback_url,
                    status: PaymentStatus::Requested,
                    captured: Money::ZERO,
                    refunded: Money::ZERO,
                    provider_reference: None,
                    reason: None,
                });
            }
            event => {
                if let Some(payment) = &mut self.requested {
                    payment.evolve(event);
                }
            }
        }
    }
}

impl RequestedPayment {
    fn evolve(&mut self, event: PaymentEvent) {
        match event {
            PaymentEvent::PaymentRequested { .. } => {}
            PaymentEvent::PaymentCaptured { amount, provider_reference, .. } => {
                self.status = PaymentStatus::Succeeded;
                self.captured = amount;
                self.provider_reference = Some(provider_reference);
                self.reason = None;
            }
            PaymentEvent::PaymentFailed { reason } => {
                self.status = PaymentStatus::Failed;
                self.reason = Some(reason);
            }
            PaymentEvent::RefundStarted { reason, .. } => {
                self.status = PaymentStatus::Refunding;
                self.reason = Some(reason);
            }
            PaymentEvent::RefundCompleted { amount, provider_reference } => {
                self.status = PaymentStatus::Refunded;
                self.refunded = amount;
                self.provider_reference = Some(provider_reference);
            }
        }
    }
}
