use std::time::Duration;

/// Bounds and intervals of a projector.
#[derive(Debug, Clone)]
pub struct ProjectorConfig {
    /// Between two looks at the ledger's head when nobody says that it moved.
    pub poll_interval: Duration,
    /// How long a projector may be silent before another instance takes over. It renews after a third of it.
    pub lease_ttl: Duration,
    /// Ledger positions read, folded and written at once.
    pub max_events_per_batch: i64,
    /// Ledger positions applied in one transaction, so that a long way to the head shows progress.
    pub max_events_per_transaction: i64,
    /// The pause after a failure, doubled each time up to `max_retry_delay`.
    pub min_retry_delay: Duration,
    pub max_retry_delay: Duration,
    /// How long the inbox remembers a message. Longer than the broker and dead letters keep one.
    pub inbox_retention: Duration,
    pub max_claims_forgotten_at_once: i64,
}

impl Default for ProjectorConfig {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_millis(250),
            lease_ttl: Duration::from_secs(3),
            max_events_per_batch: 5_000,
            max_events_per_transaction: 20_000,
            min_retry_delay: Duration::from_millis(250),
            max_retry_delay: Duration::from_secs(30),
            inbox_retention: messaging::inbox::DEFAULT_RETENTION,
            max_claims_forgotten_at_once: 10_000,
        }
    }
}
