//! Every metric by name, in every role and from the start: counters at 0, what is not yet known NaN, never 0. A crate that
//! measures something registers it too; here is what nobody else registers.

use messaging::{Topic, consumer_group};
use metrics::{counter, describe_counter};
use watch::Consumer;

use crate::config::Config;

/// The consumers of the messages, by the name their group ends in.
const CONSUMERS: [(&str, &[Topic]); 10] = [
    ("order", &[Topic::OrderCreate, Topic::OrderCancel]),
    ("stock", &[Topic::StockLock, Topic::StockDeduct, Topic::StockRollback]),
    ("payment", &[Topic::OrderPayment]),
    ("notification", &[Topic::OrderStatusUpdate, Topic::UserNotification]),
    ("sms", &[Topic::SmsNotification]),
    ("email", &[Topic::EmailNotification]),
    ("cache", &[Topic::StockSync]),
    ("order-projection", &[Topic::OrderStatusUpdate]),
    ("stock-projection", &[Topic::StockSync]),
    ("notification-projection", &[Topic::UserNotification]),
];
/// The consumer of a cache that processes share. One that a process holds listens, and is no group.
const SHARED_CACHE: &str = "cache";

/// The consumers there are with this configuration.
pub fn consumers_of(config: &Config) -> impl Iterator<Item = &'static (&'static str, &'static [Topic])> + use<> {
    let has_shared_cache = config.cache.redis_url.is_some();
    CONSUMERS.iter().filter(move |(name, _)| has_shared_cache || *name != SHARED_CACHE)
}

/// The same, for who watches them.
pub fn watched_consumers(config: &Config) -> Vec<Consumer> {
    let groups = &config.rocketmq.consumer.group;
    consumers_of(config).map(|&(name, topics)| Consumer { name, group: consumer_group(groups, name), topics }).collect()
}

pub fn register(config: &Config) {
    api::register_metrics();
    processors::commands::register_metrics();
    processors::deadlines::register_metrics();
    processors::payment_result::register_metrics();
    for dependency in [processors::provider::DEPENDENCY, "smtp", "sms", "redis"] {
        processors::circuit::register_metrics(dependency);
    }
    outbox_relay::metric::init();
    crate::traces::register_metrics();
    rollout::register_metrics();
    projections::lag::describe_metrics();
    // Of a group that there is not, nothing would ever be known.
    for (consumer, topics) in consumers_of(config) {
        let group = consumer_group(&config.rocketmq.consumer.group, consumer);
        messaging::metric::init(&group, topics);
        outbox_relay::metric::init_consumer_lag(&group, topics);
    }
    // Nor where nobody is to look.
    let watched = if config.watch.missing_interval_seconds > 0 { watched_consumers(config) } else { Vec::new() };
    watch::metric::init(&watched);
    ledger();
    projections::saga_watch::describe_metrics();
    rocketmq::register_metrics();
    super::broker::register();
}

