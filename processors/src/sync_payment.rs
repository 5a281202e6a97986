//! Paying for a sync order: the caller asks the provider itself, without the broker, and waits a while for the outcome.
//!
//! What is committed before is enough to go on from: a caller that dies here leaves a payment whose deadline asks the provider.

use std::pin::pin;
use std::time::Duration;

use domain::Order;
use domain::order::AttemptOutcome;
use event_store::{Ledger, StoreError};
use tokio::time::{Instant, sleep_until};

use crate::commands::NewPayment;
use crate::provider::{PaymentProvider, PaymentRequest};

/// Before the first look at the ledger; each further one waits twice as long.
const FIRST_LOOK_MS: u64 = 10;
const LONGEST_LOOK_MS: u64 = 250;

/// What is known of a payment when the wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncOutcome {
    /// The money is taken and the tickets are the user's.
    Paid,
    /// No money is taken; the order may be paid again.
    Declined,
    /// Not decided yet, or the money was taken and goes back.
    Open,
}

/// Asks the provider for a payment that was started, and waits for what its callback makes of it. Asking again for one that
/// the provider knows changes nothing.
pub async fn ask_and_wait(
    ledger: &Ledger,
    provider: &dyn PaymentProvider,
    payment: &NewPayment,
    wait: Duration,
) -> Result<SyncOutcome, StoreError> {
    let until = Instant::now() + wait;
    let Look { outcome, is_under_way } = look(ledger, payment).await?;
    if !is_under_way {
        return Ok(outcome);
    }
    let mut settled = pin!(settled(ledger, payment, until));
    // The callback may come before the provider's answer: then nobody waits for the latter.
    tokio::select! {
        outcome = &mut settled => return outcome,
        () = ask(provider, payment) => {}
    }
    settled.await
}

async fn ask(provider: &dyn PaymentProvider, payment: &NewPayment) {
    let start = PaymentRequest {
        payment_id: payment.payment_id.clone(),
        order_id: payment.order_id.clone(),
        amount: payment.amount,
        payment_method: payment.payment_method.clone(),
    };
    if let Err(error) = provider.start(&start).await {
        tracing::warn!(payment_id = %payment.payment_id, %error, "the provider was not asked; the payment's deadline will");
    }
}

async fn settled(ledger: &Ledger, payment: &NewPayment, until: Instant) -> Result<SyncOutcome, StoreError> {
    let mut pause = Duration::from_millis(FIRST_LOOK_MS);
    loop {
        sleep_until(until.min(Instant::now() + pause)).await;
        let Look { outcome, is_under_way } = look(ledger, payment).await?;
        if !is_under_way || Instant::now() >= until {
            return Ok(outcome);
        }
        pause = (pause * 2).min(Duration::from_millis(LONGEST_LOOK_MS));
    }
}

struct Look {
    outcome: SyncOutcome,
    /// Whether waiting may still change the outcome.
    is_under_way: bool,
}

async fn look(ledger: &Ledger, payment: &NewPayment) -> Result<Look, StoreError> {
    let Some(order) = ledger.load::<Order>(payment.order_id.as_str()).await?.state.placed else {
        return Ok(Look { outcome: SyncOutcome::Open, is_under_way: false });
    };
    let attempt = order.payments.iter().find(|attempt| attempt.payment_id == payment.payment_id);
    let outcome = match attempt.map(|attempt| attempt.outcome) {
        Some(AttemptOutcome::Captured) => SyncOutcome::Paid,
        Some(AttemptOutcome::Failed) => SyncOutcome::Declined,
        _ => SyncOutcome::Open,
    };
    Ok(Look { outcome, is_under_way: order.is_paying_by(&payment.payment_id) })
}
