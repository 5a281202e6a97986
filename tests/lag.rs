//! How far everything is behind, seen from outside: every metric has a believable value, a group that nobody runs shows what
//! it has to do, what nobody can know is unknown, and a message that got lost is found though nothing waits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use postgres::{Client as Database, NoTls};
use serde_json::Value;
use support::client::Client;
use support::down::KeptDown;
use support::{Instance, eventually};

const SOON: Duration = Duration::from_secs(60);
const TICKET_TYPE: i64 = 2001;
const ORDER_GROUP: &str = "ticket-consumer-group-order";
/// Every name that CONTRACT.md's list of metrics promises, but for those of the broker's machine.
const PROMISED: [&str; 21] = [
    "ledger_commands_total",
    "ledger_command_duration_seconds_count",
    "ledger_events_appended_total",
    "ledger_outbox_pending_messages",
    "ledger_outbox_oldest_unsent_age_seconds",
    "ledger_relay_sent_total",
    "ledger_relay_send_failures_total",
    "ledger_relay_send_duration_seconds_count",
    "ledger_consumer_messages_total",
    "ledger_consumer_process_duration_seconds_count",
    "ledger_consumer_lag_messages",
    "ledger_consumer_lag_seconds",
    "ledger_consumer_up",
    "ledger_projection_lag_events",
    "ledger_projection_lag_seconds",
    "ledger_dead_letters",
    "ledger_saga_running",
    "ledger_saga_stuck",
    "ledger_circuit_state",
    "ledger_invariant_violations_total",
    "ledger_critical_time_seconds_count",
];

/// Counts often, so that a test need not wait.
fn instance() -> Instance {
    Instance::start(&[
        ("LEDGER__METRICS__CONSUMER_LAG_INTERVAL_MS", "500"),
        ("LEDGER__METRICS__HISTORY_INTERVAL_SECONDS", "1"),
        ("LEDGER__WATCH__MISSING_INTERVAL_SECONDS", "1"),
        ("LEDGER__WATCH__MISSING_CONFIRM_AFTER_SECONDS", "1"),
        ("LEDGER__WATCH__INVARIANTS_INTERVAL_SECONDS", "2"),
        ("LEDGER__SAGA__WATCH_INTERVAL_MS", "500"),
    ])
}

async fn confirmed_order(client: &Client, user: i64) -> String {
    let order = client.place(user, TICKET_TYPE, 1).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    client.pay(&order, "ALIPAY").await;
    client.await_status(&order, &["CONFIRMED"], SOON).await;
    order
}

/// Asks again until the answer is as wanted.
async fn until<T>(what: &str, client: &Client, mut wanted: impl FnMut(&Value) -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + SOON;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let lag = client.get("/v1/admin/lag").await.body;
        if let Some(found) = wanted(&lag) {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} within {SOON:?}: {lag}");
    }
}

/// The history, when its newest sample says that nothing waits.
async fn settled_history(client: &Client) -> Value {
    let deadline = tokio::time::Instant::now() + SOON;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let history = client.get("/v1/admin/history?minutes=60").await.body;
        let samples = history["samples"].as_array().unwrap();
        if samples.len() > 1 && samples.last().unwrap()["consumerLagMessages"] == 0 {
            return history;
        }
        assert!(tokio::time::Instant::now() < deadline, "a second sample within {SOON:?}: {history}");
    }
}

async fn until_metric(client: &Client, series: &str, wanted: impl Fn(f64) -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let metrics = client.metrics().await;
        let values = values(&metrics, series);
        if !values.is_empty() && values.iter().all(|value| wanted(*value)) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{series} within {SOON:?}: {values:?}");
    }
}

async fn until_believable(client: &Client) {
    let deadline = tokio::time::Instant::now() + SOON;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let unbelievable = unbelievable(&client.metrics().await);
        if unbelievable.is_empty() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within {SOON:?}: {unbelievable:#?}");
    }
}

