//! A token bucket per user.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use domain::UserId;

/// How often one user may call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// What a user may do for ever.
    pub requests_per_second: u32,
    /// What they may do at once after a pause.
    pub burst_requests: u32,
}

/// The buckets of the users seen lately.
pub(crate) struct RateLimiter {
    limit: RateLimit,
    buckets: Mutex<HashMap<UserId, Bucket>>,
}

struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

/// Past this many users the full buckets, which say nothing, are forgotten.
const MAX_BUCKETS: usize = 100_000;

impl RateLimiter {
    pub fn new(limit: RateLimit) -> Self {
        Self { limit, buckets: Mutex::default() }
    }

    /// Takes one token, or says after how many seconds there will be one.
    pub fn admit(&self, user: UserId) -> Result<(), u32> {
        self.admit_at(user, Instant::now())
    }

    fn admit_at(&self, user: UserId, now: Instant) -> Result<(), u32> {
        // A panic elsewhere can't leave a bucket half written: each is two plain numbers.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&user) {
            buckets.retain(|_, bucket| self.refilled(bucket, now) < self.burst());
            if buckets.len() >= MAX_BUCKETS {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(user).or_insert(Bucket { tokens: self.burst(), filled_at: now });
        bucket.tokens = self.refilled(bucket, now);
        bucket.filled_at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let seconds = (1.0 - bucket.tokens) / f64::from(self.limit.requests_per_second.max(1));
        Err(seconds.ceil().max(1.0) as u32)
    }

    fn refilled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let elapsed_seconds = now.saturating_duration_since(bucket.filled_at).as_secs_f64();
        let gained = elapsed_seconds * f64::from(self.limit.requests_per_second);
        (bucket.tokens + gained).min(self.burst())
    }

    fn burst(&self) -> f64 {
        f64::from(self.limit.burst_requests.max(1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_admitted_then_the_rate_and_each_user_has_a_bucket_of_their_own() {
        let limiter = RateLimiter::new(RateLimit { requests_per_second: 2, burst_requests: 3 });
        let (one, two) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.admit_at(one, start), Ok(()));
        }
        assert_eq!(limiter.admit_at(one, start), Err(1));
        assert_eq!(limiter.admit_at(two, start), Ok(()));
        assert_eq!(limiter.admit_at(one, start + Duration::from_millis(500)), Ok(()));
        assert_eq!(limiter.admit_at(one, start + Duration::from_millis(500)), Err(1));
    }
}
