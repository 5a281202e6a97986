//! Working through the ledger for a share of the time, and leaving the rest of it to others.

use std::time::Duration;

use crate::ledger;

/// How much is done without a pause, and how much of the time somebody works, at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub max_range_events: i64,
    max_busy_percent: u32,
}

impl Pace {
    /// Without a pause.
    pub const UNBROKEN: Self = Self { max_range_events: ledger::RANGE, max_busy_percent: 100 };

    pub fn new(max_range_events: i64, max_busy_percent: u32) -> Self {
        Self { max_range_events: max_range_events.max(1), max_busy_percent: max_busy_percent.clamp(1, 100) }
    }

    /// Rests so long that working and resting are in the proportion that was asked for.
    pub async fn rest_after(self, busy: Duration) {
        tokio::time::sleep(self.rest(busy)).await;
    }

    fn rest(self, busy: Duration) -> Duration {
        busy * (100 - self.max_busy_percent) / self.max_busy_percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_three_quarters_of_the_time_rests_a_quarter() {
        assert_eq!(Pace::new(1, 75).rest(Duration::from_millis(300)), Duration::from_millis(100));
        assert_eq!(Pace::new(1, 15).rest(Duration::from_millis(15)), Duration::from_millis(85));
        assert_eq!(Pace::UNBROKEN.rest(Duration::from_millis(300)), Duration::ZERO);
    }
}
