//! Which offsets may be acknowledged: only those below which everything is settled.

use std::collections::{BTreeMap, HashMap};

use crate::broker::QueueRef;

/// Offsets on their way through the consumer, per queue, and whether each is settled.
#[derive(Default)]
pub(super) struct Offsets {
    queues: HashMap<QueueRef, BTreeMap<i64, bool>>,
}

impl Offsets {
    /// Notes a delivery; `false` when it is on its way already.
    pub(super) fn track(&mut self, queue: &QueueRef, offset: i64) -> bool {
        if let Some(in_flight) = self.queues.get_mut(queue) {
            if in_flight.contains_key(&offset) {
                return false;
            }
            in_flight.insert(offset, false);
            return true;
        }
        self.queues.insert(queue.clone(), BTreeMap::from([(offset, false)]));
        true
    }

    /// The message at this offset is applied, or a dead letter.
    pub(super) fn settle(&mut self, queue: &QueueRef, offset: i64) {
        if let Some(settled) = self.queues.get_mut(queue).and_then(|in_flight| in_flight.get_mut(&offset)) {
            *settled = true;
        }
    }

    /// For each queue whose first offset in flight is settled: the offset to start from next time.
    pub(super) fn committable(&self) -> Vec<(QueueRef, i64)> {
        self.queues.iter().filter_map(|(queue, in_flight)| Some((queue.clone(), next_offset(in_flight)?))).collect()
    }

    /// These were committed; what lies below is done with.
    pub(super) fn committed(&mut self, next_offsets: &[(QueueRef, i64)]) {
        for (queue, next_offset) in next_offsets {
            if let Some(in_flight) = self.queues.get_mut(queue) {
                *in_flight = in_flight.split_off(next_offset);
            }
        }
    }
}

fn next_offset(in_flight: &BTreeMap<i64, bool>) -> Option<i64> {
    let last_settled = in_flight.iter().take_while(|(_, settled)| **settled).last()?;
    Some(last_settled.0 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(number: u16) -> QueueRef {
        QueueRef { topic: "order-create".into(), broker: "b".into(), queue: number }
    }

    #[test]
    fn acknowledges_up_to_the_first_message_that_is_not_settled() {
        let mut offsets = Offsets::default();
        for offset in 10..14 {
            assert!(offsets.track(&queue(0), offset));
        }
        offsets.settle(&queue(0), 11);
        assert_eq!(offsets.committable(), []);
        offsets.settle(&queue(0), 10);
        assert_eq!(offsets.committable(), [(queue(0), 12)]);
        offsets.settle(&queue(0), 12);
        offsets.settle(&queue(0), 13);
        assert_eq!(offsets.committable(), [(queue(0), 14)]);
    }

    #[test]
    fn acknowledges_nothing_twice() {
        let mut offsets = Offsets::default();
        offsets.track(&queue(0), 0);
        offsets.settle(&queue(0), 0);
        offsets.committed(&[(queue(0), 1)]);
        assert_eq!(offsets.committable(), []);
    }

    #[test]
    fn a_queue_that_waits_holds_no_other_up() {
        let mut offsets = Offsets::default();
        offsets.track(&queue(0), 0);
        offsets.track(&queue(1), 0);
        offsets.settle(&queue(1), 0);
        assert_eq!(offsets.committable(), [(queue(1), 1)]);
    }

    #[test]
    fn a_message_in_flight_is_not_taken_again_but_a_rewound_queue_is() {
        let mut offsets = Offsets::default();
        offsets.track(&queue(0), 5);
        assert!(!offsets.track(&queue(0), 5));
        offsets.settle(&queue(0), 5);
        offsets.committed(&[(queue(0), 6)]);
        assert!(offsets.track(&queue(0), 5));
    }
}
