//! `order-ledger relay`: one is active, further ones stand by and take over within seconds. Beside it, how far the consumers
//! of what it sends are behind, what they could not apply, and how the broker is.

use std::time::Duration;

use messaging::{consumer_group, dead_letter};
use outbox_relay::consumer_lag::{self, Group};
use outbox_relay::{OutboxRelay, RelayConfig};
use tokio::task::JoinSet;
use watch::{History, HistoryConfig, LagMonitor, MissingWatch};

use super::{Environment, run_role};
use crate::commands::missing_config;
use crate::config::{Config, ProducerSection};
use crate::exit::Outcome;
use crate::metrics::{broker, consumers_of, watched_consumers};

/// What an attempt may take beside the time-out of its send: the client is ended, and a new one is made.
const ATTEMPT_OVERHEAD_MS: u64 = 1_000;

pub fn run(config: Config) -> Outcome {
    run_role(config, "relay", |environment| async move {
        let relay = OutboxRelay::new(
            environment.pool.clone(),
            environment.broker.clone(),
            relay_config(&environment.config),
            environment.holder("relay"),
        );
        let lag = consumer_lag::report(
            environment.pool.clone(),
            environment.broker.clone(),
            groups(&environment.config),
            Duration::from_millis(environment.config.metrics.consumer_lag_interval_ms),
        );
        let broker = broker::report(environment.broker.clone(), environment.config.clone());
        let watching = watch(&environment);
        let dead_letters = dead_letter::report(
            environment.pool.clone(),
            consumer_names(&environment.config),
            Duration::from_millis(environment.config.metrics.consumer_lag_interval_ms),
        );
        let relaying = async {
            tokio::select! {
                () = relay.run(environment.shutdown.clone()) => {}
                () = lag => {}
                () = broker => {}
                () = dead_letters => {}
            }
            watching.join_all().await;
        };
        environment.beside_metrics(relaying).await
    })
}

/// The history, and the search for messages that got lost, beside whichever relay is active.
fn watch(environment: &Environment) -> JoinSet<()> {
    let Environment { config, pool, broker, shutdown, .. } = environment;
    let consumers = watched_consumers(config);
    let mut tasks = JoinSet::new();
    let monitor = LagMonitor::new(pool.clone(), Some(broker.clone()), consumers.clone());
    let history = HistoryConfig {
        interval: Duration::from_secs(config.metrics.history_interval_seconds),
        retention: Duration::from_secs(config.metrics.history_retention_seconds),
    };
    tasks.spawn(History::new(pool.clone(), monitor, history).run(shutdown.clone()));
    if config.watch.missing_interval_seconds > 0 {
        let missing = MissingWatch::new(pool.clone(), broker.clone(), consumers, missing_config(config));
        tasks.spawn(missing.run(shutdown.clone()));
    }
    tasks
}

fn groups(config: &Config) -> Vec<Group> {
    let group = |(consumer, topics): &(&str, &'static [_])| Group {
        name: consumer_group(&config.rocketmq.consumer.group, consumer),
        topics,
    };
    consumers_of(config).map(group).collect()
}

/// Each consumer's name with its group's.
fn consumer_names(config: &Config) -> Vec<(&'static str, String)> {
    let group = |consumer| consumer_group(&config.rocketmq.consumer.group, consumer);
    consumers_of(config).map(|(consumer, _)| (*consumer, group(consumer))).collect()
}

fn relay_config(config: &Config) -> RelayConfig {
    RelayConfig {
        lease_ttl_ms: config.relay.lease_ttl_ms,
        poll_interval_ms: config.relay.poll_interval_ms,
        max_batch_messages: config.relay.max_batch_messages,
        outbox_retention_seconds: config.relay.outbox_retention_seconds,
        send_timeout_ms: send_timeout_ms(&config.rocketmq.producer),
        ..RelayConfig::default()
    }
}

/// All attempts of a send: the relay must not give up before the producer has had those it was configured for.
fn send_timeout_ms(producer: &ProducerSection) -> u64 {
    let attempts = u64::from(producer.retry_times_when_send_failed) + 1;
    attempts * (producer.send_message_timeout_ms + ATTEMPT_OVERHEAD_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relay_waits_for_every_attempt_of_a_send() {
        let mut config = Config::default();
        assert!(relay_config(&config).send_timeout_ms >= 3 * 3_000);
        config.rocketmq.producer.send_message_timeout_ms = 10_000;
        config.rocketmq.producer.retry_times_when_send_failed = 0;
        assert!((10_000..20_000).contains(&relay_config(&config).send_timeout_ms));
    }
}
