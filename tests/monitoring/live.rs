//! A running ledger as Prometheus sees it: every query has data, no alert fires on a healthy system, the runbook's commands
//! work, and when something is wrong the right alerts fire.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use messaging::{Broker, OutgoingMessage};
use rocketmq::{RocketMqBroker, RocketMqConfig};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::prometheus::{POLL_INTERVAL, Prometheus, is_installed};
use crate::support::provider::callback;
use crate::support::{Client, Instance, signal};
use crate::{dashboard, metrics_in, rules, runbook, text};

const SOON: Duration = Duration::from_secs(120);
const TICKET_TYPE: i64 = 2001;
const ORDERS: usize = 8;
/// Instead of a thousand.
const BACKLOG: usize = 5;
const POISONED: usize = 5;
/// What has no data here, and why.
const WITHOUT_DATA: [(&str, &str); 2] = [
    ("rocketmq_throughput_", "the embedded broker has no exporter of its own"),
    ("ALERTS{alertstate=\"firing\"}", "nothing is wrong"),
];
/// They may be true of the machine that the test runs on: it is slow, or its disk full.
const OF_THE_MACHINE: [&str; 3] = ["SloBurnFast", "SloBurnSlow", "BrokerDiskFull"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_has_data_and_alerts_fire_when_and_only_when_something_is_wrong() {
    if !is_installed("prometheus") {
        return;
    }
    let instance = Instance::start(&[
        ("LEDGER__METRICS__CONSUMER_LAG_INTERVAL_MS", "500"),
        ("LEDGER__METRICS__BROKER_INTERVAL_MS", "500"),
    ]);
    let client = instance.client();
    let prometheus = Prometheus::start(&instance.listen, &hasty_rules());

    prometheus.await_first_scrape().await;
    every_name_is_served(&client).await;
    orders_of_every_kind(&client).await;
    every_query_has_data(&prometheus).await;
    the_broker_is_measured(&prometheus).await;
    await_silence(&prometheus).await;
    tokio::task::block_in_place(|| runbook::run_all(&instance));
    await_silence(&prometheus).await;

    a_stopped_consumer_has_a_backlog(&instance, &client, &prometheus).await;
    a_relay_that_hangs_hides_no_outbox(&instance, &client, &prometheus).await;
    a_broker_that_hangs_is_down_and_hides_the_lag(&instance, &prometheus).await;
    a_report_that_does_not_fit_is_told(&instance, &client, &prometheus).await;
    poisoned_messages_are_told(&instance, &client, &prometheus).await;
}

/// The rules as they are, but for their patience, how long they remember, and what a test would take long to pile up.
fn hasty_rules() -> String {
    let rules = text("prometheus/rules.yml");
    let lines = rules.lines().map(|line| match line.trim_start().starts_with("for: ") {
        true => "        for: 0s".to_owned(),
        false => line.replace("_backlog_messages > 1000", &format!("_backlog_messages > {BACKLOG}")),
    });
    let rules = lines.collect::<Vec<_>>().join("\n");
    ["[2m]", "[5m]", "[30m]"].iter().fold(rules, |rules, window| rules.replace(window, "[1m]"))
}

async fn every_name_is_served(client: &Client) {
    let text = client.metrics().await;
    let served: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let expressions = rules::rules().into_iter().map(|rule| rule.expression);
    let queries = dashboard::queries().into_iter().map(|query| query.expression);
    for expression in expressions.chain(queries) {
        for name in metrics_in(&expression) {
            if WITHOUT_DATA.iter().any(|(part, _)| name == *part) {
                continue;
            }
            assert!(served.contains(name.as_str()), "{name} is asked for and not served: {expression}");
        }
    }
}

async fn orders_of_every_kind(client: &Client) {
    client.put_on_sale(TICKET_TYPE, 10_000).await;
    for number in 0..ORDERS {
        let mode = if number % 4 == 0 { "sync" } else { "async" };
        let order = client.in_mode(mode).place(number as i64 + 1, TICKET_TYPE, 1).await;
        client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
        let method = if number == 1 { "SANDBOX_DECLINE" } else { "ALIPAY" };
        client.pay(&order, method).await;
        let ends = if number == 1 { "AWAITING_PAYMENT" } else { "CONFIRMED" };
        client.await_status(&order, &[ends], SOON).await;
    }
    client.stock(TICKET_TYPE).await;
}

async fn every_query_has_data(prometheus: &Prometheus) {
    let panels = dashboard::queries().into_iter().map(|query| (query.panel, query.expression));
    let records = rules::rules().into_iter().filter(|rule| !rule.is_alert).map(|rule| (rule.name, rule.expression));
    let mut waiting: Vec<(String, String)> = panels.chain(records).collect();
    assert!(waiting.len() > 80, "only {} queries", waiting.len());
    for alert in rules::alerts() {
        prometheus.query(&alert.expression).await.unwrap_or_else(|error| panic!("{}: {error}", alert.name));
    }
    let since = Instant::now();
    while !waiting.is_empty() {
        let mut without = Vec::new();
        for (of, expression) in waiting {
            let samples =
                prometheus.query(&expression).await.unwrap_or_else(|error| panic!("{of}: {error}\n{expression}"));
            let may_be_empty = WITHOUT_DATA.iter().any(|(part, _)| expression.contains(part));
            if !may_be_empty && !samples.iter().any(|sample| sample.value.is_finite()) {
                without.push((of, expression));
            }
        }
        assert!(since.elapsed() < SOON, "no data for {without:#?}");
        waiting = without;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn the_broker_is_measured(prometheus: &Prometheus) {
    let value = async |expression: &str| prometheus.query(expression).await.unwrap()[0].value;
    assert_eq!(value("ledger_broker_up{broker=\"any\"}").await, 1.0);
    assert_eq!(value("ledger_broker_up{broker!=\"any\"}").await, 1.0);
    assert!((10e6..10e9).contains(&value("ledger_broker_memory_bytes").await));
    assert!((0.0..64.0).contains(&value("ledger_broker_cpu_ratio").await));
    let disk = value("ledger_broker_disk_used_ratio").await;
    assert!(disk > 0.0 && disk < 1.0, "{disk}");
    // Each message is a few hundred bytes, and goes to several groups.
    let taken = value("ledger_broker_network_bytes_total{direction=\"in\"}").await;
    assert!((1e3..1e6).contains(&taken), "{taken}");
    assert!(value("ledger_broker_network_bytes_total{direction=\"out\"}").await > taken / 2.0);
}

async fn a_stopped_consumer_has_a_backlog(instance: &Instance, client: &Client, prometheus: &Prometheus) {
    let process = instance.pid("process");
    signal(process, libc::SIGSTOP);
    for buyer in 0..=BACKLOG as i64 {
        client.in_mode("async").place(100 + buyer, TICKET_TYPE, 1).await;
    }
    // Nobody of its groups is seen to live.
    await_only(prometheus, &["MessageBacklog"], &["ConsumerDown"]).await;
    signal(process, libc::SIGCONT);
    await_silence(prometheus).await;
}

async fn a_relay_that_hangs_hides_no_outbox(instance: &Instance, client: &Client, prometheus: &Prometheus) {
    let relay = instance.pid("relay");
    signal(relay, libc::SIGSTOP);
    for buyer in 0..=BACKLOG as i64 {
        client.in_mode("async").place(200 + buyer, TICKET_TYPE, 1).await;
    }
    let consequences = ["LagUnknown", "RelayNotSending", "RolloutFallback"];
    await_only(prometheus, &["MessageBacklog", "OutboxAge", "RelayWithoutLease"], &consequences).await;
    signal(relay, libc::SIGCONT);
    await_silence(prometheus).await;
}

/// It hangs, so that nobody brings it back.
async fn a_broker_that_hangs_is_down_and_hides_the_lag(instance: &Instance, prometheus: &Prometheus) {
    let broker = instance.pid("rocketmq");
    signal(broker, libc::SIGSTOP);
    let consequences = ["CircuitOpen", "ConsumerDown", "RolloutFallback"];
    await_only(prometheus, &["BrokerDown", "LagUnknown"], &consequences).await;
    signal(broker, libc::SIGCONT);
    await_silence(prometheus).await;
}

async fn a_report_that_does_not_fit_is_told(instance: &Instance, client: &Client, prometheus: &Prometheus) {
    let order = client.in_mode("sync").place(1, TICKET_TYPE, 1).await;
    let payment = client.pay(&order, "SANDBOX_SILENT").await.body["paymentId"].clone();
    let report = |amount: &Value| json!({"paymentId": payment, "orderId": order, "amount": amount});
    assert_eq!(callback(instance, &report(&json!(0.01)), "SUCCEEDED").await, 422);
    await_only(prometheus, &["PaymentMismatch"], &[]).await;
    let log = std::fs::read_to_string(instance.data_dir().join("logs/serve.log")).unwrap();
    let payment_id = payment.as_str().unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(payment_id)).collect();
    let [line] = lines[..] else { panic!("{lines:#?}") };
    assert!(line.contains("ERROR") && line.contains("wrong_amount"), "{line}");

    let amount = client.get(&format!("/v1/orders/{order}")).await.body["totalAmount"].clone();
    assert_eq!(callback(instance, &report(&amount), "SUCCEEDED").await, 204);
    client.await_status(&order, &["CONFIRMED"], SOON).await;
    await_silence(prometheus).await;
}

async fn poisoned_messages_are_told(instance: &Instance, client: &Client, prometheus: &Prometheus) {
    let name_server = instance.info()["name_server"].as_str().unwrap().to_owned();
    let broker = RocketMqBroker::connect(RocketMqConfig { name_server, ..RocketMqConfig::default() }).unwrap();
    let producer = broker.producer().await.unwrap();
    let poison: Vec<OutgoingMessage> = (0..POISONED).map(poison).collect();
    producer.send("order-create", 0, &poison).await.unwrap();
    producer.close().await;
    broker.close().await;
    await_only(prometheus, &["DeadLetters", "ConsumeFailureRate"], &[]).await;
    let letters = client.get("/v1/admin/dead-letters").await.body;
    let letter = letters["items"][0]["id"].as_i64().unwrap_or_else(|| panic!("{letters}"));
    tokio::task::block_in_place(|| runbook::run_on_dead_letter(instance, letter));
}

fn poison(number: usize) -> OutgoingMessage {
    OutgoingMessage {
        message_id: Uuid::new_v4(),
        business_id: format!("ORD{number}"),
        event_type: "ORDER_CREATE".into(),
        ordering_key: format!("ORD{number}"),
        body: "this is no envelope".into(),
        properties: Vec::new(),
    }
}

/// Until none does.
async fn await_silence(prometheus: &Prometheus) {
    await_only(prometheus, &[], &[]).await;
}

/// Until these fire, and nothing else but what may follow from the same cause.
async fn await_only(prometheus: &Prometheus, wanted: &[&str], consequences: &[&str]) {
    let since = Instant::now();
    loop {
        let mut firing = prometheus.firing().await;
        firing.retain(|alert| !OF_THE_MACHINE.contains(&alert.as_str()));
        let is_wanted = wanted.iter().all(|alert| firing.iter().any(|firing| firing == alert));
        let is_known = |alert: &String| wanted.iter().chain(consequences).any(|known| known == alert);
        if is_wanted && firing.iter().all(is_known) {
            return;
        }
        assert!(since.elapsed() < SOON, "{firing:?} fire, wanted {wanted:?} and at most {consequences:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
