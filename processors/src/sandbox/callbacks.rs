//! Settles payments and calls back until the receiver has answered.

use std::time::Duration;

use futures_util::future;
use reqwest::StatusCode;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, WebhookError};
use tokio_util::sync::CancellationToken;

use super::Sandbox;
use super::books::{self, AttemptOutcome, OwedCallback};

/// The pause before the second attempt at a callback; it doubles up to the configured longest.
const FIRST_RETRY_PAUSE_MS: u64 = 200;
/// Answers that mean "not now" though they look like a refusal.
const TRY_AGAIN: [StatusCode; 4] =
    [StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];

/// What one step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryReport {
    /// Callbacks that were answered for good.
    pub settled: usize,
    /// Callbacks to be tried again.
    pub postponed: usize,
}

/// Why a step could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("the sandbox cannot read or write its books: {0}")]
    Books(#[from] sqlx::Error),
}

#[derive(Debug, thiserror::Error)]
enum CallbackError {
    #[error("cannot write the callback: {0}")]
    Body(#[from] serde_json::Error),
    #[error("cannot sign the callback: {0}")]
    Signature(#[from] WebhookError),
    #[error("no answer: {0}")]
    NoAnswer(#[from] reqwest::Error),
}

impl Sandbox {
    /// Takes on the callbacks that are due, once.
    pub async fn step(&self) -> Result<DeliveryReport, SandboxError> {
        let config = &self.0.config;
        // An attempt is over well before its claim is, so no two processes send one callback at a time.
        let claim_ms = config.callback_timeout_ms + FIRST_RETRY_PAUSE_MS;
        let owed = books::claim_due(&self.0.pool, config.max_concurrent_callbacks, claim_ms).await?;
        let outcomes: Vec<AttemptOutcome> = future::join_all(owed.into_iter().map(|owed| self.attempt(owed))).await;
        if outcomes.is_empty() {
            return Ok(DeliveryReport::default());
        }
        books::record(&self.0.pool, &outcomes).await?;
        let postponed = outcomes.iter().filter(|outcome| outcome.retry_after_ms.is_some()).count();
        Ok(DeliveryReport { settled: outcomes.len() - postponed, postponed })
    }

    /// Steps until told to stop.
    pub async fn run(self, shutdown: CancellationToken) {
        let settle_delay = Duration::from_millis(self.0.config.settle_delay_ms);
        let poll_interval = Duration::from_millis(self.0.config.poll_interval_ms);
        while !shutdown.is_cancelled() {
            match self.step().await {
                Ok(report) if report != DeliveryReport::default() => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the sandbox provider will try again"),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = async { self.0.started.notified().await; tokio::time::sleep(settle_delay).await } => {}
                () = tokio::time::sleep(poll_interval) => {}
            }
        }
    }

    async fn attempt(&self, owed: OwedCallback) -> AttemptOutcome {
        let answer = self.call_back(&owed).await;
        let status = answer.as_ref().ok().copied();
        if let Err(error) = answer {
            tracing::debug!(%error, attempt = owed.attempt, "a payment callback was not answered");
        }
        let is_settled = status
            .is_some_and(|status| status.is_success() || (status.is_client_error() && !TRY_AGAIN.contains(&status)));
        AttemptOutcome {
            payment_id: owed.callback.payment_id,
            status: status.map(|status| status.as_u16()),
            retry_after_ms: (!is_settled).then(|| self.retry_pause_ms(owed.attempt)),
        }
    }

    async fn call_back(&self, owed: &OwedCallback) -> Result<StatusCode, CallbackError> {
        let body = serde_json::to_string(&owed.callback)?;
        let timestamp_s = chrono::Utc::now().timestamp();
        let signature = self.0.signer.sign(&owed.webhook_id, timestamp_s, body.as_bytes())?;
        let request = self
            .0
            .client
            .post(&self.0.config.callback_url)
            .header("content-type", "application/json")
            .header(HEADER_WEBHOOK_ID, &owed.webhook_id)
            .header(HEADER_WEBHOOK_TIMESTAMP, timestamp_s.to_string())
            .header(HEADER_WEBHOOK_SIGNATURE, signature)
            .body(body);
        Ok(request.send().await?.status())
    }

    fn retry_pause_ms(&self, attempt: i32) -> u64 {
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(16);
        (FIRST_RETRY_PAUSE_MS << doublings).min(self.0.config.max_retry_pause_ms)
    }
}
