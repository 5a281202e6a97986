//! The bounds of a consumer.

use crate::handler::DEFAULT_CONSUMER_GROUP;

/// Bounds and waits of a consumer, each with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// What the consumer's group is called before the consumer's own name (`ticket-consumer-group`).
    pub consumer_group: String,
    /// Most messages given to the handler at once (1,000). The configuration calls it `consume_message_batch_max_size`.
    pub max_batch_messages: usize,
    /// Most messages held in memory unacknowledged (4,000), among them those whose key backs off.
    pub max_waiting_messages: usize,
    /// Longest time spent on collecting what several queues have ready (5 ms). An idle queue is not waited for.
    pub gather_ms: u64,
    /// Longest wait for the first message of a step (200 ms).
    pub poll_wait_ms: u64,
    /// Tries before a message that fails by itself becomes a dead letter (5).
    pub max_attempts: u32,
    /// First back-off of a failed waiting key (50 ms); doubles with each failure in a row, with jitter.
    pub backoff_initial_ms: u64,
    /// Longest back-off (5,000 ms).
    pub backoff_max_ms: u64,
    /// Wait before trying again when the broker or Postgres failed a step (500 ms).
    pub reconnect_wait_ms: u64,
    /// How often an idle consumer asks whether the broker still answers (1,000 ms).
    pub reachable_check_every_ms: u64,
    /// Longest wait for a consumer to leave its group (3,000 ms).
    pub close_timeout_ms: u64,
    /// How often a member says that it lives (2,000 ms), in [`crate::member`].
    pub heartbeat_every_ms: u64,
    /// Fewest parts, each of whole ordering keys, in which a batch is handled side by side (1). The setting
    /// `consume_thread_min`. More than 1 is for handlers that wait on others: one that submits to the ledger or writes one
    /// transaction a batch gains nothing by it.
    pub min_workers: usize,
    /// Most of them (1). The setting `consume_thread_max`.
    pub max_workers: usize,
    /// Between the two, a batch has one worker for so many of its messages (8).
    pub messages_per_worker: usize,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        RuntimeConfig {
            consumer_group: DEFAULT_CONSUMER_GROUP.into(),
            max_batch_messages: 1_000,
            max_waiting_messages: 4_000,
            gather_ms: 5,
            poll_wait_ms: 200,
            max_attempts: 5,
            backoff_initial_ms: 50,
            backoff_max_ms: 5_000,
            reconnect_wait_ms: 500,
            reachable_check_every_ms: 1_000,
            close_timeout_ms: 3_000,
            heartbeat_every_ms: 2_000,
            min_workers: 1,
            max_workers: 1,
            messages_per_worker: 8,
        }
    }
}

impl RuntimeConfig {
    /// How many workers share a batch of so many messages: the more wait, the more there are.
    pub(super) fn workers(&self, messages: usize) -> usize {
        let wanted = messages.div_ceil(self.messages_per_worker.max(1));
        wanted.max(self.min_workers).min(self.max_workers).clamp(1, messages.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_grow_with_the_batch_from_the_fewest_to_the_most() {
        let config =
            RuntimeConfig { min_workers: 5, max_workers: 20, messages_per_worker: 8, ..RuntimeConfig::default() };
        let workers = [0, 1, 4, 5, 40, 41, 80, 160, 161, 1_000].map(|messages| config.workers(messages));
        assert_eq!(workers, [1, 1, 4, 5, 5, 6, 10, 20, 20, 20]);
        assert_eq!(RuntimeConfig::default().workers(1_000), 1);
    }
}
