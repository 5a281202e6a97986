use chrono::{DateTime, Utc};

use super::{Payment, PaymentCommand, PaymentEvent, PaymentRejection, PaymentStatus, RequestedPayment};
use crate::money::Money;

type Decision = Result<Vec<PaymentEvent>, PaymentRejection>;

pub(super) fn decide(state: &Payment, command: PaymentCommand) -> Decision {
    let payment = state.requested.as_ref().ok_or(PaymentRejection::NotFound);
    match command {
        PaymentCommand::Request { payment_id, order_id, user_id, payment_method, amount, callback_url } => {
            if payment.is_ok() {
                return Err(PaymentRejection::AlreadyRequested);
            }
            Ok(vec![PaymentEvent::PaymentRequested {
                payment_id,
                order_id,
                user_id,
                payment_method,
                amount,
                callback_url,
            }])
        }
        PaymentCommand::Capture { amount, provider_reference, paid_time } => {
            payment?.capture(amount, provider_reference, paid_time)
        }
        PaymentCommand::Fail { reason } => Ok(payment?.fail(reason)),
        PaymentCommand::StartRefund { reason } => payment?.start_refund(reason),
        PaymentCommand::CompleteRefund { provider_reference } => payment?.complete_refund(provider_reference),
    }
}

impl RequestedPayment {
    fn capture(&self, amount: Money, provider_reference: String, paid_time: DateTime<Utc>) -> Decision {
        if amount != self.amount {
            return Err(PaymentRejection::WrongAmount { expected: self.amount, received: amount });
        }
        match self.status {
            PaymentStatus::Requested | PaymentStatus::Failed => {
                Ok(vec![PaymentEvent::PaymentCaptured { amount, provider_reference, paid_time }])
            }
            PaymentStatus::Succeeded | PaymentStatus::Refunding | PaymentStatus::Refunded => Ok(vec![]),
        }
    }

    fn fail(&self, reason: String) -> Vec<PaymentEvent> {
        match self.status {
            PaymentStatus::Requested => vec![PaymentEvent::PaymentFailed { reason }],
            _ => vec![],
        }
    }

    fn start_refund(&self, reason: String) -> Decision {
        match self.status {
            PaymentStatus::Succeeded => Ok(vec![PaymentEvent::RefundStarted { amount: self.held(), reason }]),
            PaymentStatus::Refunding | PaymentStatus::Refunded => Ok(vec![]),
            status => Err(PaymentRejection::NotCaptured { status }),
        }
    }

    fn complete_refund(&self, provider_reference: String) -> Decision {
        match self.status {
            PaymentStatus::Refunding => {
                Ok(vec![PaymentEvent::RefundCompleted { amount: self.held(), provider_reference }])
            }
            PaymentStatus::Refunded => Ok(vec![]),
            status => Err(PaymentRejection::RefundNotStarted { status }),
        }
    }
}
