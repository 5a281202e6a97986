//! The port to whoever moves the money.

mod http;

use async_trait::async_trait;
use domain::{Money, OrderId, PaymentId};
use serde::{Deserialize, Serialize};

pub use http::{HttpProvider, HttpProviderConfig};

/// A payment provider. Every call may be repeated: the payment's id is the idempotency key.
#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// Asks for the money; the outcome comes later, as a signed callback.
    async fn start(&self, payment: &StartPayment) -> Result<ProviderPayment, ProviderError>;
    /// How the provider sees a payment.
    async fn query(&self, payment_id: &PaymentId) -> Result<ProviderPayment, ProviderError>;
    /// Gives captured money back.
    async fn refund(&self, payment_id: &PaymentId, amount: Money) -> Result<ProviderRefund, ProviderError>;
}

/// What the provider is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartPayment {
    pub payment_id: PaymentId,
    pub order_id: OrderId,
    pub amount: Money,
    pub payment_method: String,
}

/// A payment as the provider tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderPayment {
    pub payment_id: PaymentId,
    pub status: ProviderStatus,
    pub provider_reference: String,
}

/// Where a payment is, in the provider's books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProviderStatus {
    Pending,
    Succeeded,
    Failed,
}

/// What is asked back of a captured payment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefundRequest {
    pub amount: Money,
}

/// A refund that the provider made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderRefund {
    pub payment_id: PaymentId,
    pub amount: Money,
    pub provider_reference: String,
}

/// The body of the provider's callback, `POST /v1/payments/callback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentCallback {
    pub payment_id: PaymentId,
    pub order_id: OrderId,
    pub status: CallbackStatus,
    pub amount: Money,
    pub provider_reference: String,
    /// Epoch milliseconds, as messages have it.
    pub paid_time: i64,
}

/// How a payment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CallbackStatus {
    Succeeded,
    Failed,
}

/// Why the provider did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No answer, or one that says "later": worth repeating.
    #[error("the payment provider is unavailable: {0}")]
    Unavailable(String),
    /// A definite no: repeating the same call changes nothing.
    #[error("the payment provider refused with status {status}: {message}")]
    Refused { status: u16, message: String },
}
