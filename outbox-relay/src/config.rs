use std::time::Duration;

/// Bounds of the relay's work, each with a default that suits one small machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// A stand-by takes over when the active relay has been silent this long. Renewed three times as often.
    pub lease_ttl_ms: u64,
    /// The guarantee behind the notifications: messages wait no longer than this to be noticed.
    pub poll_interval_ms: u64,
    /// Messages in one batch of one lane.
    pub max_batch_messages: usize,
    /// Bytes of bodies in one send; a single larger message is tried alone.
    pub max_send_bytes: usize,
    /// Messages in one read over all lanes.
    pub max_read_messages: usize,
    /// Sends under way at once.
    pub max_sends_in_flight: usize,
    /// A send that is not confirmed by then counts as failed.
    pub send_timeout_ms: u64,
    /// The same for making a producer.
    pub connect_timeout_ms: u64,
    /// First wait after a failure; doubles, with jitter, up to `backoff_max_ms`.
    pub backoff_min_ms: u64,
    /// Longest wait between two tries to reach the broker.
    pub backoff_max_ms: u64,
    /// The broker may create a topic, or hear of it, late: only then are its messages parked.
    pub unknown_topic_attempts: u32,
    /// Sent rows are kept this long, for replay.
    pub outbox_retention_seconds: u64,
    /// Between two clean-ups.
    pub cleanup_interval_ms: u64,
    /// Rows that one statement of a clean-up deletes.
    pub cleanup_chunk_messages: usize,
    /// How long a shutdown waits for sends under way.
    pub shutdown_timeout_ms: u64,
    /// Between two measurements of the lag for the metrics.
    pub lag_interval_ms: u64,
    /// Between two words on the broker's circuit when nothing changes.
    pub circuit_report_interval_ms: u64,
}

impl Default for RelayConfig {
    fn default() -> Self {
        RelayConfig {
            lease_ttl_ms: 3_000,
            poll_interval_ms: 250,
            max_batch_messages: 500,
            max_send_bytes: 1024 * 1024,
            max_read_messages: 8_192,
            max_sends_in_flight: 32,
            send_timeout_ms: 4_000,
            connect_timeout_ms: 4_000,
            backoff_min_ms: 100,
            backoff_max_ms: 1_000,
            unknown_topic_attempts: 20,
            outbox_retention_seconds: 3 * 24 * 3_600,
            cleanup_interval_ms: 60_000,
            cleanup_chunk_messages: 5_000,
            shutdown_timeout_ms: 5_000,
            lag_interval_ms: 1_000,
            circuit_report_interval_ms: 1_000,
        }
    }
}

impl RelayConfig {
    pub(crate) fn lease_ttl(&self) -> Duration {
        Duration::from_millis(self.lease_ttl_ms)
    }

    pub(crate) fn lease_renew_every(&self) -> Duration {
        self.lease_ttl() / 3
    }

    pub(crate) fn circuit_report_every(&self) -> Duration {
        Duration::from_millis(self.circuit_report_interval_ms)
    }

    pub(crate) fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }

    pub(crate) fn send_timeout(&self) -> Duration {
        Duration::from_millis(self.send_timeout_ms)
    }

    pub(crate) fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }
}
