use std::time::Duration;

use async_trait::async_trait;
use domain::{Money, PaymentId};
use reqwest::{RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{PaymentProvider, PaymentRequest, ProviderError, ProviderPayment, ProviderRefund, RefundRequest};

/// How much of a refusal's body is kept for whoever reads the dead letter.
const REFUSAL_EXCERPT_CHARS: usize = 200;
/// No answer of the protocol comes near this; more is not read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A provider behind HTTP: the sandbox's protocol.
pub struct HttpProvider {
    client: reqwest::Client,
    config: HttpProviderConfig,
}

/// Where the provider is and how patient to be with it.
#[derive(Clone)]
pub struct HttpProviderConfig {
    /// The collection of payments, without a trailing slash: `http://127.0.0.1:8080/sandbox/v1/payments`.
    pub payments_url: String,
    /// Sent as a bearer token.
    pub api_key: String,
    pub request_timeout_ms: u64,
    /// How often a call is made before it counts as unavailable.
    pub max_attempts: u32,
    /// The pause after the first failed attempt; each further one is twice as long.
    pub retry_pause_ms: u64,
}

impl HttpProviderConfig {
    /// The defaults for a provider at this address.
    pub fn new(payments_url: impl Into<String>, api_key: impl Into<String>) -> Self {
        Self {
            payments_url: payments_url.into(),
            api_key: api_key.into(),
            request_timeout_ms: 3_000,
            max_attempts: 3,
            retry_pause_ms: 100,
        }
    }
}

impl HttpProvider {
    /// A client for the provider. The process must have installed rustls' crypto provider.
    pub fn new(config: HttpProviderConfig) -> Result<Self, ProviderError> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_millis(config.request_timeout_ms))
            // The bearer token goes where the configuration says and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ProviderError::Unavailable(error.to_string()))?;
        Ok(Self { client, config })
    }

    async fn call<T: DeserializeOwned>(&self, request: impl Fn() -> RequestBuilder) -> Result<T, ProviderError> {
        let mut pause = Duration::from_millis(self.config.retry_pause_ms);
        let mut attempt = 1;
        loop {
            match self.attempt(request()).await {
                Err(ProviderError::Unavailable(reason)) if attempt < self.config.max_attempts => {
                    tracing::debug!(attempt, reason, "calling the payment provider again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ProviderError> {
        let unavailable = |error: reqwest::Error| ProviderError::Unavailable(error.without_url().to_string());
        let mut response = request.bearer_auth(&self.config.api_key).send().await.map_err(unavailable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(ProviderError::Unavailable("an answer beyond all bounds".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| ProviderError::Unavailable(format!("unreadable answer: {error}")));
        }
        let message: String = String::from_utf8_lossy(&body).chars().take(REFUSAL_EXCERPT_CHARS).collect();
        if status.is_server_error() || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status) {
            return Err(ProviderError::Unavailable(format!("status {status}: {message}")));
        }
        Err(ProviderError::Refused { status: status.as_u16(), message })
    }

    fn post(&self, url: &str, idempotency_key: &str, body: String) -> RequestBuilder {
        self.client
            .post(url)
            .header("content-type", "application/json")
            .header("idempotency-key", idempotency_key)
            .body(body)
    }
}

#[async_trait]
impl PaymentProvider for HttpProvider {
    async fn start(&self, payment: &PaymentRequest) -> Result<ProviderPayment, ProviderError> {
        let body = json(payment)?;
        let key = payment.payment_id.as_str();
        self.call(|| self.post(&self.config.payments_url, key, body.clone())).await
    }

    async fn query(&self, payment_id: &PaymentId) -> Result<ProviderPayment, ProviderError> {
        let url = format!("{}/{payment_id}", self.config.payments_url);
        self.call(|| self.client.get(&url)).await
    }

    async fn refund(&self, payment_id: &PaymentId, amount: Money) -> Result<ProviderRefund, ProviderError> {
        let url = format!("{}/{payment_id}/refunds", self.config.payments_url);
        let key = format!("refund-{payment_id}");
        let body = json(&RefundRequest { amount })?;
        self.call(|| self.post(&url, &key, body.clone())).await
    }
}

fn json(body: &impl Serialize) -> Result<String, ProviderError> {
    serde_json::to_string(body).map_err(|error| ProviderError::Unavailable(format!("unwritable request: {error}")))
}
