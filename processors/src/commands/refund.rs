use std::future::Future;

use chrono::TimeDelta;
use domain::{Fulfilment, FulfilmentCommand, FulfilmentEvent, Order, OrderCommand, Payment, PaymentCommand};
use event_store::{CommandError, Committed, Deadline, Ledger, Refusal, UnitOfWork};

use super::deadline_kind::REFUND;
use super::effects::{change_fulfilment, change_order};
use super::payment_key::PaymentKey;
use super::{Origin, measured};

/// Writes down that the provider gave the money back.
pub fn complete_refund(
    ledger: &Ledger,
    origin: Origin,
    key: PaymentKey,
    provider_reference: String,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let command = origin
        .command()
        .read::<Payment>(key.payment_id.as_str())
        .read::<Order>(key.order_id.as_str())
        .read::<Fulfilment>(key.order_id.as_str());
    let completing = ledger.submit(command, move |uow| complete(uow, &key, &provider_reference));
    measured("complete_refund", mode, completing)
}

/// How often a refund that the provider refuses is asked for, and how long after each refusal.
#[derive(Debug, Clone, Copy)]
pub struct RefundRetries {
    /// After so many refusals a person must decide.
    pub max_attempts: u32,
    /// After the first refusal; doubled after each further one.
    pub first_pause_ms: u32,
    pub max_pause_ms: u32,
}

/// Writes down that the provider refused to give the money back, and when to ask again; or, after too many refusals, that
/// a person must decide.
pub fn record_refund_failure(
    ledger: &Ledger,
    origin: Origin,
    key: PaymentKey,
    reason: String,
    retries: RefundRetries,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let command = origin.command().read::<Fulfilment>(key.order_id.as_str());
    let recording = ledger.submit(command, move |uow| fail(uow, &key, &reason, retries));
    measured("record_refund_failure", mode, recording)
}

/// Has a refund asked for now, and kept until the provider has paid back: a crash in between cannot lose it.
pub(super) fn set_refund_due(uow: &mut UnitOfWork<'_>, key: &PaymentKey) {
    let due_at = uow.now();
    uow.set_deadline(Deadline { kind: REFUND, key: key.to_string(), due_at });
}

fn fail(uow: &mut UnitOfWork<'_>, key: &PaymentKey, reason: &str, retries: RefundRetries) -> Result<(), Refusal> {
    let failed = FulfilmentCommand::RecordRefundFailure {
        payment_id: key.payment_id.clone(),
        reason: reason.to_owned(),
        max_attempts: retries.max_attempts,
    };
    let events = uow.handle::<Fulfilment>(key.order_id.as_str(), failed)?;
    match events.last() {
        Some(FulfilmentEvent::RefundFailed { attempt, handed_over: false, .. }) => {
            let due_at = uow.now() + retries.pause_after(*attempt);
            uow.set_deadline(Deadline { kind: REFUND, key: key.to_string(), due_at });
        }
        // Handed over, or done meanwhile.
        _ => uow.clear_deadline(REFUND, &key.to_string()),
    }
    Ok(())
}

pub(super) fn complete(uow: &mut UnitOfWork<'_>, key: &PaymentKey, provider_reference: &str) -> Result<(), Refusal> {
    uow.clear_deadline(REFUND, &key.to_string());
    let complete = PaymentCommand::CompleteRefund { provider_reference: provider_reference.to_owned() };
    if uow.handle::<Payment>(key.payment_id.as_str(), complete)?.is_empty() {
        return Ok(());
    }
    change_order(uow, &key.order_id, OrderCommand::CompleteRefund { payment_id: key.payment_id.clone() })?;
    change_fulfilment(uow, &key.order_id, FulfilmentCommand::RecordRefund { payment_id: key.payment_id.clone() })
}

impl RefundRetries {
    fn pause_after(self, attempt: u32) -> TimeDelta {
        let doubled = u64::from(self.first_pause_ms) << attempt.saturating_sub(1).min(31);
        TimeDelta::milliseconds(doubled.min(u64::from(self.max_pause_ms)) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_doubles_the_pause_up_to_a_bound() {
        let retries = RefundRetries { max_attempts: 100, first_pause_ms: 2_000, max_pause_ms: 60_000 };
        let pauses: Vec<i64> = [1, 2, 3, 5, 6, 40].map(|attempt| retries.pause_after(attempt).num_seconds()).into();
        assert_eq!(pauses, [2, 4, 8, 32, 60, 60]);
    }
}
