use super::{BegunFulfilment, Fulfilment, FulfilmentEvent, RefundFailure, Tickets};

impl Fulfilment {
    pub(super) fn evolve(&mut self, event: FulfilmentEvent) {
        match event {
            FulfilmentEvent::FulfilmentBegun { order_id, ticket_type_id, quantity, lock_id } => {
                self.begun = Some(BegunFulfilment {
                    order_id,
                    ticket_type_id,
                    quantity,
                    lock_id,
                    tickets: Tickets::Requested,
                    captured: None,
                    refunds_owed: vec![],
                    refunded: vec![],
                    refund_failures: vec![],
                    reason: None,
                });
            }
            event => {
                if let Some(saga) = &mut self.begun {
                    saga.evolve(event);
                }
            }
        }
    }
}

impl BegunFulfilment {
    fn evolve(&mut self, event: FulfilmentEvent) {
        match event {
            FulfilmentEvent::FulfilmentBegun { .. } => {}
            FulfilmentEvent::LockGranted { .. } => self.tickets = Tickets::Held,
            FulfilmentEvent::LockRefused { reason, .. } => {
                self.tickets = Tickets::Refused;
                self.reason = Some(reason);
            }
            FulfilmentEvent::FulfilmentLockLapsed { .. } => self.tickets = Tickets::Lapsed,
            FulfilmentEvent::Relocked { lock_id } => {
                self.tickets = Tickets::Held;
                self.lock_id = lock_id;
                self.reason = None;
            }
            FulfilmentEvent::CaptureRecorded { payment_id, refund_owed: false } => self.captured = Some(payment_id),
            FulfilmentEvent::CaptureRecorded { payment_id, .. } => {
                self.refunds_owed.push(payment_id);
            }
            FulfilmentEvent::FulfilmentCompleted {} => self.tickets = Tickets::Deducted,
            FulfilmentEvent::CompensationStarted { reason } => {
                self.tickets = Tickets::Releasing;
                self.refunds_owed.extend(self.captured.take());
                self.reason = Some(reason);
            }
            FulfilmentEvent::CompensationCompleted { .. } => self.tickets = Tickets::Released,
            FulfilmentEvent::RefundRecorded { payment_id } => {
                self.refunds_owed.retain(|owed| *owed != payment_id);
                self.refund_failures.retain(|failure| failure.payment_id != payment_id);
                self.refunded.push(payment_id);
            }
            FulfilmentEvent::RefundFailed { payment_id, attempt, reason, handed_over } => {
                self.refund_failures.retain(|failure| failure.payment_id != payment_id);
                self.refund_failures.push(RefundFailure { payment_id, attempts: attempt, reason, handed_over });
            }
            // Retried or skipped, the count of failures begins anew.
            FulfilmentEvent::CompensationResolved { .. } => self.refund_failures.clear(),
        }
    }
}
