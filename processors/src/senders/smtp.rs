use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{self, AsyncSmtpTransport, PoolConfig};
use lettre::{AsyncTransport, Message, Tokio1Executor};
use reqwest::Url;
use tokio::sync::Semaphore;

use super::{Email, EmailSender, SendFailure, SenderConfigError, Sent};

/// Where mail is handed over, and how patient to be about it.
#[derive(Clone)]
pub struct SmtpConfig {
    /// `smtps://user:password@host:465`, `smtp://host:587?tls=required` (STARTTLS), or `smtp://host:25` without TLS.
    pub url: String,
    /// `Tickets <tickets@example.com>`
    pub from: String,
    /// A certificate authority to trust besides the system's, as PEM.
    pub ca_certificate_pem: Option<Vec<u8>>,
    /// Bound on one mail, from the connection to the last answer.
    pub timeout_ms: u64,
    /// Connections at a time; idle ones are kept for the next mail.
    pub max_connections: u32,
}

impl SmtpConfig {
    /// The defaults for a server.
    pub fn new(url: impl Into<String>, from: impl Into<String>) -> Self {
        Self { url: url.into(), from: from.into(), ca_certificate_pem: None, timeout_ms: 10_000, max_connections: 4 }
    }
}

/// Hands mail to an SMTP server. A mail sent again has the same `Message-ID`, by which servers and readers know it.
pub struct SmtpSender {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
    /// The transport's pool bounds what it keeps, not what it opens.
    connections: Semaphore,
}

impl SmtpSender {
    /// Connects with the first mail. Must be called on a Tokio runtime.
    pub fn new(config: &SmtpConfig) -> Result<Self, SenderConfigError> {
        let from = config.from.parse().map_err(|_| SenderConfigError::new("from", "is no mailbox"))?;
        Ok(Self {
            transport: transport(config)?,
            from,
            timeout: Duration::from_millis(config.timeout_ms),
            connections: Semaphore::new(config.max_connections as usize),
        })
    }

    fn compose(&self, email: &Email) -> Result<Message, SendFailure> {
        // What the parsers say quotes the address, which belongs in no reason.
        let to = email.email.parse().map_err(|_| SendFailure::Refused("not an e-mail address".to_owned()))?;
        Message::builder()
            .message_id(Some(self.message_id(email)))
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&email.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(email.body.clone())
            .map_err(|_| SendFailure::Refused("the mail cannot be written".to_owned()))
    }

    fn message_id(&self, email: &Email) -> String {
        format!("<{}@{}>", email.idempotency_key, self.from.email.domain())
    }
}

#[async_trait]
impl EmailSender for SmtpSender {
    async fn send(&self, email: &Email) -> Result<Sent, SendFailure> {
        let message = self.compose(email)?;
        let closed = |_| SendFailure::Unavailable("the sender is closed".to_owned());
        let _connection = self.connections.acquire().await.map_err(closed)?;
        match tokio::time::timeout(self.timeout, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(Sent { provider_reference: self.message_id(email) }),
            Ok(Err(error)) => Err(failure(&error, email)),
            Err(_) => Err(SendFailure::Unavailable("the SMTP server did not answer in time".to_owned())),
        }
    }
}

fn transport(config: &SmtpConfig) -> Result<AsyncSmtpTransport<Tokio1Executor>, SenderConfigError> {
    let wrong_url = |_| SenderConfigError::new("url", "is no smtp:// or smtps:// address");
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&config.url).map_err(wrong_url)?;
    if let Some(pem) = &config.ca_certificate_pem {
        builder = builder.tls(tls_trusting(&config.url, pem)?);
    }
    Ok(builder
        .timeout(Some(Duration::from_millis(config.timeout_ms)))
        .pool_config(PoolConfig::new().max_size(config.max_connections))
        .build())
}

/// The TLS that the URL asks for, with one more certificate authority.
fn tls_trusting(url: &str, pem: &[u8]) -> Result<Tls, SenderConfigError> {
    let url: Url = url.parse().map_err(|_| SenderConfigError::new("url", "is no smtp:// or smtps:// address"))?;
    let unusable = |_| SenderConfigError::new("ca_file", "is no PEM certificate");
    let parameters = TlsParameters::builder(url.host_str().unwrap_or_default().to_owned())
        .add_root_certificate(Certificate::from_pem(pem).map_err(unusable)?)
        .build()
        .map_err(unusable)?;
    let starttls = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, mode)| mode.into_owned());
    match (url.scheme(), starttls.as_deref()) {
        ("smtps", _) => Ok(Tls::Wrapper(parameters)),
        (_, Some("required")) => Ok(Tls::Required(parameters)),
        (_, Some(_)) => Ok(Tls::Opportunistic(parameters)),
        (_, None) => Err(SenderConfigError::new("ca_file", "needs smtps:// or ?tls=required")),
    }
}

/// Servers repeat the address in what they say, and reasons end up in events and logs: only codes are kept.
fn failure(error: &smtp::Error, email: &Email) -> SendFailure {
    match error.status().map(u16::from) {
        Some(code) if concerns_us(code) => SendFailure::Unavailable(told(code, error)),
        Some(code) if error.is_permanent() => SendFailure::Refused(told(code, error)),
        Some(code) => SendFailure::Deferred(told(code, error)),
        // An address that only a server with SMTPUTF8 takes.
        None if error.is_client() && !email.email.is_ascii() => {
            SendFailure::Refused("the SMTP server takes no such address".to_owned())
        }
        // Its text is the server's, which may quote the address.
        None if error.is_response() => SendFailure::Unavailable("the SMTP server's answer cannot be read".to_owned()),
        None => SendFailure::Unavailable(error.to_string()),
    }
}

/// What says nothing of this mail, and often is for an operator to mend: our commands, our login, the server itself.
fn concerns_us(code: u16) -> bool {
    matches!(code, 421 | 454 | 500 | 502..=504 | 521 | 530 | 534 | 535 | 538)
}

/// `SMTP 550 5.1.1`
fn told(code: u16, error: &smtp::Error) -> String {
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    let first = text.split_whitespace().next().unwrap_or_default();
    let is_status = first.split('.').count() == 3 && first.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
    if is_status { format!("SMTP {code} {first}") } else { format!("SMTP {code}") }
}