/// What is wrong with the metrics after three orders.
fn unbelievable(metrics: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in PROMISED {
        let values = values(metrics, name);
        // The circuits of dependencies that are not configured have nobody who could know them.
        let known = values.iter().filter(|value| !value.is_nan()).count();
        let is_known = known > 0 && (name == "ledger_circuit_state" || known == values.len());
        if !is_known || values.iter().any(|value| *value < 0.0) {
            wrong.push(format!("{name}: {values:?}"));
        }
    }
    let sum = |name| values(metrics, name).iter().sum::<f64>();
    for (name, wanted) in [("ledger_invariant_violations_total", 0.0), ("ledger_critical_time_seconds_count", 6.0)] {
        if sum(name) != wanted {
            wrong.push(format!("{name}: {} instead of {wanted}", sum(name)));
        }
    }
    let up = values(metrics, "ledger_consumer_up").iter().filter(|value| **value == 1.0).count();
    for (name, found, least) in
        [("ledger_relay_sent_total", sum("ledger_relay_sent_total"), 30.0), ("groups that are up", up as f64, 9.0)]
    {
        if found < least {
            wrong.push(format!("{name}: {found}, less than {least}"));
        }
    }
    wrong
}

/// All series that begin so.
fn values(metrics: &str, series: &str) -> Vec<f64> {
    let lines = metrics.lines().filter(|line| {
        line.strip_prefix(series).is_some_and(|rest| rest.starts_with(['{', ' ', ',', '}']) || series.ends_with('"'))
    });
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect()
}

