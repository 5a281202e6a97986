//! The keys of deadlines that concern a payment.

use std::fmt;
use std::str::FromStr;

use domain::{OrderId, PaymentId};

use crate::deadlines::BadDeadlineKey;
use crate::provider::CallbackStatus;

/// Which payment a deadline is about. As text, `<orderId>/<paymentId>`, it is the deadline's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentKey {
    pub order_id: OrderId,
    pub payment_id: PaymentId,
}

/// Which outcome of a payment is to be told: `<orderId>/<paymentId>/<status>`. A payment that fails and is captured after
/// all has two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentResultKey {
    pub payment: PaymentKey,
    pub status: CallbackStatus,
}

impl fmt::Display for PaymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.order_id, self.payment_id)
    }
}

impl FromStr for PaymentKey {
    type Err = BadDeadlineKey;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        let (order_id, payment_id) = key.split_once('/').ok_or_else(|| BadDeadlineKey::new(key))?;
        Ok(Self {
            order_id: OrderId::parse(order_id).map_err(|_| BadDeadlineKey::new(key))?,
            payment_id: PaymentId::parse(payment_id).map_err(|_| BadDeadlineKey::new(key))?,
        })
    }
}

impl fmt::Display for PaymentResultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.payment, self.status.as_str())
    }
}

impl FromStr for PaymentResultKey {
    type Err = BadDeadlineKey;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        let (payment, status) = key.rsplit_once('/').ok_or_else(|| BadDeadlineKey::new(key))?;
        let status = [CallbackStatus::Succeeded, CallbackStatus::Failed]
            .into_iter()
            .find(|known| known.as_str() == status)
            .ok_or_else(|| BadDeadlineKey::new(key))?;
        Ok(Self { payment: payment.parse().map_err(|_| BadDeadlineKey::new(key))?, status })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn keys_read_back_and_anything_else_is_refused() {
        let payment = "ORD202312250001/PAY202312250001";
        assert_eq!(payment.parse::<PaymentKey>().unwrap().to_string(), payment);
        for result in ["ORD202312250001/PAY202312250001/SUCCEEDED", "ORD202312250001/PAY202312250001/FAILED"] {
            assert_eq!(result.parse::<PaymentResultKey>().unwrap().to_string(), result);
        }
        for bad in ["", "ORD202312250001", "PAY202312250001/ORD202312250001", "a/b/FAILED"] {
            assert!(bad.parse::<PaymentKey>().is_err(), "{bad}");
            assert!(bad.parse::<PaymentResultKey>().is_err(), "{bad}");
        }
        assert!("ORD202312250001/PAY202312250001/PENDING".parse::<PaymentResultKey>().is_err());
    }
}
