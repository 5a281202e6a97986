//! The seed document's RocketMQ settings, as they show from outside: on the broker, in the metrics, in the lag.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use messaging::{Broker, QUEUES_PER_TOPIC, Topic};
use rocketmq::{RocketMqBroker, RocketMqConfig};
use serde_json::json;
use support::{Client, Instance};

const SOON: Duration = Duration::from_secs(60);
const GROUP: &str = "shop-consumers";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_for_rocketmq_is_what_the_broker_and_the_metrics_show() {
    let mut instance = Instance::start(&[
        ("LEDGER__ROCKETMQ__CONSUMER__GROUP", GROUP),
        ("LEDGER__ROCKETMQ__CONSUMER__CONSUME_MESSAGE_BATCH_MAX_SIZE", "1"),
        ("LEDGER__ROCKETMQ__PRODUCER__MAX_MESSAGE_SIZE", "1100"),
        ("LEDGER__METRICS__CONSUMER_LAG_INTERVAL_MS", "200"),
    ]);
    let client = instance.client();
    client.put_on_sale(2001, 100).await;
    let order = client.place(1, 2001, 1).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    client.pay(&order, "ALIPAY").await;
    client.await_status(&order, &["CONFIRMED"], SOON).await;

    groups_are_called_as_configured(&client).await;
    the_broker_knows_the_groups_and_eight_queues_of_each_topic(&instance).await;
    a_message_over_the_limit_is_parked_until_the_limit_is_raised(&mut instance).await;
    instance.assert_settled();
}

async fn groups_are_called_as_configured(client: &Client) {
    let lag = client.get("/v1/admin/lag").await.body;
    let groups: BTreeSet<&str> =
        lag["consumers"].as_array().unwrap().iter().map(|consumer| consumer["group"].as_str().unwrap()).collect();
    assert!(groups.contains("shop-consumers-stock") && groups.contains("shop-consumers-order-projection"), "{lag}");
    assert!(groups.iter().all(|group| group.starts_with("shop-consumers-")), "{lag}");

    let applied =
        r#"ledger_consumer_messages_total{group="shop-consumers-order",topic="order-create",outcome="applied"}"#;
    assert!(metric(client, applied).await >= 1.0);
    // One process measures the lag, for groups that live in others.
    let since = Instant::now();
    let lag =
        |name: &str| format!(r#"ledger_consumer_lag_{name}{{group="shop-consumers-order",topic="order-create"}}"#);
    while metric(client, &lag("messages")).await != 0.0 || metric(client, &lag("seconds")).await != 0.0 {
        assert!(since.elapsed() < SOON, "the lag is {}", metric(client, &lag("messages")).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let text = client.metrics().await;
    assert!(!text.contains("ticket-consumer-group"), "a group is still called by the default");
}

async fn the_broker_knows_the_groups_and_eight_queues_of_each_topic(instance: &Instance) {
    let name_server = instance.info()["name_server"].as_str().unwrap().to_owned();
    let broker = RocketMqBroker::connect(RocketMqConfig { name_server, ..RocketMqConfig::default() }).unwrap();
    let topic = Topic::OrderCreate.name();
    assert_eq!(broker.lag(&format!("{GROUP}-order"), topic).await, Ok(Some(0)), "the group has acknowledged");
    assert_eq!(broker.lag("ticket-consumer-group-order", topic).await, Ok(Some(1)), "there is no such group here");
    let lag = instance.client().get("/v1/admin/lag").await.body;
    let mut topics = BTreeSet::new();
    for consumer in lag["consumers"].as_array().unwrap() {
        let (group, topic) = (consumer["group"].as_str().unwrap(), consumer["topic"].as_str().unwrap());
        let queues = broker.backlog(group, topic).await.unwrap().unwrap_or_else(|| panic!("{group} {topic}"));
        assert_eq!(queues.len(), usize::from(QUEUES_PER_TOPIC), "{group} {topic}");
        topics.insert(topic);
    }
    assert_eq!(topics, Topic::ALL.map(Topic::name).into());
    broker.close().await;
}

async fn a_message_over_the_limit_is_parked_until_the_limit_is_raised(instance: &mut Instance) {
    let client = instance.client();
    let order = client.place(2, 2001, 1).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    // Three bytes a character: what else is sent here stays below 1,000 bytes.
    let reason = "票".repeat(200);
    let cancelled = client.post(&format!("/v1/orders/{order}/cancel"), None, json!({"reason": reason})).await;
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    let since = Instant::now();
    while client.get("/v1/admin/lag").await.body["outbox"]["parkedMessages"] == 0 {
        assert!(since.elapsed() < SOON, "nothing was parked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!instance.run(&["verify"]).status.success(), "a parked message is a violation until it is dealt with");

    instance.stop();
    instance.set("LEDGER__ROCKETMQ__PRODUCER__MAX_MESSAGE_SIZE", "4194304");
    instance.up();
    release_what_is_parked(instance).await;
    instance.client().await_stock(2001, (99, 0, 1), SOON).await;
}

async fn release_what_is_parked(instance: &Instance) {
    let url = instance.info()["database_url"].as_str().unwrap().to_owned();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let since = Instant::now();
    loop {
        let parked = outbox_relay::parked::list(&pool, None, false, 100).await.unwrap();
        if parked.is_empty() {
            return;
        }
        for message in parked.iter().filter(|message| message.state == "parked") {
            outbox_relay::parked::release(&pool, message.id(), "operator").await.unwrap();
        }
        assert!(since.elapsed() < SOON, "still parked: {parked:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// NaN where it is not known.
async fn metric(client: &Client, series: &str) -> f64 {
    let text = client.metrics().await;
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).trim().parse().unwrap()
}