fn of_group<'a>(lag: &'a Value, group: &str, topic: &str) -> &'a Value {
    let consumers = lag["consumers"].as_array().unwrap();
    consumers.iter().find(|consumer| consumer["group"] == group && consumer["topic"] == topic).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_has_a_believable_value_and_the_past_is_kept() {
    let instance = instance();
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 100).await;
    for user in 1..=3 {
        confirmed_order(&client, user).await;
    }

    // Unknown is for what nobody has measured: here everybody is at work.
    until("the groups to be up and nothing to wait", &client, |lag| {
        let idle = |consumer: &Value| consumer["up"] == true && consumer["lagMessages"] == 0;
        let all = lag["consumers"].as_array()?.iter().all(idle);
        (all && lag["outbox"]["pendingMessages"] == 0).then_some(())
    })
    .await;
    let lag = until("everything to be known", &client, |lag| {
        let known = lag["relay"]["sentPerSecond"].is_number()
            && lag["criticalTime"]["orders"] == 3
            && lag["criticalTime"]["confirmed"]["orders"] == 3
            && lag["relay"]["inFlightMessages"].is_number()
            && lag["relay"]["leaseOwner"].is_string()
            && lag["missing"]["messages"] == 0
            && lag["missing"]["checkedPosition"] == lag["head"]
            && lag["verification"]["violations"] == 0;
        known.then(|| lag.clone())
    })
    .await;
    let (p50, p99) = (&lag["criticalTime"]["p50Ms"], &lag["criticalTime"]["p99Ms"]);
    assert!((1.0..60_000.0).contains(&p50.as_f64().unwrap()) && p50.as_f64() <= p99.as_f64(), "{lag}");
    assert!(
        lag["criticalTime"]["confirmed"]["p50Ms"].as_f64() >= p50.as_f64(),
        "a confirmed order went a longer way: {lag}"
    );
    assert_eq!(lag["outbox"]["topics"].as_array().unwrap().len(), 11);
    assert_eq!(lag["outbox"]["topics"][0]["lanes"].as_array().unwrap().len(), 8);

    until_believable(&client).await;

    let history = settled_history(&client).await;
    let samples = history["samples"].as_array().unwrap();
    assert!((2..=360).contains(&samples.len()), "{history}");
    let rate = |sample: &Value| sample["ordersPerSecond"].as_f64();
    assert!(samples.iter().filter_map(rate).any(|rate| rate > 0.0), "{history}");
    for wrong in ["0", "-1", "10081", "x"] {
        assert_eq!(client.get(&format!("/v1/admin/history?minutes={wrong}")).await.status, 422, "{wrong}");
    }
    let is_content = || instance.run(&["lag", "--max-seconds", "60"]).status.success().then_some(());
    eventually("a script to be content", SOON, is_content);
    instance.assert_settled();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_nobody_runs_shows_what_it_has_to_do_and_what_nobody_knows_is_unknown() {
    let instance = instance();
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 100).await;
    confirmed_order(&client, 1).await;

    let down = KeptDown::kill(&instance, "process");
    for user in 2..=6 {
        client.place(user, TICKET_TYPE, 1).await;
    }
    let waiting = |lag: &Value| {
        let orders = of_group(lag, ORDER_GROUP, "order-create").clone();
        (orders["lagMessages"] == 5 && orders["up"] == false).then_some(orders)
    };
    let first = until("the offline group's lag", &client, waiting).await;
    let seconds = |orders: &Value| orders["lagSeconds"].as_f64().unwrap();
    assert!(seconds(&first) > 0.0, "{first}");
    client.place(7, TICKET_TYPE, 1).await;
    let later = until("the lag to grow", &client, |lag| {
        let orders = of_group(lag, ORDER_GROUP, "order-create").clone();
        assert_ne!(orders["lagMessages"], 0, "never 0 while it waits: {orders}");
        (orders["lagMessages"] == 6).then_some(orders)
    })
    .await;
    assert!(seconds(&later) > seconds(&first), "{first} {later}");
    let series = format!("ledger_consumer_lag_messages{{group=\"{ORDER_GROUP}\",topic=\"order-create\"}}");
    until_metric(&client, &series, |value| value == 6.0).await;
    until_metric(&client, &format!("ledger_consumer_up{{group=\"{ORDER_GROUP}\"}}"), |value| value == 0.0).await;
    let impatient = instance.run(&["lag", "--max-seconds", "0.5"]);
    assert_eq!(impatient.status.code(), Some(1), "{impatient:?}");

    let away = KeptDown::kill(&instance, "rocketmq");
    until("the lag to be unknown", &client, |lag| {
        let orders = of_group(lag, ORDER_GROUP, "order-create");
        (orders["lagMessages"].is_null() && orders["lagSeconds"].is_null()).then_some(())
    })
    .await;
    until_metric(&client, &series, f64::is_nan).await;
    let table = String::from_utf8(instance.run(&["lag"]).stdout).unwrap();
    assert!(table.contains("unknown"), "{table}");
    assert_eq!(instance.run(&["lag", "--max-seconds", "3600"]).status.code(), Some(1), "unknown is not good enough");

    away.end();
    down.end();
    until("all of it to be done", &client, |lag| {
        let orders = of_group(lag, ORDER_GROUP, "order-create");
        (orders["lagMessages"] == 0 && orders["up"] == true && lag["missing"]["messages"] == 0).then_some(())
    })
    .await;
    instance.assert_settled();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_lost_is_found_though_nothing_waits() {
    let instance = instance();
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 100).await;
    confirmed_order(&client, 1).await;
    until("all to be counted", &client, |lag| {
        (lag["missing"]["messages"] == 0 && lag["missing"]["checkedPosition"] == lag["head"]).then_some(())
    })
    .await;

    // Its offsets are moved behind the message while nobody is there: a member that takes messages and does nothing with
    // them does just that.
    let down = KeptDown::kill(&instance, "process");
    let order = client.place(2, TICKET_TYPE, 1).await;
    until("the message to be sent", &client, |lag| {
        (of_group(lag, ORDER_GROUP, "order-create")["lagMessages"] == 1).then_some(())
    })
    .await;
    swallow(instance.info()["name_server"].as_str().unwrap()).await;
    down.end();

    let found = until("the alarm", &client, |lag| {
        let missing = &lag["missing"];
        (missing["messages"] == 1).then(|| missing["found"][0].clone())
    })
    .await;
    assert_eq!((&found["group"], &found["topic"]), (&ORDER_GROUP.into(), &"order-create".into()), "{found}");
    let lag = client.get("/v1/admin/lag").await.body;
    assert_eq!(of_group(&lag, ORDER_GROUP, "order-create")["lagMessages"], 0, "nothing waits: {lag}");
    assert_eq!(client.status(&order).await, "PENDING");
    until_metric(&client, &format!("ledger_missing_messages{{group=\"{ORDER_GROUP}\"}}"), |value| value == 1.0).await;
    until_metric(&client, "ledger_invariant_violations_total{invariant=\"I1\"}", |value| value >= 1.0).await;
    let message_id = found["messageId"].as_str().unwrap();
    let verify = instance.run(&["verify"]);
    assert_eq!(verify.status.code(), Some(1), "{verify:?}");
    assert!(String::from_utf8(verify.stdout).unwrap().contains(message_id));
    let table = String::from_utf8(instance.run(&["lag"]).stdout).unwrap();
    assert!(table.contains(message_id), "{table}");

    // A trace, and it is forgotten again.
    let url = instance.info()["database_url"].as_str().unwrap().to_owned();
    let (key, group) = (message_id.to_owned(), "inbox:order");
    tokio::task::spawn_blocking(move || {
        let claim = "insert into store.command_key (scope, key, created_at) values ($1, $2, clock_timestamp())";
        Database::connect(&url, NoTls).unwrap().execute(claim, &[&group, &key]).unwrap();
    })
    .await
    .unwrap();
    until("the alarm to end", &client, |lag| (lag["missing"]["messages"] == 0).then_some(())).await;
}

