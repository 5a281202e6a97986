use std::time::Duration;

use async_trait::async_trait;
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};

use super::{SendFailure, SenderConfigError, Sent, Sms, SmsSender};

/// How much is kept of what a provider calls a text message.
/// Beyond that it is no answer of a provider.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const MAX_REFERENCE_CHARS: usize = 200;

/// Where the provider is and how patient to be with it.
#[derive(Clone)]
pub struct HttpSmsConfig {
    /// Text messages are posted here.
    pub url: String,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    pub request_timeout_ms: u64,
    /// How often a call is made before it counts as unavailable.
    pub max_attempts: u32,
    /// The pause after the first failed attempt; each further one is twice as long.
    pub retry_pause_ms: u64,
}

impl HttpSmsConfig {
    /// The defaults for a provider at this address.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), api_key: None, request_timeout_ms: 5_000, max_attempts: 3, retry_pause_ms: 200 }
    }
}

/// A provider of text messages behind HTTP: `POST {"to", "text"}` with an `Idempotency-Key`, answered 2xx with
/// `{"messageId"}`.
pub struct HttpSmsSender {
    client: reqwest::Client,
    config: HttpSmsConfig,
}

#[derive(Serialize)]
struct TextMessage<'a> {
    to: &'a str,
    text: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    message_id: Option<String>,
}

impl HttpSmsSender {
    /// A client for the provider. The process must have installed rustls' crypto provider.
    pub fn new(config: HttpSmsConfig) -> Result<Self, SenderConfigError> {
        let wrong_url = |_| SenderConfigError::new("url", "is no http:// or https:// address");
        let url: reqwest::Url = config.url.parse().map_err(wrong_url)?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(SenderConfigError::new("url", "is no http:// or https:// address"));
        }
        let client = reqwest::Client::builder()
            .timeout(Duration::from_millis(config.request_timeout_ms))
            // A phone number goes where it was configured to go, and nowhere else.
            .redirect(Policy::none())
            .build()
            .map_err(|error| SenderConfigError::new("url", error.without_url().to_string()))?;
        Ok(Self { client, config })
    }

    fn request(&self, sms: &Sms) -> Result<RequestBuilder, SendFailure> {
        let body = serde_json::to_string(&TextMessage { to: &sms.phone, text: &sms.body })
            .map_err(|_| SendFailure::Refused("the text cannot be written as JSON".to_owned()))?;
        let request = self
            .client
            .post(&self.config.url)
            .header("content-type", "application/json")
            .header("idempotency-key", &sms.idempotency_key)
            .body(body);
        Ok(match &self.config.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        })
    }

    async fn attempt(&self, sms: &Sms) -> Result<Sent, SendFailure> {
        let unavailable = |error: reqwest::Error| SendFailure::Unavailable(error.without_url().to_string());
        let response = self.request(sms)?.send().await.map_err(unavailable)?;
        let status = response.status();
        if !status.is_success() {
            return Err(failure(status));
        }
        // Sent is sent, whatever the answer's body looks like, or how it ends.
        let accepted: Accepted = serde_json::from_slice(&start_of(response).await).unwrap_or_default();
        let reference = accepted.message_id.unwrap_or_else(|| sms.idempotency_key.clone());
        Ok(Sent { provider_reference: reference.chars().take(MAX_REFERENCE_CHARS).collect() })
    }
}

/// As much of a body as an answer needs.
async fn start_of(mut response: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body
}

#[async_trait]
impl SmsSender for HttpSmsSender {
    async fn send(&self, sms: &Sms) -> Result<Sent, SendFailure> {
        let mut pause = Duration::from_millis(self.config.retry_pause_ms);
        let mut attempt = 1;
        loop {
            match self.attempt(sms).await {
                Err(SendFailure::Unavailable(reason) | SendFailure::Deferred(reason))
                    if attempt < self.config.max_attempts =>
                {
                    tracing::debug!(attempt, reason, "calling the SMS provider again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Of a refusal only the status is kept: its body may repeat the number, and reasons end up in events and logs.
fn failure(status: StatusCode) -> SendFailure {
    let told = format!("status {}", status.as_u16());
    match status {
        // The call before it, with the same key, is still under way.
        StatusCode::CONFLICT | StatusCode::TOO_EARLY => SendFailure::Deferred(told),
        // An operator can mend the key, and it says nothing of this message.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => SendFailure::Unavailable(told),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => SendFailure::Unavailable(told),
        status if status.is_client_error() => SendFailure::Refused(told),
        _ => SendFailure::Unavailable(told),
    }
}
