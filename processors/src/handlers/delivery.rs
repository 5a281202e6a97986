//! The SMS and the e-mail service.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use domain::notification::DeliveryStatus;
use domain::{Channel, Notification, NotificationId};
use event_store::Ledger;
use futures_util::FutureExt;
use messaging::message::{EmailNotification, SmsNotification};
use messaging::{Effect, HandleError, Handler, ReceivedMessage, Topic};

use super::inbox::{effect_of, outside};
use crate::commands::{self, Origin};
use crate::senders::{Email, EmailSender, SendFailure, Sent, Sms, SmsSender};

const SMS: &str = "sms";
const EMAIL: &str = "email";

/// Sends text messages.
pub struct SmsHandler {
    ledger: Ledger,
    sender: Arc<dyn SmsSender>,
    max_concurrent_calls: usize,
}

/// Sends mail.
pub struct EmailHandler {
    ledger: Ledger,
    sender: Arc<dyn EmailSender>,
    max_concurrent_calls: usize,
}

impl SmsHandler {
    /// A handler that sends through this sender.
    pub fn new(ledger: Ledger, sender: Arc<dyn SmsSender>, max_concurrent_calls: usize) -> Self {
        Self { ledger, sender, max_concurrent_calls }
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
        delivery.make(&self.ledger, self.sender.send(&sms)).await
    }
}

impl EmailHandler {
    /// A handler that sends through this sender.
    pub fn new(ledger: Ledger, sender: Arc<dyn EmailSender>, max_concurrent_calls: usize) -> Self {
        Self { ledger, sender, max_concurrent_calls }
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
        delivery.make(&self.ledger, self.sender.send(&email)).await
    }
}

#[async_trait]
impl Handler for SmsHandler {
    fn name(&self) -> &'static str {
        SMS
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::SmsNotification]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        outside(batch, self.max_concurrent_calls, |message| self.send(message).boxed()).await
    }
}

#[async_trait]
impl Handler for EmailHandler {
    fn name(&self) -> &'static str {
        EMAIL
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::EmailNotification]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        outside(batch, self.max_concurrent_calls, |message| self.send(message).boxed()).await
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
            Err(SendFailure::Unavailable(reason)) => return Err(HandleError::Transient(reason)),
        })
    }
}

/// A message delivered again should not ring a phone again, even where the provider does not dedupe.
async fn is_sent(ledger: &Ledger, id: NotificationId, channel: Channel) -> Result<bool, HandleError> {
    let notification = ledger.load::<Notification>(&id.to_string()).await;
    let notification = notification.map_err(|error| HandleError::Transient(error.to_string()))?.state;
    let status = notification.requested.and_then(|notification| notification.delivery(channel));
    Ok(status == Some(DeliveryStatus::Sent))
}