/// A member of the group that acknowledges what it gets, and does nothing with it.
async fn swallow(name_server: &str) {
    use messaging::Broker;
    let config = rocketmq::RocketMqConfig { name_server: name_server.to_owned(), ..Default::default() };
    let broker = rocketmq::RocketMqBroker::connect(config).unwrap();
    let topics = ["order-create", "order-cancel"];
    let mut consumer = broker.consumer(ORDER_GROUP, &topics).await.unwrap();
    let deadline = tokio::time::Instant::now() + SOON;
    let mut swallowed = 0;
    while swallowed == 0 {
        for delivery in consumer.poll(10, Duration::from_secs(1)).await.unwrap() {
            consumer.commit(&[(delivery.queue, delivery.offset + 1)]).await.unwrap();
            swallowed += 1;
        }
        assert!(tokio::time::Instant::now() < deadline, "the message came");
    }
    consumer.close().await;
    broker.close().await;
}

/// Watches into a pipe.
fn watching(
    instance: &Instance,
) -> (std::process::Child, std::io::Lines<std::io::BufReader<std::process::ChildStdout>>) {
    use std::io::BufRead;
    let mut watching = instance
        .command(&["lag", "--watch", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(watching.stdout.take().unwrap()).lines();
    (watching, lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_the_watch_prints_a_line_each_time_until_ctrl_c_or_until_nobody_reads() {
    let instance = instance();
    let (mut interrupted, mut lines) = watching(&instance);
    let told: Vec<Value> = lines.by_ref().take(2).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(told.iter().all(|lag| lag["head"].is_number() && lag["consumers"].is_array()), "{told:?}");
    support::signal(interrupted.id(), libc::SIGINT);
    // Read on: a pipe that is full or closed would end it another way.
    lines.for_each(drop);
    let status = eventually("the watch to end", SOON, || interrupted.try_wait().unwrap());
    assert!(status.success(), "{status}");

    let (mut unread, mut lines) = watching(&instance);
    lines.next().unwrap().unwrap();
    drop(lines);
    eventually("the watch to end", SOON, || unread.try_wait().unwrap());
    let ended = unread.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
}
