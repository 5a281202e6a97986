//! Results that somebody waits for: what happened to the payment, told until it is heard or too much.

use chrono::{DateTime, TimeDelta, Utc};
use domain::payment::RequestedPayment;
use domain::{Decider, Payment, PaymentEvent};
use event_store::read;

use super::{ActError, Actor};
use crate::commands::deadline_kind::PAYMENT_RESULT;
use crate::commands::{self, PaymentKey, PaymentResultKey};
use crate::payment_result::Told;
use crate::provider::{CallbackStatus, PaymentCallback};

/// Far more than a payment can have.
const MAX_EVENTS: i64 = 32;

/// An outcome, and who asked for it.
struct Outcome {
    address: String,
    callback: PaymentCallback,
}

impl Actor {
    /// Tells one outcome of a payment, unless another has taken its place meanwhile.
    pub(super) async fn tell_result(&self, key: String, due_at: DateTime<Utc>) -> Result<(), ActError> {
        let result: PaymentResultKey = key.parse()?;
        let outcome = self.outcome(&result).await?.filter(|outcome| outcome.callback.status == result.status);
        let told = match outcome {
            Some(Outcome { address, callback }) => {
                self.0.results.tell(self.0.ledger.pool(), &address, &callback).await?
            }
            None => Told::GivenUp,
        };
        match told {
            Told::Later(pause) => {
                let pause = TimeDelta::from_std(pause).unwrap_or(TimeDelta::days(1));
                self.postpone(PAYMENT_RESULT, &key, due_at, pause).await
            }
            Told::Delivered | Told::GivenUp => {
                commands::clear_deadline(&self.0.ledger, PAYMENT_RESULT, key).await?;
                Ok(())
            }
        }
    }

    /// From the events and not from the clock, so that every attempt says the same of the same outcome.
    async fn outcome(&self, key: &PaymentResultKey) -> Result<Option<Outcome>, ActError> {
        let PaymentKey { order_id, payment_id } = &key.payment;
        let payment = self.0.ledger.load::<Payment>(payment_id.as_str()).await?.state.requested;
        let Some(RequestedPayment { callback_url: Some(address), amount: asked_for, .. }) = payment else {
            return Ok(None);
        };
        let stream_id = Payment::stream_id(payment_id.as_str());
        let mut outcome = None;
        for recorded in read::stream(self.0.ledger.pool(), &stream_id, 0, MAX_EVENTS).await? {
            let (status, amount, provider_reference, time) = match recorded.decode::<Payment>()? {
                PaymentEvent::PaymentCaptured { amount, provider_reference, paid_time } => {
                    (CallbackStatus::Succeeded, amount, provider_reference, paid_time)
                }
                PaymentEvent::PaymentFailed { .. } => {
                    (CallbackStatus::Failed, asked_for, String::new(), recorded.recorded_at)
                }
                _ => continue,
            };
            outcome = Some(PaymentCallback {
                payment_id: payment_id.clone(),
                order_id: order_id.clone(),
                status,
                amount,
                provider_reference,
                paid_time: time.timestamp_millis(),
            });
        }
        Ok(outcome.map(|callback| Outcome { address, callback }))
    }
}
