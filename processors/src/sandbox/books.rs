//! The sandbox's books in Postgres.

use chrono::{DateTime, Utc};
use domain::{Money, OrderId, PaymentId};
use sqlx::PgPool;
use sqlx::types::Decimal;
use uuid::Uuid;

use super::{DECLINE, SILENT};
use crate::provider::{
    CallbackStatus, PaymentCallback, PaymentRequest, ProviderPayment, ProviderRefund, ProviderStatus,
};

/// A callback that is owed and was claimed by this process.
pub struct OwedCallback {
    pub webhook_id: String,
    pub attempt: i32,
    pub callback: PaymentCallback,
}

/// How an attempt at a callback went.
pub struct AttemptOutcome {
    pub payment_id: PaymentId,
    /// The receiver's HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// When to try again; nothing when the callback is settled.
    pub retry_after_ms: Option<u64>,
}

/// What became of a request to refund.
pub enum RefundOutcome {
    Refunded(ProviderRefund),
    UnknownPayment,
    /// Not captured, or more than was captured, or another amount than refunded before.
    Refused,
}

/// Enters a payment, or finds it if it was entered before; `None` if that one differs.
pub async fn start(
    pool: &PgPool,
    payment: &PaymentRequest,
    settle_delay_ms: u64,
) -> Result<Option<ProviderPayment>, sqlx::Error> {
    let delay_ms = (payment.payment_method != SILENT).then_some(settle_delay_ms as f64);
    let row: Option<PaymentRow> = sqlx::query_as(include_str!("start.sql"))
        .bind(payment.payment_id.as_str())
        .bind(payment.order_id.as_str())
        .bind(payment.amount.as_decimal())
        .bind(&payment.payment_method)
        .bind(format!("sandbox-{}", Uuid::now_v7().simple()))
        .bind(format!("msg_{}", Uuid::now_v7().simple()))
        .bind(delay_ms)
        .fetch_optional(pool)
        .await?;
    row.map(PaymentRow::decode).transpose()
}

/// A payment as it stands.
pub async fn find(pool: &PgPool, payment_id: &str) -> Result<Option<ProviderPayment>, sqlx::Error> {
    let row: Option<PaymentRow> = sqlx::query_as(
        "SELECT payment_id, amount, status, provider_reference, settled_at
         FROM processing.sandbox_payment WHERE payment_id = $1",
    )
    .bind(payment_id)
    .fetch_optional(pool)
    .await?;
    row.map(PaymentRow::decode).transpose()
}

/// Refunds a payment; a repeat answers as the first time.
pub async fn refund(pool: &PgPool, payment_id: &str, amount: Money) -> Result<RefundOutcome, sqlx::Error> {
    let row: Option<(String, Decimal, String)> = sqlx::query_as(include_str!("refund.sql"))
        .bind(payment_id)
        .bind(amount.as_decimal())
        .bind(format!("sandbox-refund-{}", Uuid::now_v7().simple()))
        .fetch_optional(pool)
        .await?;
    match row {
        Some((payment_id, amount, provider_reference)) => Ok(RefundOutcome::Refunded(ProviderRefund {
            payment_id: decoded(PaymentId::parse(&payment_id))?,
            amount: decoded(Money::try_from(amount))?,
            provider_reference,
        })),
        None if find(pool, payment_id).await?.is_some() => Ok(RefundOutcome::Refused),
        None => Ok(RefundOutcome::UnknownPayment),
    }
}

/// Claims callbacks that are due, settling payments on the way. The claim expires, so that what a killed
/// process had claimed is taken up by the next.
pub async fn claim_due(pool: &PgPool, limit: u32, claim_ms: u64) -> Result<Vec<OwedCallback>, sqlx::Error> {
    let rows: Vec<OwedRow> = sqlx::query_as(include_str!("claim_due.sql"))
        .bind(i64::from(limit))
        .bind(claim_ms as f64)
        .bind(DECLINE)
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(OwedRow::decode).collect()
}

/// Writes down how a batch of attempts went.
pub async fn record(pool: &PgPool, outcomes: &[AttemptOutcome]) -> Result<(), sqlx::Error> {
    let payment_ids: Vec<&str> = outcomes.iter().map(|outcome| outcome.payment_id.as_str()).collect();
    let statuses: Vec<Option<i32>> = outcomes.iter().map(|outcome| outcome.status.map(i32::from)).collect();
    let retries: Vec<Option<f64>> = outcomes.iter().map(|o| o.retry_after_ms.map(|pause_ms| pause_ms as f64)).collect();
    sqlx::query(include_str!("record.sql")).bind(payment_ids).bind(statuses).bind(retries).execute(pool).await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct PaymentRow {
    payment_id: String,
    amount: Decimal,
    status: String,
    provider_reference: String,
    settled_at: Option<DateTime<Utc>>,
}

impl PaymentRow {
    fn decode(self) -> Result<ProviderPayment, sqlx::Error> {
        let status = match self.status.as_str() {
            "SUCCEEDED" => ProviderStatus::Succeeded,
            "FAILED" => ProviderStatus::Failed,
            _ => ProviderStatus::Pending,
        };
        Ok(ProviderPayment {
            payment_id: decoded(PaymentId::parse(&self.payment_id))?,
            status,
            provider_reference: self.provider_reference,
            amount: Some(decoded(Money::try_from(self.amount))?),
            paid_time: self.settled_at.map(|settled_at| settled_at.timestamp_millis()),
        })
    }
}

#[derive(sqlx::FromRow)]
struct OwedRow {
    payment_id: String,
    order_id: String,
    amount: Decimal,
    status: String,
    provider_reference: String,
    webhook_id: String,
    settled_at: DateTime<Utc>,
    callback_attempts: i32,
}

impl OwedRow {
    fn decode(self) -> Result<OwedCallback, sqlx::Error> {
        let status = match self.status.as_str() {
            "SUCCEEDED" => CallbackStatus::Succeeded,
            _ => CallbackStatus::Failed,
        };
        let callback = PaymentCallback {
            payment_id: decoded(PaymentId::parse(&self.payment_id))?,
            order_id: decoded(OrderId::parse(&self.order_id))?,
            status,
            amount: decoded(Money::try_from(self.amount))?,
            provider_reference: self.provider_reference,
            paid_time: self.settled_at.timestamp_millis(),
        };
        Ok(OwedCallback { webhook_id: self.webhook_id, attempt: self.callback_attempts, callback })
    }
}

fn decoded<T, E: std::error::Error + Send + Sync + 'static>(result: Result<T, E>) -> Result<T, sqlx::Error> {
    result.map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
