//! Dead letters with the binary alone: what an operator does about them by the command line, what the broker itself gave up, and a
//! redrive whose process is killed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Duration;

use domain::OrderId;
use messaging::dead_letter::given_up::given_up_topic;
use messaging::dead_letter::redrives::{self, Selection};
use messaging::message::OrderStatusUpdate;
use messaging::{Broker, OutgoingMessage};
use rocketmq::RocketMqBroker;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use support::apache::ApacheRocketMq;
use support::messages::{connect, outgoing, send_all};
use support::{Instance, eventually};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(60);

fn order_id(order: usize) -> OrderId {
    OrderId::parse(&format!("ORD20241201{order:04}")).unwrap()
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("waited for it in vain: {what}"));
}

fn status_update(order: usize, version: &str) -> OutgoingMessage {
    let data = OrderStatusUpdate {
        order_id: order_id(order),
        user_id: 7.try_into().unwrap(),
        from_status: None,
        to_status: domain::OrderStatus::Pending,
        reason: None,
        change_time: 1,
    };
    let mut message = outgoing(Uuid::now_v7(), &data);
    message.body = message.body.replace("\"1.0\"", &format!("\"{version}\""));
    message
}

/// What the command line says, as JSON, and its exit code.
fn dead_letters(instance: &Instance, arguments: &[&str]) -> (Value, i32) {
    let output: Output = instance.run(&[&["dead-letters", "--json"], arguments].concat());
    let code = output.status.code().unwrap();
    let said =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| json!(String::from_utf8_lossy(&output.stderr)));
    (said, code)
}

const VIEW: [&str; 2] = ["--consumer", "order-projection"];
const UNSUPPORTED: &str = "poison: version … is not supported, only 1.x is";

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_mends_and_gives_up_dead_letters_by_the_command_line() {
    let instance = Instance::start(&[("LEDGER__CONSUMER__GIVEN_UP_INTERVAL_MS", "200")]);
    let broker = connect(instance.info()["name_server"].as_str().unwrap());
    // Two orders' first news can't be read; more news waits behind each.
    let messages = [(1, "9.0"), (2, "9.1"), (1, "1.0"), (2, "1.0"), (2, "1.0")];
    send_all(&broker, messages.map(|(order, version)| status_update(order, version))).await;

    let groups = eventually("both to be dead letters", SOON, || {
        let (groups, _) = dead_letters(&instance, &[&["groups"][..], &VIEW].concat());
        let group = &groups["items"][0];
        (group["dead"] == 2 && group["behind"] == 3).then_some(groups)
    });
    assert_eq!(
        (&groups["items"][0]["cause"], &groups["items"][0]["keys"]),
        (&json!(UNSUPPORTED), &json!(2)),
        "one problem"
    );
    let (list, _) = dead_letters(&instance, &[&["list", "--state", "dead"][..], &VIEW].concat());
    let id_of = |index: usize| list["items"][index]["id"].as_i64().unwrap().to_string();
    let of_order_1 = usize::from(list["items"][0]["waitingKey"] != json!(order_id(1)));
    let (first, second) = (id_of(of_order_1), id_of(1 - of_order_1));

    // Looking changes nothing; redriving what is still wrong says so.
    let (plan, code) =
        dead_letters(&instance, &[&["redrive", "--dry-run", "--cause", UNSUPPORTED][..], &VIEW].concat());
    assert_eq!((&plan["messages"], &plan["keys"], code), (&json!(5), &json!(2), 0), "{plan}");
    let (again, code) = dead_letters(&instance, &["redrive", &first]);
    assert_eq!(
        (&again["state"], &again["delivered"], &again["stoppedKeys"], code),
        (&json!("failed"), &json!(0), &json!(1), 1)
    );

    // The first is mended by hand.
    let (shown, _) = dead_letters(&instance, &["show", &first]);
    let mut mended = tempfile::NamedTempFile::new().unwrap();
    mended.write_all(shown["body"].as_str().unwrap().replace("\"9.0\"", "\"1.0\"").as_bytes()).unwrap();
    let path = mended.path().to_str().unwrap();
    let (redriven, code) = dead_letters(&instance, &["redrive", &first, "--edit", path, "--reason", "an old sender"]);
    assert_eq!((&redriven["state"], &redriven["delivered"], code), (&json!("done"), &json!(2), 0), "{redriven}");
    let (shown, _) = dead_letters(&instance, &["show", &first]);
    assert!(shown["originalBody"].as_str().unwrap().contains("\"9.0\""), "what came is kept");
    let actions: Vec<&str> =
        shown["history"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["parked", "failed_again", "edited", "redriven"]);

    // The second is given up, and those behind it go on by themselves.
    let (discarded, code) = dead_letters(&instance, &["discard", &second, "--reason", "nobody needs it"]);
    assert_eq!((&discarded["behind"], code), (&json!(2), 0), "{discarded}");
    eventually("those behind it to be applied", SOON, || {
        let (left, _) = dead_letters(&instance, &[&["groups"][..], &VIEW].concat());
        (left["items"] == json!([])).then_some(())
    });

    // What makes no sense is refused.
    let (said, code) = dead_letters(&instance, &["redrive", &second]);
    assert_eq!(
        (said.as_str().unwrap().trim(), code),
        (format!("order-ledger: dead letter {second} is discarded already").as_str(), 1)
    );
    for (wrong, expected) in [
        (&["redrive"][..], 2),
        (&["discard", second.as_str()], 2),
        (&["redrive", "--all", "--rate", "0"], 2),
        (&["redrive", first.as_str(), "--edit", path], 2),
        (&["show", "99999999"], 1),
        (&["redrive", "--cause", "no such cause"], 1),
    ] {
        assert_eq!(dead_letters(&instance, wrong).1, expected, "{wrong:?}");
    }
    a_slow_redrive_is_found_and_ended(&instance).await;
    take_in_what_the_broker_gave_up(&instance, &broker).await;
    broker.close().await;
}

