//! New ids: a prefix, the UTC day, and digits that no other process draws.

use chrono::{DateTime, Timelike, Utc};
use domain::{LockId, OrderId, PaymentId};
use uuid::Uuid;

const RANDOM_RANGE: u128 = 1_000_000_000;

/// An id for an order placed now.
pub fn order_id(now: DateTime<Utc>) -> OrderId {
    OrderId::on(now.date_naive(), number(now))
}

/// An id for a payment started now.
pub fn payment_id(now: DateTime<Utc>) -> PaymentId {
    PaymentId::on(now.date_naive(), number(now))
}

/// An id for a lock asked for now.
pub fn lock_id(now: DateTime<Utc>) -> LockId {
    LockId::on(now.date_naive(), number(now))
}

/// The millisecond of the day, then chance. A clash would need two processes to draw the same of a thousand
/// million numbers in the same millisecond, and would be refused by the stream's version.
fn number(now: DateTime<Utc>) -> u128 {
    let millisecond = u128::from(now.num_seconds_from_midnight()) * 1_000 + u128::from(now.timestamp_subsec_millis());
    // A leading one, so that ids of one day have one length and sort by time.
    let sortable = 100_000_000 + millisecond;
    sortable * RANDOM_RANGE + Uuid::new_v4().as_u128() % RANDOM_RANGE
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_one_instant_differ_and_read_back() {
        let now: DateTime<Utc> = "2024-12-01T00:00:00.001Z".parse().unwrap();
        let ids: HashSet<OrderId> = (0..1_000).map(|_| order_id(now)).collect();
        assert_eq!(ids.len(), 1_000);
        for id in ids {
            assert!(id.as_str().starts_with("ORD20241201100000001"), "{id}");
            assert_eq!(OrderId::parse(id.as_str()).unwrap(), id);
        }
    }

    #[test]
    fn a_later_id_sorts_after_an_earlier_one_of_the_day() {
        let early: DateTime<Utc> = "2024-12-01T00:00:00Z".parse().unwrap();
        let late: DateTime<Utc> = "2024-12-01T23:59:59.999Z".parse().unwrap();
        assert!(lock_id(early).as_str() < lock_id(late).as_str());
        assert!(payment_id(early).as_str() < payment_id(late).as_str());
    }
}
