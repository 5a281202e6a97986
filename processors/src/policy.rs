use chrono::{DateTime, DurationRound, TimeDelta, Utc};

/// The times and switches of the business that the use cases follow.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How long an order lives unpaid (`order.expire_after_seconds`).
    pub order_expire_after_seconds: u32,
    /// How long a lock holds stock, from when it is granted or renewed (`stock.lock_time_seconds`).
    pub lock_time_seconds: u32,
    /// A payment that starts with less than this left of its lock renews it (`payment.expected_seconds`).
    pub payment_expected_seconds: u32,
    /// How long the provider may be silent before it is asked (`payment.query_after_seconds`).
    pub payment_query_after_seconds: u32,
    /// How long a payment may stay without an outcome before it is given up (`payment.give_up_after_seconds`).
    pub payment_give_up_after_seconds: u32,
    /// Whether a confirmed order may be cancelled, with refund and return (`order.cancel_confirmed`).
    pub cancel_confirmed: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            order_expire_after_seconds: 900,
            lock_time_seconds: 300,
            payment_expected_seconds: 60,
            payment_query_after_seconds: 30,
            payment_give_up_after_seconds: 600,
            cancel_confirmed: false,
        }
    }
}

impl Policy {
    /// When an order placed now expires.
    pub fn order_expires_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        whole_milliseconds(now) + TimeDelta::seconds(i64::from(self.order_expire_after_seconds))
    }

    /// When a lock granted or renewed now lapses.
    pub fn lock_expires_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        whole_milliseconds(now) + TimeDelta::seconds(i64::from(self.lock_time_seconds))
    }

    /// When the provider of a payment that starts now is asked for it, unless it has called back.
    pub fn payment_queried_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + TimeDelta::seconds(i64::from(self.payment_query_after_seconds))
    }

    /// Whether a payment that starts now should not rely on what is left of its lock.
    pub fn should_renew(&self, lock_expires_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        lock_expires_at - now < TimeDelta::seconds(i64::from(self.payment_expected_seconds))
    }
}

/// When a lock that a message gives this many seconds lapses; `None` for a time that is none.
pub(crate) fn lock_expires_at(now: DateTime<Utc>, lock_time_seconds: i64) -> Option<DateTime<Utc>> {
    let lock_time = TimeDelta::try_seconds(lock_time_seconds).filter(|lock_time| *lock_time > TimeDelta::zero())?;
    whole_milliseconds(now).checked_add_signed(lock_time)
}

/// What messages carry, and what a trip through Postgres leaves as it is: a lock's deadline must equal the time in
/// its event exactly.
pub(crate) fn whole_milliseconds(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_trunc(TimeDelta::milliseconds(1)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_renewed_only_when_less_is_left_than_a_payment_takes() {
        let policy = Policy::default();
        let now = Utc::now();
        assert!(policy.should_renew(now + TimeDelta::seconds(59), now));
        assert!(!policy.should_renew(now + TimeDelta::seconds(60), now));
    }

    #[test]
    fn times_are_whole_milliseconds() {
        let expires_at = Policy::default().lock_expires_at(Utc::now());
        assert_eq!(expires_at.timestamp_subsec_nanos() % 1_000_000, 0);
    }
}
