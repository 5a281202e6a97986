#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

fn from_toml(text: &str) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), |figment| figment).map_err(|failure| match failure {
        Failure::Usage(message) => message,
        other => panic!("{other:?}"),
    })
}

#[test]
fn the_defaults_are_valid() {
    let config = from_toml("").unwrap();
    assert_eq!(config.order.expire_after_seconds, 900);
    assert_eq!(config.rocketmq.producer.max_message_size, 4_194_304);
}

#[test]
fn a_wrong_value_is_one_line_that_names_the_key() {
    for (toml, key) in [
        ("[order]\nexpire_after_seconds = \"soon\"", "order.expire_after_seconds"),
        ("[order]\nexpire_after_seconds = 0", "order.expire_after_seconds"),
        ("[order]\nmax_quantity = 5000", "order.max_quantity"),
        ("[http]\nlisten = \"nowhere\"", "http.listen"),
        ("[http]\nlissten = \"127.0.0.1:1\"", "lissten"),
        ("[rocketmq]\nname_server = \"nowhere\"", "rocketmq.name_server"),
        ("[rocketmq]\naccess_key = \"ledger\"", "rocketmq.secret_key"),
        ("[rocketmq.consumer]\nconsume_thread_max = 1", "rocketmq.consumer.consume_thread_max"),
        ("[rocketmq.consumer]\nconsume_message_batch_max_size = 0", "consume_message_batch_max_size"),
        ("[rocketmq.consumer]\ngroup = \"ticket consumers\"", "rocketmq.consumer.group"),
        ("[rocketmq.producer]\ngroup = \"\"", "rocketmq.producer.group"),
        ("[rocketmq.producer]\nretry_times_when_send_failed = 17", "retry_times_when_send_failed"),
        ("[rocketmq.producer]\nsend_message_timeout_ms = 3000000", "send_message_timeout_ms"),
        ("[rocketmq.producer]\nmax_message_size = 0", "rocketmq.producer.max_message_size"),
        ("[http]\nrate_limit_per_second = 0", "http.rate_limit_per_second"),
        ("[http]\nupdate_heartbeat_ms = 30001", "http.update_heartbeat_ms"),
        ("[relay]\nlease_ttl_ms = 1", "relay.lease_ttl_ms"),
        ("[consumer]\ndead_letter_retention_seconds = 0", "consumer.dead_letter_retention_seconds"),
        ("[projection]\nrebuild_max_busy_percent = 101", "projection.rebuild_max_busy_percent"),
        ("[projection]\nrebuild_max_range_events = 0", "projection.rebuild_max_range_events"),
        ("[rollout]\npoll_interval_ms = 2000", "rollout.poll_interval_ms"),
        ("[rollout]\ninstance_mode = \"both\"", "rollout.instance_mode"),
        ("[rollout]\noutbox_age_limit_seconds = 0", "rollout.outbox_age_limit_seconds"),
        ("[payment]\nsync_wait_ms = 20000", "payment.sync_wait_ms"),
        ("[auth]\ntoken_key = \"short\"", "auth.token_key"),
        ("[payment]\ncallback_secret = \"secret\"", "payment.callback_secret"),
        ("[payment]\nresult_callback_secret = \"secret\"", "payment.result_callback_secret"),
        ("[payment]\nresult_callback_hosts = \"shop.example, 127.0.0.1\"", "payment.result_callback_hosts"),
        ("[payment]\ngive_up_after_seconds = 10", "payment.give_up_after_seconds"),
        ("[payment]\ncircuit_failure_threshold = 0", "payment.circuit_failure_threshold"),
        ("[payment]\ncircuit_open_ms = 3600001", "payment.circuit_open_ms"),
        ("[payment]\nresult_callback_max_pause_ms = 86400001", "payment.result_callback_max_pause_ms"),
        ("[database]\nurl = \"mysql://x\"", "database.url"),
        ("[notification.smtp]\nurl = \"mail.example\"", "notification.smtp.url"),
        ("[notification.smtp]\nurl = \"smtp://mail.example\"", "notification.smtp.from"),
        ("[notification.smtp]\nmax_connections = 0", "notification.smtp.max_connections"),
        ("[notification.sms]\nurl = \"sms.example\"", "notification.sms.url"),
        ("[cache]\nredis_url = \"http://localhost\"", "cache.redis_url"),
        ("[metrics]\nbroker_interval_ms = 0", "metrics.broker_interval_ms"),
        ("[metrics]\nbroker_exporter_url = \"http://a:1/metrics,b:2\"", "metrics.broker_exporter_url"),
        ("[cache]\nttl_ms = 0", "cache.ttl_ms"),
        ("[tracing]\notlp_endpoint = \"collector:4318\"", "tracing.otlp_endpoint"),
        ("[tracing]\nsample_ratio = 2.0", "tracing.sample_ratio"),
        ("[tracing]\nmax_batch_spans = 0", "tracing.max_batch_spans"),
        ("[relay]\noutbox_retention_seconds = 9999999", "relay.outbox_retention_seconds"),
    ] {
        let message = from_toml(toml).unwrap_err();
        assert!(message.contains(key), "{toml}: {message}");
        assert!(!message.contains('\n'), "{toml}: {message}");
    }
}

#[test]
fn secrets_are_masked() {
    let config = from_toml(
        "[database]\nurl = \"postgres://ledger:hunter2@db/ledger\"\n[auth]\ntoken_key = \"0123456789abcdef0123456789abcdef\"\n\
         [rocketmq]\naccess_key = \"ledger\"\nsecret_key = \"hunter3\"\n\
         [notification.smtp]\nurl = \"smtps://ledger:hunter2@mail\"\nfrom = \"a@b\"\n[notification.sms]\napi_key = \"hunter2\"\n\
         [cache]\nredis_url = \"redis://:hunter2@cache\"",
    )
    .unwrap();
    let printed = toml::to_string(&config.masked()).unwrap();
    assert!(!["hunter2", "hunter3", "0123456789abcdef"].iter().any(|secret| printed.contains(secret)), "{printed}");
    assert!(printed.contains("postgres://ledger:********@db/ledger"), "{printed}");
}
