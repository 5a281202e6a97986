//! The sandbox payment provider: a stand-in for a company outside, spoken to over real HTTP.
//!
//! Its books are a table of its own; every callback it owes is a row there until the receiver has answered,
//! so a `kill -9` of its process delays callbacks and loses none.

mod books;
mod callbacks;
mod http;

use std::sync::Arc;

use sqlx::PgPool;
use standardwebhooks::{Webhook, WebhookError};
use tokio::sync::Notify;

pub use callbacks::{DeliveryReport, SandboxError};
pub use http::router;

/// A payment method whose payments fail.
pub const DECLINE: &str = "SANDBOX_DECLINE";
/// A payment method whose payments never call back.
pub const SILENT: &str = "SANDBOX_SILENT";

/// How the sandbox behaves.
#[derive(Clone)]
pub struct SandboxConfig {
    /// Where outcomes are posted: `http://127.0.0.1:8080/v1/payments/callback`.
    pub callback_url: String,
    /// The `whsec_…` secret that signs them.
    pub callback_secret: String,
    /// The bearer token that callers must show: without it anyone could have payments "succeed".
    pub api_key: String,
    /// How long a payment takes to settle (`payment.sandbox.delay_ms`).
    pub settle_delay_ms: u64,
    pub callback_timeout_ms: u64,
    /// The longest pause between two attempts at one callback.
    pub max_retry_pause_ms: u64,
    /// How many callbacks one step takes on, all at the same time.
    pub max_concurrent_callbacks: u32,
    /// How often the books are looked through when nothing wakes the loop.
    pub poll_interval_ms: u64,
}

impl SandboxConfig {
    /// The defaults, with the three values that have none.
    pub fn new(
        callback_url: impl Into<String>,
        callback_secret: impl Into<String>,
        api_key: impl Into<String>,
    ) -> Self {
        Self {
            callback_url: callback_url.into(),
            callback_secret: callback_secret.into(),
            api_key: api_key.into(),
            settle_delay_ms: 50,
            callback_timeout_ms: 5_000,
            max_retry_pause_ms: 5_000,
            max_concurrent_callbacks: 64,
            poll_interval_ms: 250,
        }
    }
}

/// The provider; clones share it.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    pool: PgPool,
    config: SandboxConfig,
    signer: Webhook,
    client: reqwest::Client,
    started: Notify,
}

impl Sandbox {
    /// The provider on its books in this database. The process must have installed rustls' crypto provider.
    pub fn new(pool: PgPool, config: SandboxConfig) -> Result<Self, SandboxConfigError> {
        let signer = Webhook::new(&config.callback_secret)?;
        let client =
            reqwest::Client::builder().timeout(std::time::Duration::from_millis(config.callback_timeout_ms)).build()?;
        Ok(Self(Arc::new(Inner { pool, config, signer, client, started: Notify::new() })))
    }
}

/// A configuration that the sandbox cannot start with.
#[derive(Debug, thiserror::Error)]
pub enum SandboxConfigError {
    #[error("the callback secret is not a whsec_ secret: {0}")]
    Secret(#[from] WebhookError),
    #[error("cannot set up an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}
