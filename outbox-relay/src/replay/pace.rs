//! How fast a replay may go.

use std::time::Duration;

use tokio::time::Instant;

/// At a low rate a step is a fifth of a second's messages, so that a kill repeats few and progress is seen.
const STEPS_PER_SECOND: usize = 5;

/// Keeps a replay to its rate, step by step.
#[derive(Debug)]
pub(super) struct Pace {
    messages_per_second: Option<u32>,
    /// When the next step may begin.
    pub next_at: Instant,
}

impl Pace {
    pub(super) fn new(messages_per_second: Option<u32>) -> Pace {
        Pace { messages_per_second, next_at: Instant::now() }
    }

    /// Messages of one step.
    pub(super) fn step_messages(&self) -> usize {
        self.messages_per_second.map_or(usize::MAX, |rate| (rate as usize / STEPS_PER_SECOND).max(1))
    }

    /// After a step that ended at `now`. Time in which nothing could be sent is not made up for: a broker that comes back would
    /// be flooded.
    pub(super) fn note_step(&mut self, messages: usize, now: Instant) {
        let Some(rate) = self.messages_per_second else { return };
        let takes = Duration::from_secs_f64(messages as f64 / f64::from(rate.max(1)));
        self.next_at = (self.next_at + takes).max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_an_outage_held_up_does_not_go_out_at_once_afterwards() {
        let mut pace = Pace::new(Some(10));
        let start = pace.next_at;
        assert_eq!(pace.step_messages(), 2);
        pace.note_step(2, start + ms(10));
        assert_eq!(pace.next_at, start + ms(200), "the time of the step itself counts");
        pace.note_step(2, start + ms(250));
        assert_eq!(pace.next_at, start + ms(400), "a step that is late within its time delays nothing");
        // The next step waited a minute for the broker.
        pace.note_step(2, start + ms(60_000));
        assert_eq!(pace.next_at, start + ms(60_000));
        pace.note_step(2, start + ms(60_005));
        assert_eq!(pace.next_at, start + ms(60_200));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut pace = Pace::new(None);
        let start = pace.next_at;
        pace.note_step(500, start + ms(10));
        assert_eq!((pace.next_at, pace.step_messages()), (start, usize::MAX));
    }
}
