//! Paying: the provider, how patient we are with it, and who is told the result.

use processors::payment_result::AllowedHosts;
use serde::{Deserialize, Serialize};

use super::bounds::{TEN_YEARS_SECONDS, invalid, positive};
use super::secrets::mask_secret;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaymentConfig {
    /// How long paying usually takes: a lock with less than this left is renewed before it starts.
    pub expected_seconds: u64,
    /// `whsec_…`, shared with the provider. Needed by `serve` and `process`.
    pub callback_secret: Option<String>,
    /// Base URL of the provider; none: the sandbox that `serve` hosts.
    pub provider_url: Option<String>,
    /// Shown to the provider as a bearer token. Needed with `provider_url`.
    pub provider_api_key: Option<String>,
    pub provider_timeout_ms: u64,
    /// How long the payment of a sync order is waited for in its request.
    pub sync_wait_ms: u64,
    /// Such payments waited for at once, and no more than half of http.max_concurrent_requests; further ones are answered 202.
    pub max_sync_waits: usize,
    /// How often a call to the provider is made before it counts as failed.
    pub provider_max_attempts: u32,
    /// So many failed calls in a row, and the provider is left alone.
    pub circuit_failure_threshold: u32,
    /// For so long; paying is answered 503 meanwhile.
    pub circuit_open_ms: u64,
    /// How long the provider may be silent about a payment before it is asked.
    pub query_after_seconds: u64,
    /// How long a payment may stay without an outcome before it has failed.
    pub give_up_after_seconds: u64,
    /// Who may be told how a payment ended: hosts that a `callbackUrl` may name, comma separated; none: nobody.
    pub result_callback_hosts: Option<String>,
    /// `whsec_…`, signs what they are told. Needed with `result_callback_hosts`.
    pub result_callback_secret: Option<String>,
    pub result_callback_timeout_ms: u64,
    /// So many attempts without a good answer, and a result is given up.
    pub result_callback_max_attempts: u32,
    /// The longest pause between two of them.
    pub result_callback_max_pause_ms: u64,
    pub sandbox: SandboxConfig,
}

impl Default for PaymentConfig {
    fn default() -> Self {
        Self {
            expected_seconds: 60,
            callback_secret: None,
            provider_url: None,
            provider_api_key: None,
            provider_timeout_ms: 5_000,
            sync_wait_ms: 5_000,
            max_sync_waits: 512,
            provider_max_attempts: 3,
            circuit_failure_threshold: 5,
            circuit_open_ms: 10_000,
            query_after_seconds: 30,
            give_up_after_seconds: 600,
            result_callback_hosts: None,
            result_callback_secret: None,
            result_callback_timeout_ms: 5_000,
            result_callback_max_attempts: 12,
            result_callback_max_pause_ms: 600_000,
            sandbox: SandboxConfig::default(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxConfig {
    pub delay_ms: u64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self { delay_ms: 50 }
    }
}

impl PaymentConfig {
    /// The hosts that may be told results.
    pub fn result_callback_hosts(&self) -> Vec<&str> {
        let hosts = self.result_callback_hosts.as_deref().unwrap_or_default();
        hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).collect()
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        positive(
            u64::from(u32::MAX),
            &[
                ("payment.provider_timeout_ms", self.provider_timeout_ms),
                ("payment.provider_max_attempts", self.provider_max_attempts.into()),
                ("payment.circuit_failure_threshold", self.circuit_failure_threshold.into()),
                ("payment.query_after_seconds", self.query_after_seconds),
                ("payment.result_callback_timeout_ms", self.result_callback_timeout_ms),
                ("payment.result_callback_max_attempts", self.result_callback_max_attempts.into()),
            ],
        )?;
        if self.give_up_after_seconds < self.query_after_seconds {
            return Err(invalid("payment.give_up_after_seconds", "must not be below query_after_seconds"));
        }
        positive(TEN_YEARS_SECONDS, &[("payment.give_up_after_seconds", self.give_up_after_seconds)])?;
        // An hour, and a day.
        positive(3_600_000, &[("payment.circuit_open_ms", self.circuit_open_ms)])?;
        positive(86_400_000, &[("payment.result_callback_max_pause_ms", self.result_callback_max_pause_ms)])?;
        if let Err(error) = AllowedHosts::parse(&self.result_callback_hosts()) {
            return Err(invalid("payment.result_callback_hosts", &error.to_string()));
        }
        self.validate_secrets()
    }

    /// Whoever has the callback secret can say that a payment succeeded, so it is shared with the provider alone, and never
    /// travels.
    fn validate_secrets(&self) -> Result<(), String> {
        for (key, secret) in [
            ("payment.callback_secret", &self.callback_secret),
            ("payment.result_callback_secret", &self.result_callback_secret),
        ] {
            if secret.as_ref().is_some_and(|secret| !secret.starts_with("whsec_")) {
                return Err(invalid(key, "must start with whsec_"));
            }
        }
        let tells_own_secret =
            self.result_callback_secret.is_none() || self.result_callback_secret == self.callback_secret;
        if !self.result_callback_hosts().is_empty() && tells_own_secret {
            let why = "must be set where payment.result_callback_hosts is, and differ from payment.callback_secret";
            return Err(invalid("payment.result_callback_secret", why));
        }
        if self.provider_url.is_some() && self.provider_api_key.is_none() {
            return Err(invalid("payment.provider_api_key", "must be set where payment.provider_url is"));
        }
        Ok(())
    }

    pub(super) fn mask(&mut self) {
        mask_secret(&mut self.callback_secret);
        mask_secret(&mut self.provider_api_key);
        mask_secret(&mut self.result_callback_secret);
    }
}
