use chrono::{DateTime, Utc};

use crate::ids::{OrderId, PaymentId, UserId};
use crate::money::Money;

/// What can be asked of a payment.
#[derive(Clone, Debug, PartialEq)]
pub enum PaymentCommand {
    Request {
        payment_id: PaymentId,
        order_id: OrderId,
        user_id: UserId,
        payment_method: String,
        amount: Money,
        callback_url: Option<String>,
    },
    /// The provider took the money, perhaps after saying that it failed.
    Capture {
        amount: Money,
        provider_reference: String,
        paid_time: DateTime<Utc>,
    },
    /// The provider did not take the money. Does nothing after a capture.
    Fail {
        reason: String,
    },
    StartRefund {
        reason: String,
    },
    CompleteRefund {
        provider_reference: String,
    },
}
