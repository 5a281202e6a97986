//! What an order may be, how long it and its tickets' lock live, and when its saga counts as stuck.

use serde::{Deserialize, Serialize};

use super::bounds::{TEN_YEARS_SECONDS, positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderConfig {
    pub expire_after_seconds: u64,
    pub max_quantity: u32,
    /// Whether a confirmed order may be cancelled: refund, and the stock goes back on sale.
    pub cancel_confirmed: bool,
}

impl Default for OrderConfig {
    fn default() -> Self {
        Self { expire_after_seconds: 900, max_quantity: 10, cancel_confirmed: false }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StockConfig {
    pub lock_time_seconds: u64,
}

impl Default for StockConfig {
    fn default() -> Self {
        Self { lock_time_seconds: 300 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SagaSection {
    /// Without a step for so long, a saga counts as stuck, unless it waits for a payment whose time is not over.
    pub stuck_after_seconds: u64,
    /// How often stuck sagas are looked for.
    pub watch_interval_ms: u64,
    /// Refusals of a refund before a person must decide.
    pub max_compensation_attempts: u32,
    /// The pause after the first refusal; doubled after each further one, up to a minute.
    pub compensation_retry_ms: u32,
}

impl Default for SagaSection {
    fn default() -> Self {
        Self {
            stuck_after_seconds: 120,
            watch_interval_ms: 5_000,
            max_compensation_attempts: 5,
            compensation_retry_ms: 2_000,
        }
    }
}

impl OrderConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        positive(1_000, &[("order.max_quantity", self.max_quantity.into())])?;
        positive(TEN_YEARS_SECONDS, &[("order.expire_after_seconds", self.expire_after_seconds)])
    }
}

impl StockConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        positive(TEN_YEARS_SECONDS, &[("stock.lock_time_seconds", self.lock_time_seconds)])
    }
}

impl SagaSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        positive(TEN_YEARS_SECONDS, &[("saga.stuck_after_seconds", self.stuck_after_seconds)])?;
        positive(
            3_600_000,
            &[
                ("saga.watch_interval_ms", self.watch_interval_ms),
                ("saga.max_compensation_attempts", self.max_compensation_attempts.into()),
                ("saga.compensation_retry_ms", self.compensation_retry_ms.into()),
            ],
        )
    }
}
