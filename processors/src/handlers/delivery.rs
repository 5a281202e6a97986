//! The SMS and the e-mail service.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use domain::notification::DeliveryStatus;
use domain::{Channel, Notification, NotificationId};
use event_store::Ledger;
use futures_util::FutureExt;
use messaging::message::{EmailNotification, SmsNotification};
use messaging::{Effect, HandleError, Handler, ReceivedMessage, Topic};

use super::inbox::{effect_of, outside};
use super::replay;
use crate::commands::{self, Origin};
use crate::senders::{Email, EmailSender, SendFailure, Sent, Sms, SmsSender};

const SMS: &str = "sms";
const EMAIL: &str = "email";

/// How much a service takes on, and for how long.
#[derive(Clone, Copy)]
pub struct Patience {
    pub max_concurrent_calls: usize,
    /// How old a message may get that its provider puts off.
    pub give_up_after: Duration,
}

/// Sends text messages.
pub struct SmsHandler {
    ledger: Ledger,
    sender: Arc<dyn SmsSender>,
    patience: Patience,
}

/// Sends mail.
pub struct EmailHandler {
    ledger: Ledger,
    sender: Arc<dyn EmailSender>,
    patience: Patience,
}

impl SmsHandler {
    /// A handler that sends through this sender.
    pub fn new(ledger: Ledger, sender: Arc<dyn SmsSender>, patience: Patience) -> Self {
        Self { ledger, sender, patience }
    }

    async fn send(&self, message: &ReceivedMessage) -> Result<Effect, HandleError> {
        let data: SmsNotification = message.decode()?;
        let sms = Sms {
            idempotency_key: format!("{}-{SMS}", data.notification_id),
            user_id: data.user_id,
            phone: data.phone,
            body: data.body,
        };
        let origin = Origin::of_message(message, SMS);
        let delivery = Delivery { origin, channel: Channel::Sms, notification_id: data.notification_id };
        delivery.make(&self.ledger, self.sender.send(&sms), self.patience.is_over(message)).await
    }
}

impl EmailHandler {
    /// A handler that sends through this sender.
    pub fn new(ledger: Ledger, sender: Arc<dyn EmailSender>, patience: Patience) -> Self {
        Self { ledger, sender, patience }
    }

    async fn send(&self, message: &ReceivedMessage) -> Result<Effect, HandleError> {
        let data: EmailNotification = message.decode()?;
        let email = Email {
            idempotency_key: format!("{}-{EMAIL}", data.notification_id),
            user_id: data.user_id,
            email: data.email,
            subject: data.subject,
            body: data.body,
        };
        let origin = Origin::of_message(message, EMAIL);
        let delivery = Delivery { origin, channel: Channel::Email, notification_id: data.notification_id };
        delivery.make(&self.ledger, self.sender.send(&email), self.patience.is_over(message)).await
    }
}

#[async_trait]
impl Handler for SmsHandler {
    fn name(&self) -> &'static str {
        SMS
    }

    fn is_quiet_on_replay(&self) -> bool {
        replay::is_quiet(SMS)
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::SmsNotification]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        outside(batch, self.patience.max_concurrent_calls, |message| self.send(message).boxed()).await
    }
}

#[async_trait]
impl Handler for EmailHandler {
    fn name(&self) -> &'static str {
        EMAIL
    }

    fn is_quiet_on_replay(&self) -> bool {
        replay::is_quiet(EMAIL)
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::EmailNotification]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        outside(batch, self.patience.max_concurrent_calls, |message| self.send(message).boxed()).await
    }
}

/// One notification on its way over one channel.
struct Delivery {
    origin: Origin,
    channel: Channel,
    notification_id: NotificationId,
}

impl Delivery {
    async fn make(
        self,
        ledger: &Ledger,
        sending: impl Future<Output = Result<Sent, SendFailure>>,
        patience_is_over: bool,
    ) -> Result<Effect, HandleError> {
        let Self { origin, channel, notification_id } = self;
        if is_sent(ledger, notification_id, channel).await? {
            return effect_of(commands::record_handled(ledger, origin).await);
        }
        effect_of(match sending.await {
            Ok(sent) => commands::record_sent(ledger, origin, notification_id, channel, sent.provider_reference).await,
            Err(SendFailure::Refused(reason)) => {
                commands::record_failed(ledger, origin, notification_id, channel, reason).await
            }
            Err(SendFailure::Deferred(reason)) if patience_is_over => {
                commands::record_failed(ledger, origin, notification_id, channel, reason).await
            }
            Err(SendFailure::Unavailable(reason) | SendFailure::Deferred(reason)) => {
                return Err(HandleError::Transient(reason));
            }
        })
    }
}

impl Patience {
    /// A clock that is wrong makes this too early or too late, and orders nothing.
    fn is_over(&self, message: &ReceivedMessage) -> bool {
        let age_ms = Utc::now().timestamp_millis().saturating_sub(message.timestamp);
        u128::try_from(age_ms).is_ok_and(|age_ms| age_ms > self.give_up_after.as_millis())
    }
}

/// A message delivered again should not ring a phone again, even where the provider does not dedupe.
async fn is_sent(ledger: &Ledger, id: NotificationId, channel: Channel) -> Result<bool, HandleError> {
    let notification = ledger.load::<Notification>(&id.to_string()).await;
    let notification = notification.map_err(|error| HandleError::Transient(error.to_string()))?.state;
    let status = notification.requested.and_then(|notification| notification.delivery(channel));
    Ok(status == Some(DeliveryStatus::Sent))
}
