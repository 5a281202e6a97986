//! Reading the past and sending it again, with the real binary on a whole instance.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../processors/tests/processors/smtp_server.rs"]
#[allow(dead_code)]
mod smtp_server;
mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use messaging::{Broker, Delivery};
use rocketmq::{RocketMqBroker, RocketMqConfig};
use serde_json::{Value, json};
use smtp_server::SmtpServer;
use sqlx::PgPool;
use support::{Client, Instance, eventually};

const SOON: Duration = Duration::from_secs(60);
const TICKET_TYPE: i64 = 2001;
const USER: i64 = 12345;
const TOPIC: &str = "order-status-update";

#[tokio::test(flavor = "multi_thread")]
async fn any_part_of_the_ledger_is_read_followed_and_gone_on_with() {
    let instance = Instance::start(&[]);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 100).await;
    let orders = place(&client, 3).await;
    let steady_head = until_steady(&instance, &pool(&instance).await).await;
    let all = events(&instance, &[]);
    let head = all.last().unwrap()["position"].as_i64().unwrap();
    assert_eq!((head, positions(&all)), (steady_head, (1..=head).collect::<Vec<_>>()));

    let stream = format!("order-{}", orders[1]);
    let of_stream = |event: &&Value| event["streamId"] == stream.as_str();
    assert_eq!(events(&instance, &["--stream", &stream]), all.iter().filter(of_stream).cloned().collect::<Vec<_>>());
    let category = events(&instance, &["--category", "stock"]);
    assert!(!category.is_empty() && category.iter().all(|event| event["streamId"] == "stock-2001"), "{category:?}");
    assert_eq!(events(&instance, &["--category", "order", "--type", "OrderPlaced"]).len(), 3);
    assert_eq!(positions(&events(&instance, &["--from", "2", "--to", "5"])), [3, 4, 5]);
    let third = all[2]["recordedAt"].as_str().unwrap();
    let until_third = events(&instance, &["--until", third]);
    let since_third = events(&instance, &["--since", third]);
    assert!(until_third.iter().all(|event| event["recordedAt"].as_str().unwrap() <= third));
    assert!(since_third.iter().all(|event| event["recordedAt"].as_str().unwrap() >= third));
    assert!(until_third.len() + since_third.len() > all.len(), "both have what was recorded at the time itself");
    assert_eq!(events(&instance, &["--since", "1h"]).len(), all.len());

    let state = instance.data_dir().join("orders.state").display().to_string();
    let first = events(&instance, &["--resume", &state, "--limit", "4"]);
    let rest = events(&instance, &["--resume", &state]);
    assert_eq!([first, rest].concat(), all);
    assert_eq!(events(&instance, &["--resume", &state]), Vec::<Value>::new());

    // Somebody follows while orders are placed: the second certainly comes while they wait for it.
    let from = head.to_string();
    let following = ["events", "--follow", "--type", "OrderPlaced", "--from", &from, "--limit", "2"];
    let mut follower = Running::start(&instance, &following);
    for _ in 0..2 {
        let order = place(&client, 1).await.remove(0);
        let line = follower.next_line();
        assert_eq!((&line["type"], &line["streamId"]), (&json!("OrderPlaced"), &json!(format!("order-{order}"))));
        assert!(line["position"].as_i64() > Some(head), "{line}");
    }
    assert!(follower.wait().success(), "it ends by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let instance = Instance::start(&[]);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 10).await;
    place(&client, 1).await;
    instance.assert_settled();
    for (arguments, code) in [
        (vec!["events", "--from", "9", "--to", "3"], 2),
        (vec!["events", "--since", "1m", "--until", "2m"], 2),
        (vec!["events", "--since", "yesterday"], 2),
        (vec!["events", "--since", "2999-01-01T00:00:00Z"], 1),
        (vec!["events", "--category", "orders"], 2),
        (vec!["events", "--type", "OrderLost"], 2),
        (vec!["events", "--from", "99999"], 1),
        (vec!["events", "--to", "99999"], 1),
        (vec!["events", "--stream", "order-ORD209901010001"], 1),
        (vec!["replay"], 2),
        (vec!["replay", "--topic", "orders"], 2),
        (vec!["replay", "--topic", TOPIC, "--from", "9", "--to", "3"], 2),
        (vec!["replay", "--topic", TOPIC, "--rate", "0"], 2),
        (vec!["replay", "--topic", TOPIC, "--to-topic", "order-create"], 2),
        (vec!["replay", "--topic", TOPIC, "--group", "stock"], 2),
        (vec!["replay", "--topic", TOPIC, "--group", "nobody"], 2),
        (vec!["replay", "--topic", TOPIC, "--since", "2999-01-01T00:00:00Z"], 1),
        (vec!["replay", "--topic", "order-payment", "--group", "payment", "--dry-run"], 2),
        (vec!["dead-letters", "take-in", "nobody", "--reason", "lost"], 2),
        (vec!["dead-letters", "take-in", "payment"], 2),
        (vec!["dead-letters", "take-in", "payment", "--reason", "nothing is missing"], 1),
        (vec!["dead-letters", "take-in", "payment", "--reason", "nothing is missing", "--give-up-gone"], 1),
        (vec!["replay", "--topic", TOPIC, "--from", "99999"], 1),
        (vec!["replay", "--topic", TOPIC, "--to-topic", "nowhere"], 1),
        (vec!["replay", "--topic", TOPIC, "--to-topic", "nowhere", "--dry-run"], 1),
        (vec!["replay", "--topic", TOPIC, "--stream", "order-ORD209901010001"], 1),
        (vec!["replay", "--topic", TOPIC, "--key", "ORD209901010001"], 1),
        (vec!["replay", "--resume", "4711"], 1),
    ] {
        let refused = instance.run(&arguments);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {refused:?}");
        assert!(!refused.stderr.is_empty(), "{arguments:?} says why");
    }
    let replays = json_of(&instance.run(&["replay", "--list", "--json"]));
    assert_eq!(replays["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_changes_nothing_for_those_who_had_the_messages_and_sends_no_second_mail() {
    let smtp = SmtpServer::start();
    let instance = Instance::start(&[
        ("LEDGER__NOTIFICATION__SMTP__URL", &smtp.url()),
        ("LEDGER__NOTIFICATION__SMTP__FROM", "Tickets <hello@tickets.example>"),
    ]);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 100).await;
    let contact = json!({"phone": "+8613800138000", "email": "buyer@example.com", "language": "en",
        "channels": ["sms", "email"]});
    assert_eq!(client.put(&format!("/v1/users/{USER}/contact"), contact).await.status, 200);
    let orders = place(&client, 3).await;
    client.pay(&orders[0], "ALIPAY").await;
    client.await_status(&orders[0], &["CONFIRMED"], SOON).await;
    let pool = pool(&instance).await;
    until_steady(&instance, &pool).await;
    let mails = smtp.mails().len();
    assert!(mails >= 4, "{mails} mails");
    let before = shown(&pool).await;

    for topic in [TOPIC, "user-notification", "email-notification", "sms-notification", "order-create", "order-payment"]
    {
        let planned = json_of(&instance.run(&["replay", "--topic", topic, "--dry-run", "--json"]));
        let sent = outbox_ids(&pool, topic).await.len();
        assert_eq!(
            (planned["messages"].as_u64(), planned["expired"].as_u64()),
            (Some(sent as u64), Some(0)),
            "{planned}"
        );
        let replayed = instance.run(&["replay", "--topic", topic, "--json"]);
        assert!(replayed.status.success(), "{replayed:?}");
        let done = last_line(&replayed);
        assert_eq!((&done["state"], done["sent"].as_u64()), (&json!("done"), Some(sent as u64)));
    }
    let nothing = instance.run(&["replay", "--topic", TOPIC, "--to", "1", "--json"]);
    assert_eq!(
        (&last_line(&nothing)["state"], &last_line(&nothing)["sent"]),
        (&json!("done"), &json!(0)),
        "{nothing:?}"
    );
    let for_one = instance.run(&["replay", "--topic", TOPIC, "--group", "notification", "--key", &orders[0]]);
    assert!(for_one.status.success(), "{for_one:?}");

    until_steady(&instance, &pool).await;
    assert_eq!(smtp.mails().len(), mails, "nobody is told twice");
    assert_eq!(shown(&pool).await, before, "events, outbox and read models are as they were");
    let audited: i64 = sqlx::query_scalar("select count(*) from operations.action where action = 'replay.begin'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(audited, 7);
    instance.assert_settled();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_a_replay_goes_on_and_leaves_nothing_out() {
    let instance = Instance::start(&[]);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 100).await;
    place(&client, 25).await;
    instance.assert_settled();
    let pool = pool(&instance).await;
    let wanted = outbox_ids(&pool, TOPIC).await;
    assert!(wanted.len() >= 50, "{}", wanted.len());
    let broker = broker(&instance);
    broker.create_topics(&["inspection"], 4).await.unwrap();

    let slowly = ["replay", "--topic", TOPIC, "--to-topic", "inspection", "--rate", "2", "--json"];
    let mut replaying = Running::start(&instance, &slowly);
    let replay_id = loop {
        let line = replaying.next_line();
        if line["sent"].as_i64() > Some(0) {
            break line["replayId"].to_string();
        }
    };
    let second = instance.run(&["replay", "--topic", TOPIC, "--to-topic", "inspection"]);
    assert_eq!(second.status.code(), Some(1), "one at a time: {second:?}");
    assert!(replaying.is_running(), "it was to be killed in the middle");
    drop(replaying);

    let resumed = instance.run(&["replay", "--resume", &replay_id, "--rate", "100000", "--json"]);
    assert!(resumed.status.success(), "{resumed:?}");
    let done = last_line(&resumed);
    assert_eq!((&done["state"], done["sent"].as_u64()), (&json!("done"), Some(wanted.len() as u64)));
    let listed = json_of(&instance.run(&["replay", "--list", "--json"]));
    assert_eq!((&listed["items"][0]["state"], &listed["items"][0]["requestedBy"]), (&json!("done"), &json!("cli")));

    let copies = inspect(&broker, wanted.len()).await;
    assert!(copies.iter().all(|copy| copy.properties["replay"] == "true"));
    let mut by_key: HashMap<String, Vec<i64>> = HashMap::new();
    let mut seen = HashSet::new();
    for copy in &copies {
        let id = serde_json::from_slice::<Value>(&copy.body).unwrap()["messageId"].as_str().unwrap().to_owned();
        if seen.insert(id) {
            let position = copy.properties["position"].parse().unwrap();
            by_key.entry(copy.properties["orderingKey"].clone()).or_default().push(position);
        }
    }
    assert_eq!(seen, wanted, "every message, under its own id");
    assert!(by_key.values().all(|positions| positions.is_sorted()), "in the order of each key");
    broker.close().await;
}

async fn place(client: &Client, orders: usize) -> Vec<String> {
    let mut placed = Vec::new();
    for _ in 0..orders {
        let order = client.place(USER, TICKET_TYPE, 1).await;
        client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
        placed.push(order);
    }
    placed
}

fn events(instance: &Instance, arguments: &[&str]) -> Vec<Value> {
    let output = instance.run(&[&["events"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn positions(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["position"].as_i64().unwrap()).collect()
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn last_line(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

async fn pool(instance: &Instance) -> PgPool {
    PgPool::connect(instance.info()["database_url"].as_str().unwrap()).await.unwrap()
}

fn broker(instance: &Instance) -> RocketMqBroker {
    let name_server = instance.info()["name_server"].as_str().unwrap().to_owned();
    RocketMqBroker::connect(RocketMqConfig { name_server, ..RocketMqConfig::default() }).unwrap()
}

async fn outbox_ids(pool: &PgPool, topic: &str) -> HashSet<String> {
    let ids: Vec<String> = sqlx::query_scalar("select message_id::text from store.outbox where topic = $1")
        .bind(topic)
        .fetch_all(pool)
        .await
        .unwrap();
    ids.into_iter().collect()
}

/// What there is to see of the ledger and its read models.
async fn shown(pool: &PgPool) -> BTreeMap<&'static str, String> {
    let mut shown = BTreeMap::new();
    for table in [
        "store.events",
        "store.outbox",
        "read_models.orders",
        "read_models.stock",
        "read_models.notifications",
        "store.deadline",
    ] {
        let query = format!("select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t");
        let hash: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(pool).await.unwrap();
        shown.insert(table, hash);
    }
    shown
}

/// Waits until all is sent and every consumer has acknowledged all of it; the ledger's head then.
async fn until_steady(instance: &Instance, pool: &PgPool) -> i64 {
    let deadline = Instant::now() + SOON;
    loop {
        let head: i64 = sqlx::query_scalar("select max(position) from store.events").fetch_one(pool).await.unwrap();
        let lag = json_of(&instance.run(&["lag", "--json"]));
        let consumers = lag["consumers"].as_array().unwrap();
        let is_read = consumers.iter().all(|consumer| consumer["lagMessages"] == 0);
        let now: i64 = sqlx::query_scalar("select max(position) from store.events").fetch_one(pool).await.unwrap();
        if is_read && lag["outbox"]["pendingMessages"] == 0 && now == head {
            return head;
        }
        assert!(Instant::now() < deadline, "not steady: {lag}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A command that goes on while the test does. Dropped: kill -9.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn start(instance: &Instance, arguments: &[&str]) -> Running {
        let mut child = instance.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // It ends with the command, whose output it reads.
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Running { child, lines }
    }

    fn next_line(&mut self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(SOON).expect("a line in time")).unwrap()
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn wait(&mut self) -> ExitStatus {
        eventually("the command to end", SOON, || self.child.try_wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the topic that the copies went to until that many different ones are there.
async fn inspect(broker: &RocketMqBroker, wanted: usize) -> Vec<Delivery> {
    let mut consumer = broker.consumer("inspectors", &["inspection"]).await.unwrap();
    let mut copies = Vec::new();
    let deadline = Instant::now() + SOON;
    while copies.iter().map(|copy: &Delivery| copy.keys.clone()).collect::<HashSet<_>>().len() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} copies", copies.len());
        copies.extend(consumer.poll(1_000, Duration::from_millis(200)).await.unwrap());
    }
    consumer.close().await;
    copies
}