/// All that failed alike, named by one of them.
async fn a_slow_redrive_is_found_and_ended(instance: &Instance) {
    let info = instance.info();
    let pool = PgPoolOptions::new().max_connections(1).connect(info["database_url"].as_str().unwrap()).await.unwrap();
    for n in 0..200 {
        park_letter(&pool, 10 + n % 2, if n < 2 { "dead" } else { "behind" }).await;
    }
    let (list, _) = dead_letters(instance, &[&["list", "--state", "dead"][..], &VIEW].concat());
    let sample = list["items"][0]["id"].to_string();
    let arguments = ["dead-letters", "--json", "redrive", "--like", &sample, "--rate", "1"];
    let watching = instance.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();

    let running = eventually("it to be carried out", SOON, || {
        let (redrives, _) = dead_letters(instance, &["redrives"]);
        let newest = &redrives["items"][0];
        (newest["state"] == "running" && newest["delivered"].as_i64() > Some(0)).then(|| newest.clone())
    });
    assert_eq!((&running["selected"], &running["keys"]), (&json!(200), &json!(2)), "{running}");
    let redrive_id = running["redriveId"].as_str().unwrap();
    let (cancelled, code) = dead_letters(instance, &["cancel", redrive_id]);
    assert_eq!((&cancelled["state"], code), (&json!("cancelled"), 0), "{cancelled}");
    assert_eq!(dead_letters(instance, &["cancel", redrive_id]).1, 1, "it has ended");
    let watched = watching.wait_with_output().unwrap();
    let told: Value = serde_json::from_slice(&watched.stdout).unwrap();
    assert_eq!((&told["state"], watched.status.code()), (&json!("cancelled"), Some(1)), "{told}");
    let actions: Vec<String> =
        sqlx::query_scalar("SELECT action FROM operations.action WHERE subject = $1 ORDER BY action_id")
            .bind(redrive_id)
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(actions, ["redrive.start", "redrive.cancel"]);

    let (rest, code) = dead_letters(instance, &["redrive", "--cause", "failed: a bug", "--rate", "10000"]);
    assert_eq!((&rest["state"], &rest["stoppedKeys"], code), (&json!("done"), &json!(0), 0), "{rest}");
}

