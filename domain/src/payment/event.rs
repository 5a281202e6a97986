use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{OrderId, PaymentId, UserId};
use crate::money::Money;

/// What happened to a payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum PaymentEvent {
    PaymentRequested {
        payment_id: PaymentId,
        order_id: OrderId,
        user_id: UserId,
        payment_method: String,
        amount: Money,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        callback_url: Option<String>,
    },
    PaymentCaptured {
        amount: Money,
        provider_reference: String,
        paid_time: DateTime<Utc>,
    },
    PaymentFailed {
        reason: String,
    },
    RefundStarted {
        amount: Money,
        reason: String,
    },
    RefundCompleted {
        amount: Money,
        provider_reference: String,
    },
}

events!(PaymentEvent {
    PaymentRequested: 1,
    PaymentCaptured: 1,
    PaymentFailed: 1,
    RefundStarted: 1,
    RefundCompleted: 1,
});
