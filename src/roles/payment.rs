//! From the configuration to whoever moves the money, and to whom its results are told.

use std::sync::Arc;

use processors::circuit::{CircuitBoard, CircuitConfig};
use processors::payment_result::{AllowedHosts, PublicNames, ResultSender, ResultSenderConfig};
use processors::provider::{self, GuardedProvider, HttpProvider, HttpProviderConfig, PaymentProvider};
use sqlx::PgPool;

use super::{missing, public_url};
use crate::config::Config;

/// The provider that is configured, or the sandbox that `serve` hosts, behind a circuit breaker.
pub(crate) fn provider(config: &Config, pool: &PgPool) -> anyhow::Result<Arc<dyn PaymentProvider>> {
    let base = config.payment.provider_url.clone().unwrap_or_else(|| format!("{}/sandbox", public_url(config)));
    let http = HttpProviderConfig {
        request_timeout_ms: config.payment.provider_timeout_ms,
        max_attempts: config.payment.provider_max_attempts,
        ..HttpProviderConfig::new(format!("{base}/v1/payments"), provider_api_key(config)?)
    };
    let circuit = CircuitConfig {
        failure_threshold: config.payment.circuit_failure_threshold,
        open_ms: config.payment.circuit_open_ms,
    };
    let board = CircuitBoard::new(pool.clone(), provider::DEPENDENCY);
    Ok(Arc::new(GuardedProvider::new(Arc::new(HttpProvider::new(http)?), circuit, board)))
}

/// Tells callbackUrls how their payments ended. Where nobody may be told, the secret signs nothing.
pub(super) fn result_sender(config: &Config) -> anyhow::Result<ResultSender> {
    let secret = config.payment.result_callback_secret.clone().map_or_else(|| callback_secret(config), Ok)?;
    let sender = ResultSenderConfig {
        hosts: result_callback_hosts(config)?,
        request_timeout_ms: config.payment.result_callback_timeout_ms,
        max_attempts: config.payment.result_callback_max_attempts,
        max_pause_ms: config.payment.result_callback_max_pause_ms,
        ..ResultSenderConfig::new(secret)
    };
    Ok(ResultSender::new(sender, Arc::new(PublicNames))?)
}

pub(super) fn result_callback_hosts(config: &Config) -> anyhow::Result<AllowedHosts> {
    Ok(AllowedHosts::parse(&config.payment.result_callback_hosts())?)
}

pub(super) fn callback_secret(config: &Config) -> anyhow::Result<String> {
    config.payment.callback_secret.clone().ok_or_else(|| missing("payment.callback_secret"))
}

/// The sandbox is ours, so both sides know the callback secret; a provider at a URL of its own has a key of its own.
pub(super) fn provider_api_key(config: &Config) -> anyhow::Result<String> {
    config.payment.provider_api_key.clone().map_or_else(|| callback_secret(config), Ok)
}
