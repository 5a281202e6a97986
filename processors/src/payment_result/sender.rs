use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, describe_counter};
use reqwest::dns::Resolve;
use reqwest::redirect::Policy as Redirects;
use reqwest::{Certificate, StatusCode, Url};
use sqlx::PgPool;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook, WebhookError};

use super::address::AllowedHosts;
use super::record::{self, State};
use crate::provider::PaymentCallback;

/// The pause before the second attempt; it doubles up to the configured longest.
const FIRST_PAUSE_MS: u64 = 1_000;
/// How much of an error is kept for operators.
const ERROR_CHARS: usize = 300;

/// How results are told.
#[derive(Clone)]
pub struct ResultSenderConfig {
    /// The `whsec_…` secret that signs them (`payment.result_callback_secret`).
    pub secret: String,
    /// Who may be told (`payment.result_callback_hosts`).
    pub hosts: AllowedHosts,
    /// How long one attempt may take, from the name to the answer (`payment.result_callback_timeout_ms`).
    pub request_timeout_ms: u64,
    /// So many attempts without a good answer, and the result is given up (`payment.result_callback_max_attempts`).
    pub max_attempts: u32,
    /// The longest pause between two attempts (`payment.result_callback_max_pause_ms`).
    pub max_pause_ms: u64,
    /// Certificates that are trusted beside the system's.
    pub trusted_roots: Vec<Certificate>,
}

impl ResultSenderConfig {
    /// The defaults: nobody may be told.
    pub fn new(secret: impl Into<String>) -> Self {
        Self {
            secret: secret.into(),
            hosts: AllowedHosts::default(),
            request_timeout_ms: 5_000,
            max_attempts: 12,
            max_pause_ms: 600_000,
            trusted_roots: Vec::new(),
        }
    }
}

/// A configuration that results cannot be sent with.
#[derive(Debug, thiserror::Error)]
pub enum ResultConfigError {
    #[error("the secret for payment results is not a whsec_ secret: {0}")]
    Secret(#[from] WebhookError),
    #[error("cannot set up an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Why nothing could be told just now.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    #[error("the record of told results cannot be read or written: {0}")]
    Record(#[from] sqlx::Error),
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Delivered,
    /// It was tried often enough, or may not be tried.
    GivenUp,
    /// To be tried again after this pause.
    Later(Duration),
}

/// Sends results; clones share it.
#[derive(Clone)]
pub struct ResultSender(Arc<Inner>);

struct Inner {
    config: ResultSenderConfig,
    signer: Webhook,
    client: reqwest::Client,
}

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("the result cannot be written: {0}")]
    Body(#[from] serde_json::Error),
    #[error("the result cannot be signed: {0}")]
    Signature(#[from] WebhookError),
    #[error("{}", causes(.0))]
    NoAnswer(#[from] reqwest::Error),
    #[error("answered with status {0}")]
    Status(StatusCode),
}

impl ResultSender {
    /// A sender whose names are resolved by `names`: [`PublicNames`](super::PublicNames), but for tests. The process must
    /// have installed rustls' crypto provider.
    pub fn new(config: ResultSenderConfig, names: Arc<dyn Resolve>) -> Result<Self, ResultConfigError> {
        let signer = Webhook::new(&config.secret)?;
        let client = reqwest::Client::builder()
            .timeout(Duration::from_millis(config.request_timeout_ms))
            .https_only(true)
            .redirect(Redirects::none())
            // A proxy would resolve the name anew.
            .no_proxy()
            .dns_resolver(names)
            .tls_certs_merge(config.trusted_roots.clone())
            .build()?;
        Ok(Self(Arc::new(Inner { config, signer, client })))
    }

    /// Tries once to tell a result to this address. The id it goes under is the same each time.
    pub async fn tell(&self, pool: &PgPool, address: &str, result: &PaymentCallback) -> Result<Told, ResultError> {
        let webhook_id = format!("result_{}_{}", result.payment_id, result.status.as_str());
        // What was allowed when the payment was started may not be any more.
        let url = match self.0.config.hosts.check(address) {
            Ok(url) => url,
            Err(refused) => {
                record::begin(pool, &webhook_id, "", result).await?;
                return self.give_up(pool, &webhook_id, &refused.to_string()).await;
            }
        };
        let attempt = record::begin(pool, &webhook_id, url.host_str().unwrap_or_default(), result).await?;
        match self.send(&url, &webhook_id, result).await {
            Ok(()) => {
                record::end(pool, &webhook_id, State::Delivered, None).await?;
                count("delivered");
                Ok(Told::Delivered)
            }
            Err(error) => {
                let is_last = attempt >= self.0.config.max_attempts;
                let reason: String = error.to_string().chars().take(ERROR_CHARS).collect();
                if is_last || matches!(error, AttemptError::Status(StatusCode::GONE)) {
                    return self.give_up(pool, &webhook_id, &reason).await;
                }
                record::end(pool, &webhook_id, State::Trying, Some(&reason)).await?;
                count("retried");
                Ok(Told::Later(self.pause_after(attempt)))
            }
        }
    }

    /// The body of an answer is nobody's concern, so none is read, however long it is.
    async fn send(&self, url: &Url, webhook_id: &str, result: &PaymentCallback) -> Result<(), AttemptError> {
        let body = serde_json::to_string(result)?;
        let timestamp_s = chrono::Utc::now().timestamp();
        let signature = self.0.signer.sign(webhook_id, timestamp_s, body.as_bytes())?;
        let request = self
            .0
            .client
            .post(url.clone())
            .header("content-type", "application/json")
            .header(HEADER_WEBHOOK_ID, webhook_id)
            .header(HEADER_WEBHOOK_TIMESTAMP, timestamp_s.to_string())
            .header(HEADER_WEBHOOK_SIGNATURE, signature)
            .body(body);
        let status = request.send().await.map_err(reqwest::Error::without_url)?.status();
        if status.is_success() { Ok(()) } else { Err(AttemptError::Status(status)) }
    }

    async fn give_up(&self, pool: &PgPool, webhook_id: &str, reason: &str) -> Result<Told, ResultError> {
        record::end(pool, webhook_id, State::GivenUp, Some(reason)).await?;
        count("given_up");
        tracing::warn!(webhook_id, reason, "the result of a payment could not be told");
        Ok(Told::GivenUp)
    }

    fn pause_after(&self, attempt: u32) -> Duration {
        let doubled_ms = FIRST_PAUSE_MS << attempt.saturating_sub(1).min(20);
        Duration::from_millis(doubled_ms.min(self.0.config.max_pause_ms))
    }
}

/// What an HTTP client says, with what was behind it: "error sending request" helps nobody.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

const RESULTS: &str = "ledger_payment_results_total";
const OUTCOMES: [&str; 3] = ["delivered", "retried", "given_up"];

/// Puts the counters there at 0, so that an alert can be written on them.
pub fn register_metrics() {
    describe_counter!(RESULTS, "Attempts to tell a callbackUrl how its payment ended, by what came of them");
    for outcome in OUTCOMES {
        counter!(RESULTS, "outcome" => outcome).absolute(0);
    }
}

fn count(outcome: &'static str) {
    counter!(RESULTS, "outcome" => outcome).increment(1);
}
