//! Payments whose provider has not called back: it is asked, and given up in the end.

use chrono::{DateTime, TimeDelta, Utc};
use domain::payment::RequestedPayment;
use domain::{Decider, Order, Payment, PaymentStatus};
use event_store::{StoreError, read};
use metrics::{counter, describe_counter};

use super::{ActError, Actor};
use crate::commands::deadline_kind::PAYMENT_QUERY;
use crate::commands::{self, Origin, PaymentKey, UseCaseError};
use crate::policy::Policy;
use crate::provider::{
    CallbackStatus, PaymentCallback, PaymentRequest, ProviderError, ProviderPayment, ProviderStatus,
};

/// The status of a provider that does not know a payment: our call to start it was lost.
const NOT_FOUND: u16 = 404;

impl Actor {
    /// Asks how a payment stands. What the provider says is taken in as if it had called back; one that stays without an
    /// outcome is given up. A provider that does not answer is asked for as long as it takes: it may have the money.
    pub(super) async fn ask_about(&self, key: String, due_at: DateTime<Utc>) -> Result<(), ActError> {
        let key: PaymentKey = key.parse()?;
        let payment = self.0.ledger.load::<Payment>(key.payment_id.as_str()).await?.state.requested;
        let Some(payment) = payment.filter(|payment| payment.status == PaymentStatus::Requested) else {
            return self.give_up(key).await;
        };
        let silence = self.0.ledger.now() - self.requested_at(&key).await?;
        let is_over = silence >= TimeDelta::seconds(i64::from(self.0.policy.payment_give_up_after_seconds));
        match self.0.provider.query(&key.payment_id).await {
            Ok(answer) if answer.status != ProviderStatus::Pending => self.take_in(&payment, answer).await,
            Ok(_) if !is_over => self.wait_on(&key, due_at, silence, "pending").await,
            Err(ProviderError::Refused { status: NOT_FOUND, .. }) if !is_over && self.is_wanted(&key).await? => {
                self.0.provider.start(&PaymentRequest::of(&payment)).await?;
                self.wait_on(&key, due_at, silence, "started_again").await
            }
            // Nobody was asked for money and nobody will be.
            Ok(_) | Err(ProviderError::Refused { status: NOT_FOUND, .. }) => self.give_up_counted(key).await,
            Err(error) => {
                count("unanswered");
                Err(error.into())
            }
        }
    }

    /// By the database's clock, which is the one that deadlines go by.
    async fn requested_at(&self, key: &PaymentKey) -> Result<DateTime<Utc>, ActError> {
        let stream_id = Payment::stream_id(key.payment_id.as_str());
        let first = read::stream(self.0.ledger.pool(), &stream_id, 0, 1).await?;
        let first = first.first().ok_or(StoreError::Database(sqlx::Error::RowNotFound))?;
        Ok(first.recorded_at)
    }

    async fn is_wanted(&self, key: &PaymentKey) -> Result<bool, ActError> {
        let order = self.0.ledger.load::<Order>(key.order_id.as_str()).await?.state.placed;
        Ok(order.is_some_and(|order| order.is_paying_by(&key.payment_id)))
    }

    async fn take_in(&self, payment: &RequestedPayment, answer: ProviderPayment) -> Result<(), ActError> {
        let succeeded = answer.status == ProviderStatus::Succeeded;
        let callback = PaymentCallback {
            payment_id: payment.payment_id.clone(),
            order_id: payment.order_id.clone(),
            status: if succeeded { CallbackStatus::Succeeded } else { CallbackStatus::Failed },
            // What was taken, which of a failure is nothing and says nothing.
            amount: answer.amount.filter(|_| succeeded).unwrap_or(payment.amount),
            provider_reference: answer.provider_reference,
            paid_time: answer.paid_time.unwrap_or_else(|| self.0.ledger.now().timestamp_millis()),
        };
        let origin = Origin::of_deadline(&payment.order_id);
        let settled = commands::settle_payment(&self.0.ledger, &self.0.policy, origin, callback).await;
        match &settled {
            Ok(_) => count("settled"),
            Err(error) if is_mismatch(error) => {
                count("mismatch");
                tracing::error!(payment_id = %payment.payment_id, %error, "what the provider says does not fit its payment");
            }
            Err(_) => {}
        }
        settled?;
        Ok(())
    }

    async fn wait_on(
        &self,
        key: &PaymentKey,
        due_at: DateTime<Utc>,
        silence: TimeDelta,
        outcome: &'static str,
    ) -> Result<(), ActError> {
        self.postpone(PAYMENT_QUERY, &key.to_string(), due_at, pause_after(silence, &self.0.policy)).await?;
        count(outcome);
        Ok(())
    }

    async fn give_up_counted(&self, key: PaymentKey) -> Result<(), ActError> {
        tracing::warn!(payment_id = %key.payment_id, "the provider never said how a payment ended; it is given up");
        self.give_up(key).await?;
        count("given_up");
        Ok(())
    }

    async fn give_up(&self, key: PaymentKey) -> Result<(), ActError> {
        let origin = Origin::of_deadline(&key.order_id);
        commands::give_up_payment(&self.0.ledger, origin, key).await?;
        Ok(())
    }
}

/// As long again as it has been silent, but not past the time at which it is given up.
fn pause_after(silence: TimeDelta, policy: &Policy) -> TimeDelta {
    let patience = TimeDelta::seconds(i64::from(policy.payment_give_up_after_seconds)) - silence;
    let at_least = TimeDelta::seconds(i64::from(policy.payment_query_after_seconds));
    silence.max(at_least).min(patience).max(TimeDelta::zero())
}

fn is_mismatch(error: &UseCaseError) -> bool {
    error.code().is_some_and(|code| ["wrong_amount", "wrong_order"].contains(&code))
}

const QUERIES: &str = "ledger_payment_queries_total";
const OUTCOMES: [&str; 6] = ["settled", "pending", "started_again", "given_up", "unanswered", "mismatch"];

/// Puts the counters there at 0, so that an alert can be written on them.
pub fn register_metrics() {
    describe_counter!(QUERIES, "Questions about payments whose provider was silent, by what came of them");
    for outcome in OUTCOMES {
        counter!(QUERIES, "outcome" => outcome).absolute(0);
    }
}

fn count(outcome: &'static str) {
    counter!(QUERIES, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_provider_is_asked_ever_less_often_and_once_more_at_the_end() {
        let policy = Policy::default();
        let mut asked_after_seconds = vec![i64::from(policy.payment_query_after_seconds)];
        while asked_after_seconds.last() < Some(&i64::from(policy.payment_give_up_after_seconds)) {
            let silence = TimeDelta::seconds(asked_after_seconds.last().copied().unwrap_or_default());
            asked_after_seconds.push((silence + pause_after(silence, &policy)).num_seconds());
        }
        assert_eq!(asked_after_seconds, [30, 60, 120, 240, 480, 600]);
    }
}
