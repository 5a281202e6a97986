//! When to try the broker, and when to leave it alone.

use std::time::{Duration, Instant};

use rand::Rng;
use serde::Serialize;

/// Whether the broker takes messages, as far as the relay knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// It does.
    Closed,
    /// It can be reached again, and the next message will tell.
    HalfOpen,
    /// It does not.
    Open,
}

impl CircuitState {
    /// The name it has in JSON and in `relay.circuit`.
    pub const fn as_str(self) -> &'static str {
        match self {
            CircuitState::Closed => "closed",
            CircuitState::HalfOpen => "half_open",
            CircuitState::Open => "open",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<CircuitState> {
        [CircuitState::Closed, CircuitState::HalfOpen, CircuitState::Open]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// Waits that double up to a bound, each with half of it left to chance, so that many who failed together do not come
/// back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(min_ms: u64, max_ms: u64) -> Backoff {
        Backoff { min: Duration::from_millis(min_ms), max: Duration::from_millis(max_ms), failures: 0 }
    }

    pub(crate) fn next_wait(&mut self) -> Duration {
        let doubled = self.min.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.max).mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    pub(crate) fn next_try(&mut self) -> Instant {
        Instant::now() + self.next_wait()
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_start_again() {
        let mut backoff = Backoff::new(100, 1_000);
        let waits: Vec<Duration> = (0..40).map(|_| backoff.next_wait()).collect();
        assert!(waits[0] <= Duration::from_millis(100));
        assert!(waits.iter().all(|wait| *wait >= Duration::from_millis(50)));
        assert!(waits[10..].iter().all(|wait| (500..=1_000).contains(&(wait.as_millis() as u64))));
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(100));
    }
}
