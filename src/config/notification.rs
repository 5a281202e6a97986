//! Where notifications leave the system.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::bounds::{between, invalid};
use super::secrets::{mask_password, mask_secret};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotificationSection {
    /// How long a message is offered to a mailbox or a phone that takes none for now, before it counts as failed.
    pub give_up_after_seconds: u64,
    pub smtp: SmtpSection,
    pub sms: SmsSection,
}

impl Default for NotificationSection {
    fn default() -> Self {
        Self { give_up_after_seconds: 4 * 3_600, smtp: SmtpSection::default(), sms: SmsSection::default() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpSection {
    /// `smtps://user:password@host:465`, `smtp://host:587?tls=required` (STARTTLS) or `smtp://host:25`; none: mail is
    /// only logged.
    pub url: Option<String>,
    /// `Tickets <tickets@example.com>`. Needed with `url`.
    pub from: Option<String>,
    /// PEM of a certificate authority to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Bound on one mail.
    pub timeout_ms: u64,
    pub max_connections: u32,
}

impl Default for SmtpSection {
    fn default() -> Self {
        Self { url: None, from: None, ca_file: None, timeout_ms: 10_000, max_connections: 4 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmsSection {
    /// Text messages are posted here; none: they are only logged.
    pub url: Option<String>,
    /// Shown to the provider as a bearer token.
    pub api_key: Option<String>,
    /// Bound on one call.
    pub timeout_ms: u64,
    /// Calls for one text before the provider counts as away for now.
    pub max_attempts: u32,
    /// Pause after the first failed call; it doubles with each further one.
    pub retry_pause_ms: u64,
}

impl Default for SmsSection {
    fn default() -> Self {
        Self { url: None, api_key: None, timeout_ms: 5_000, max_attempts: 3, retry_pause_ms: 200 }
    }
}

impl NotificationSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        let (smtp, sms) = (&self.smtp, &self.sms);
        for (key, value, max) in [
            ("notification.give_up_after_seconds", self.give_up_after_seconds, 30 * 24 * 3_600),
            ("notification.smtp.timeout_ms", smtp.timeout_ms, 600_000),
            ("notification.smtp.max_connections", smtp.max_connections.into(), 1_000),
            ("notification.sms.timeout_ms", sms.timeout_ms, 600_000),
            ("notification.sms.max_attempts", sms.max_attempts.into(), 20),
            ("notification.sms.retry_pause_ms", sms.retry_pause_ms, 60_000),
        ] {
            between(key, value, 1, max)?;
        }
        if let Some(url) = &smtp.url {
            if !["smtp://", "smtps://"].iter().any(|scheme| url.starts_with(scheme)) {
                return Err(invalid("notification.smtp.url", "must start with smtp:// or smtps://"));
            }
            if smtp.from.as_ref().is_none_or(|from| !from.contains('@')) {
                return Err(invalid("notification.smtp.from", "must be a mailbox where notification.smtp.url is set"));
            }
        }
        if let Some(url) = &sms.url
            && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        {
            return Err(invalid("notification.sms.url", "must start with http:// or https://"));
        }
        Ok(())
    }

    pub(super) fn mask(&mut self) {
        mask_secret(&mut self.sms.api_key);
        self.smtp.url = self.smtp.url.take().map(|url| mask_password(&url));
    }
}
