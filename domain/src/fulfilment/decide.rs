use super::{
    BegunFulfilment, Fulfilment, FulfilmentCommand, FulfilmentEvent, FulfilmentRejection, FulfilmentStep,
    ResolveAction, Tickets,
};
use crate::ids::{LockId, PaymentId};

type Decision = Result<Vec<FulfilmentEvent>, FulfilmentRejection>;

pub(super) fn decide(state: &Fulfilment, command: FulfilmentCommand) -> Decision {
    let saga = state.begun.as_ref().ok_or(FulfilmentRejection::NotBegun);
    match command {
        FulfilmentCommand::Begin { order_id, ticket_type_id, quantity, lock_id } => {
            if saga.is_ok() {
                return Ok(vec![]);
            }
            Ok(vec![FulfilmentEvent::FulfilmentBegun { order_id, ticket_type_id, quantity, lock_id }])
        }
        FulfilmentCommand::GrantLock { lock_id } => saga?.grant_lock(lock_id),
        FulfilmentCommand::RefuseLock { lock_id, reason } => saga?.refuse_lock(lock_id, reason),
        FulfilmentCommand::LapseLock { lock_id } => Ok(saga?.lapse_lock(lock_id)),
        FulfilmentCommand::Relock { lock_id } => saga?.relock(lock_id),
        FulfilmentCommand::RecordCapture { payment_id, refund_owed } => saga?.record_capture(payment_id, refund_owed),
        FulfilmentCommand::Complete {} => saga?.complete(),
        FulfilmentCommand::Compensate { reason } => Ok(saga.map(|saga| saga.compensate(reason)).unwrap_or_default()),
        FulfilmentCommand::RecordCompensated { lock_id } => Ok(saga?.record_compensated(lock_id)),
        FulfilmentCommand::RecordRefund { payment_id } => saga?.record_refund(payment_id),
        FulfilmentCommand::RecordRefundFailure { payment_id, reason, max_attempts } => {
            saga?.record_refund_failure(payment_id, reason, max_attempts)
        }
        FulfilmentCommand::Resolve { action, reason } => saga?.resolve(action, reason),
    }
}

impl BegunFulfilment {
    fn grant_lock(&self, lock_id: LockId) -> Decision {
        self.expect_lock(&lock_id)?;
        match self.tickets {
            Tickets::Requested => Ok(vec![FulfilmentEvent::LockGranted { lock_id }]),
            Tickets::Held | Tickets::Lapsed | Tickets::Deducted => Ok(vec![]),
            Tickets::Refused | Tickets::Releasing | Tickets::Released => {
                Err(FulfilmentRejection::LockNotRequested { step: self.step() })
            }
        }
    }

    fn refuse_lock(&self, lock_id: LockId, reason: String) -> Decision {
        self.expect_lock(&lock_id)?;
        match self.tickets {
            Tickets::Requested => Ok(vec![FulfilmentEvent::LockRefused { lock_id, reason }]),
            Tickets::Refused | Tickets::Releasing | Tickets::Released => Ok(vec![]),
            Tickets::Held | Tickets::Lapsed | Tickets::Deducted => {
                Err(FulfilmentRejection::LockNotRequested { step: self.step() })
            }
        }
    }

    fn lapse_lock(&self, lock_id: LockId) -> Vec<FulfilmentEvent> {
        if self.step() == FulfilmentStep::AwaitingPayment && self.lock_id == lock_id {
            return vec![FulfilmentEvent::FulfilmentLockLapsed { lock_id }];
        }
        vec![]
    }

    fn relock(&self, lock_id: LockId) -> Decision {
        match self.tickets {
            Tickets::Lapsed | Tickets::Releasing | Tickets::Released if self.captured.is_none() => {
                Ok(vec![FulfilmentEvent::Relocked { lock_id }])
            }
            Tickets::Held | Tickets::Deducted if self.lock_id == lock_id => Ok(vec![]),
            _ => Err(FulfilmentRejection::NotRelockable { step: self.step() }),
        }
    }

    fn record_capture(&self, payment_id: PaymentId, refund_owed: bool) -> Decision {
        if self.knows_payment(&payment_id) {
            return Ok(vec![]);
        }
        if !refund_owed && self.step() != FulfilmentStep::AwaitingPayment {
            return Err(FulfilmentRejection::NoTicketsHeld { step: self.step() });
        }
        Ok(vec![FulfilmentEvent::CaptureRecorded { payment_id, refund_owed }])
    }

    fn complete(&self) -> Decision {
        match self.step() {
            FulfilmentStep::DeductingStock => Ok(vec![FulfilmentEvent::FulfilmentCompleted {}]),
            _ if self.tickets == Tickets::Deducted => Ok(vec![]),
            step => Err(FulfilmentRejection::NotCaptured { step }),
        }
    }

    fn compensate(&self, reason: String) -> Vec<FulfilmentEvent> {
        match self.tickets {
            Tickets::Refused | Tickets::Releasing | Tickets::Released => vec![],
            Tickets::Requested | Tickets::Held | Tickets::Lapsed | Tickets::Deducted => {
                vec![FulfilmentEvent::CompensationStarted { reason }]
            }
        }
    }

    fn record_compensated(&self, lock_id: LockId) -> Vec<FulfilmentEvent> {
        if self.tickets == Tickets::Releasing && self.lock_id == lock_id {
            return vec![FulfilmentEvent::CompensationCompleted { lock_id }];
        }
        vec![]
    }

    fn record_refund(&self, payment_id: PaymentId) -> Decision {
        if self.refunded.contains(&payment_id) {
            return Ok(vec![]);
        }
        if !self.refunds_owed.contains(&payment_id) {
            return Err(FulfilmentRejection::RefundNotOwed { payment_id });
        }
        Ok(vec![FulfilmentEvent::RefundRecorded { payment_id }])
    }

    fn record_refund_failure(&self, payment_id: PaymentId, reason: String, max_attempts: u32) -> Decision {
        if self.refunded.contains(&payment_id) {
            return Ok(vec![]);
        }
        if !self.refunds_owed.contains(&payment_id) {
            return Err(FulfilmentRejection::RefundNotOwed { payment_id });
        }
        let known = self.refund_failure(&payment_id);
        if known.is_some_and(|failure| failure.handed_over) {
            return Ok(vec![]);
        }
        let attempt = known.map_or(0, |failure| failure.attempts).saturating_add(1);
        Ok(vec![FulfilmentEvent::RefundFailed { payment_id, attempt, reason, handed_over: attempt >= max_attempts }])
    }

    fn resolve(&self, action: ResolveAction, reason: String) -> Decision {
        if !self.is_compensating() {
            return Err(FulfilmentRejection::NothingToResolve { step: self.step() });
        }
        Ok(vec![FulfilmentEvent::CompensationResolved { action, reason }])
    }

    fn expect_lock(&self, lock_id: &LockId) -> Result<(), FulfilmentRejection> {
        if self.lock_id == *lock_id {
            return Ok(());
        }
        Err(FulfilmentRejection::UnknownLock { lock_id: lock_id.clone() })
    }

    fn knows_payment(&self, payment_id: &PaymentId) -> bool {
        self.captured.as_ref() == Some(payment_id)
            || self.refunds_owed.contains(payment_id)
            || self.refunded.contains(payment_id)
    }
}
