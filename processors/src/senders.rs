//! Where texts and mails leave the system.

mod guarded;
mod http_sms;
mod smtp;

use std::fmt;

use async_trait::async_trait;
use domain::UserId;

pub use guarded::Guarded;
pub use http_sms::{HttpSmsConfig, HttpSmsSender};
pub use smtp::{SmtpConfig, SmtpSender};

/// A text message to a phone.
pub struct Sms {
    /// The same on every repeat, so that a provider that dedupes sends once.
    pub idempotency_key: String,
    pub user_id: UserId,
    pub phone: String,
    pub body: String,
}

/// A mail.
pub struct Email {
    /// The same on every repeat, so that a provider that dedupes sends once.
    pub idempotency_key: String,
    pub user_id: UserId,
    pub email: String,
    pub subject: String,
    pub body: String,
}

/// What the provider calls what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub provider_reference: String,
}

/// Why something was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendFailure {
    /// The provider does not answer, or takes nothing from us: worth trying again later.
    #[error("the provider is unavailable: {0}")]
    Unavailable(String),
    /// The provider takes others, but not this one for now: a mailbox that is full. Worth trying again, for a while.
    #[error("the provider puts it off: {0}")]
    Deferred(String),
    /// Will never work: a number that does not exist, a mailbox that refuses.
    #[error("the provider refused: {0}")]
    Refused(String),
}

/// A setting that no sender can be built with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {reason}")]
pub struct SenderConfigError {
    /// The last part of the setting's name.
    pub key: &'static str,
    pub reason: String,
}

impl SenderConfigError {
    fn new(key: &'static str, reason: impl Into<String>) -> Self {
        Self { key, reason: reason.into() }
    }
}

/// Sends text messages.
#[async_trait]
pub trait SmsSender: Send + Sync {
    async fn send(&self, sms: &Sms) -> Result<Sent, SendFailure>;
}

/// Sends mail.
#[async_trait]
pub trait EmailSender: Send + Sync {
    async fn send(&self, email: &Email) -> Result<Sent, SendFailure>;
}

/// The sandbox: sends nothing and logs that it would have, without address or text.
pub struct LogOnly;

#[async_trait]
impl SmsSender for LogOnly {
    async fn send(&self, sms: &Sms) -> Result<Sent, SendFailure> {
        Ok(logged("sms", &sms.idempotency_key))
    }
}

#[async_trait]
impl EmailSender for LogOnly {
    async fn send(&self, email: &Email) -> Result<Sent, SendFailure> {
        Ok(logged("email", &email.idempotency_key))
    }
}

fn logged(channel: &str, idempotency_key: &str) -> Sent {
    tracing::debug!(channel, idempotency_key, "the sandbox sender would send this");
    Sent { provider_reference: format!("sandbox-{channel}-{idempotency_key}") }
}

// Address and text belong to the user: neither may reach a log by way of `{:?}`.
impl fmt::Debug for Sms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sms").field("idempotency_key", &self.idempotency_key).finish_non_exhaustive()
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email").field("idempotency_key", &self.idempotency_key).finish_non_exhaustive()
    }
}
