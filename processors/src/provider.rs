//! The port to whoever moves the money.

mod guarded;
mod http;

use async_trait::async_trait;
use domain::payment::RequestedPayment;
use domain::{Money, OrderId, PaymentId};
use serde::{Deserialize, Serialize};

pub use guarded::GuardedProvider;
pub use http::{HttpProvider, HttpProviderConfig};

/// The provider's name among the dependencies whose circuits are watched.
pub const DEPENDENCY: &str = "payment_provider";

/// A payment provider. Every call may be repeated: the payment's id is the idempotency key.
#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// Asks for the money; the outcome comes later, as a signed callback.
    async fn start(&self, payment: &PaymentRequest) -> Result<ProviderPayment, ProviderError>;
    /// How the provider sees a payment.
    async fn query(&self, payment_id: &PaymentId) -> Result<ProviderPayment, ProviderError>;
    /// Gives captured money back.
    async fn refund(&self, payment_id: &PaymentId, amount: Money) -> Result<ProviderRefund, ProviderError>;
}

/// What the provider is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PaymentRequest {
    pub payment_id: PaymentId,
    pub order_id: OrderId,
    pub amount: Money,
    pub payment_method: String,
}

impl PaymentRequest {
    /// What is asked for a payment that was requested.
    pub fn of(payment: &RequestedPayment) -> Self {
        Self {
            payment_id: payment.payment_id.clone(),
            order_id: payment.order_id.clone(),
            amount: payment.amount,
            payment_method: payment.payment_method.clone(),
        }
    }
}

/// A payment as the provider tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderPayment {
    pub payment_id: PaymentId,
    pub status: ProviderStatus,
    pub provider_reference: String,
    /// What was taken, where the provider says so: it must be what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// When it was settled, where the provider says so. Epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_time: Option<i64>,
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

impl CallbackStatus {
    /// The status as callbacks and SQL spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }
}

/// Why the provider did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No answer, or one that says "later": worth repeating.
    #[error("the payment provider is unavailable: {0}")]
    Unavailable(String),
    /// It was not asked, because it has not answered others for a while: worth repeating later.
    #[error("the payment provider is left alone, because it does not answer")]
    CircuitOpen,
    /// A definite no: repeating the same call changes nothing.
    #[error("the payment provider refused with status {status}: {message}")]
    Refused { status: u16, message: String },
}
