//! The bounds of a consumer.

/// Bounds and waits of a consumer, each with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
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
    /// How often dead letters are counted for the metrics (5,000 ms).
    pub dead_letter_count_every_ms: u64,
    /// Into how many parts a batch may be split, by ordering key, to be handled side by side (1). The setting
    /// `consume_thread_max` gives it; `consume_thread_min` has no meaning for tasks that share threads. More than 1 is for handlers that wait on others: one that submits to the ledger or writes one transaction a batch
    /// gains nothing by it.
    pub handler_partitions: usize,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        RuntimeConfig {
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
            dead_letter_count_every_ms: 5_000,
            handler_partitions: 1,
        }
    }
}