/// RocketMQ gave a message up for a group of ours: it is a dead letter of that consumer, once.
async fn take_in_what_the_broker_gave_up(instance: &Instance, broker: &RocketMqBroker) {
    let topic = given_up_topic("ticket-consumer-group-order-projection");
    until("the broker's own topic is made", async || broker.create_topics(&[&topic], 1).await.is_ok()).await;
    let message = status_update(3, "1.0");
    let producer = broker.producer().await.unwrap();
    for _ in 0..2 {
        until("it is sent", async || producer.send(&topic, 0, std::slice::from_ref(&message)).await.is_ok()).await;
    }
    producer.close().await;
    let key = order_id(3).to_string();
    let list = || dead_letters(instance, &[&["list", "--key", &key][..], &VIEW].concat()).0;
    let letters = eventually("it to be taken in", SOON, || Some(list()).filter(|list| list["items"] != json!([])));
    let letter = &letters["items"][0];
    assert_eq!((&letter["topic"], &letter["state"]), (&json!("order-status-update"), &json!("dead")));
    assert_eq!(letter["reason"], format!("taken from {topic}"));
    until("all of it is acknowledged", async || {
        broker.lag("ticket-consumer-group-given-up-order-projection", &topic).await == Ok(Some(0))
    })
    .await;
    assert_eq!(list()["items"].as_array().unwrap().len(), 1, "once");
    let (redriven, code) = dead_letters(instance, &[&["redrive", "--key", &key][..], &VIEW].concat());
    assert_eq!((&redriven["delivered"], code), (&json!(1), 0), "{redriven}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apache_rocketmq_gave_up_is_taken_in() {
    let Some(apache) = ApacheRocketMq::start_if_available() else { return };
    let instance = Instance::start(&[
        ("LEDGER__ROCKETMQ__NAME_SERVER", &apache.name_server),
        ("LEDGER__CONSUMER__GIVEN_UP_INTERVAL_MS", "200"),
    ]);
    let broker = connect(&apache.name_server);
    take_in_what_the_broker_gave_up(&instance, &broker).await;
    broker.close().await;
}

/// Of a projection: what it had missed are ids, so effects can be counted without an order.
const LETTERS: &str = "INSERT INTO messaging.dead_letter
    (consumer, topic, broker, queue, queue_offset, waiting_key, message_id, identity, body, properties, state, reason, cause, attempts)
    VALUES ('order-projection', 'order-status-update', 'b', 0, 0, $1, $2, $2::text, convert_to($3, 'UTF8'), '{}', $4, 'a bug', 'failed: a bug', 1)";

async fn park_letter(pool: &PgPool, order: usize, state: &str) {
    let message = status_update(order, "1.0");
    let parking = sqlx::query(LETTERS).bind(order_id(order).as_str()).bind(message.message_id).bind(&message.body);
    parking.bind(state).execute(pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_outlives_the_process_that_carries_it_out() {
    let instance = Instance::start(&[]);
    let info = instance.info();
    let pool = PgPoolOptions::new().max_connections(2).connect(info["database_url"].as_str().unwrap()).await.unwrap();
    for n in 0..240 {
        park_letter(&pool, n % 30, if n < 30 { "dead" } else { "behind" }).await;
    }
    let selection = Selection { cause: Some("failed: a bug".into()), ..Selection::default() };
    let redrive = processors::dead_letters::start_redrive(&pool, &selection, 60, "test").await.unwrap();
    assert_eq!((redrive.selected, redrive.keys), (240, 30));
    let find = async || redrives::find(&pool, redrive.redrive_id).await.unwrap();

    until("it is under way", async || find().await.delivered > 20).await;
    instance.kill_and_await_restart("process");
    assert!(find().await.delivered < 200, "it was killed in the middle");
    until("another has gone on to the end", async || find().await.is_over()).await;

    let done = find().await;
    assert_eq!((done.state.as_str(), done.delivered, done.stopped_keys), ("done", 240, 0));
    let (effects, redriven): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM messaging.inbox WHERE consumer = 'order-projection'),
            (SELECT count(*) FROM messaging.dead_letter_history WHERE action = 'redriven')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((effects, redriven), (240, 240), "each once");

    let group = "ledger_dead_letters{group=\"ticket-consumer-group-order-projection\"} 0";
    until("the metric shows it", async || instance.client().metrics().await.lines().any(|line| line == group)).await;
}