fn ledger() {
    describe_counter!("ledger_events_appended_total", "Events appended to the ledger");
    counter!("ledger_events_appended_total").absolute(0);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeSet;

    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

    use super::*;

    /// Each name with its labels, in the order of the alphabet.
    const PROMISED: [(&str, &[&str]); 42] = [
        ("ledger_broker_cpu_ratio", &[]),
        ("ledger_broker_disk_used_ratio", &[]),
        ("ledger_broker_memory_bytes", &[]),
        ("ledger_broker_network_bytes_total", &["direction"]),
        ("ledger_broker_up", &["broker"]),
        ("ledger_circuit_state", &["dependency"]),
        ("ledger_command_duration_seconds_count", &["command"]),
        ("ledger_commands_total", &["command", "mode", "outcome"]),
        ("ledger_consumer_lag_messages", &["group", "topic"]),
        ("ledger_consumer_lag_seconds", &["group", "topic"]),
        ("ledger_consumer_messages_total", &["group", "outcome", "topic"]),
        ("ledger_consumer_process_duration_seconds_count", &["group", "topic"]),
        ("ledger_consumer_up", &["group"]),
        ("ledger_critical_time_seconds_count", &["effect"]),
        ("ledger_dead_letters", &["group"]),
        ("ledger_events_appended_total", &[]),
        ("ledger_http_request_duration_seconds_count", &["method", "route"]),
        ("ledger_http_requests_total", &["method", "outcome", "route"]),
        ("ledger_invariant_violations_total", &["invariant"]),
        ("ledger_missing_messages", &["group"]),
        ("ledger_outbox_oldest_unsent_age_seconds", &[]),
        ("ledger_outbox_parked_messages", &[]),
        ("ledger_outbox_pending_messages", &["topic"]),
        ("ledger_payment_callbacks_total", &["outcome"]),
        ("ledger_payment_queries_total", &["outcome"]),
        ("ledger_payment_results_total", &["outcome"]),
        ("ledger_projection_events_total", &["projection"]),
        ("ledger_projection_lag_events", &["projection"]),
        ("ledger_projection_lag_seconds", &["projection"]),
        ("ledger_projection_stopped", &["projection"]),
        ("ledger_relay_lease_held", &[]),
        ("ledger_relay_send_duration_seconds_count", &["topic"]),
        ("ledger_relay_send_failures_total", &["reason", "topic"]),
        ("ledger_relay_sent_total", &["topic"]),
        ("ledger_rollout_async_percent", &[]),
        ("ledger_rollout_fallback_active", &[]),
        ("ledger_rollout_orders_total", &["cause", "mode"]),
        ("ledger_saga_running", &["saga", "step"]),
        ("ledger_saga_stuck", &[]),
        ("ledger_stock_cache_reads_total", &["outcome"]),
        ("ledger_trace_spans_dropped_total", &[]),
        ("ledger_trace_spans_exported_total", &[]),
    ];

    fn rendered_at_the_start() -> String {
        rendered_with(&Config::default())
    }

    fn rendered_with(config: &Config) -> String {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &[1.0])
            .unwrap()
            .build_recorder();
        metrics::with_local_recorder(&recorder, || register(config));
        recorder.handle().render()
    }

    /// `name{label="value",…} number` as the name, its labels and the number.
    fn read(line: &str) -> (String, Vec<String>, &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
        let labels: BTreeSet<String> = labels.map(|(label, _)| label.to_owned()).collect();
        (name.to_owned(), labels.into_iter().collect(), value)
    }

    #[test]
    fn every_series_is_there_from_the_start_at_zero_or_unknown() {
        let text = rendered_at_the_start();
        let mut found = BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, labels, value) = read(line);
            assert!(value == "0" || value == "NaN", "{line}");
            if !name.ends_with("_bucket") && !name.ends_with("_sum") {
                found.insert((name, labels));
            }
        }
        let promised = PROMISED.map(|(name, labels)| (name.to_owned(), labels.iter().map(|&l| l.to_owned()).collect()));
        assert_eq!(found, BTreeSet::from(promised));
    }

    #[test]
    fn where_nobody_is_to_look_for_missing_messages_their_number_is_not_shown_as_unknown() {
        let mut config = Config::default();
        config.watch.missing_interval_seconds = 0;
        assert!(!rendered_with(&config).contains("ledger_missing_messages{"));
    }

    #[test]
    fn a_lag_that_nobody_has_measured_is_unknown() {
        let text = rendered_at_the_start();
        // A projection that nobody runs has not said that it works.
        let is_known_by_its_role =
            |line: &&str| line.contains("_lag_") || line.starts_with("ledger_projection_stopped");
        let gauges = text.lines().filter(|line| !line.starts_with('#')).filter(is_known_by_its_role);
        assert!(gauges.clone().count() > 0);
        assert_eq!(gauges.filter(|line| !line.ends_with(" NaN")).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn every_family_says_what_it_is() {
        let text = rendered_at_the_start();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = line.split(' ').next().unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no description");
        }
    }
}
