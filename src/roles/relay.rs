//! `order-ledger relay`: one is active, further ones stand by and take over within seconds.

use outbox_relay::{OutboxRelay, RelayConfig};

use super::run_role;
use crate::config::Config;
use crate::exit::Outcome;

pub fn run(config: Config) -> Outcome {
    run_role(config, |environment| async move {
        let relay = OutboxRelay::new(
            environment.pool.clone(),
            environment.broker.clone(),
            relay_config(&environment.config),
            environment.holder("relay"),
        );
        environment.beside_metrics(relay.run(environment.shutdown.clone())).await
    })
}

fn relay_config(config: &Config) -> RelayConfig {
    RelayConfig {
        lease_ttl_ms: config.relay.lease_ttl_ms,
        poll_interval_ms: config.relay.poll_interval_ms,
        max_batch_messages: config.relay.max_batch_messages,
        outbox_retention_seconds: config.relay.outbox_retention_seconds,
        ..RelayConfig::default()
    }
}
