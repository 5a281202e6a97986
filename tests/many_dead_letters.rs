//! Dead letters on a real Postgres and a real broker. Many of them go through the real consumer loop and runner with a handler of the
//! test's own, whose troubles can be chosen; tests/poisoned.rs does the same with the binary alone. Then the command line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Money, OrderId, Quantity};
use messaging::dead_letter::given_up::given_up_topic;
use messaging::dead_letter::redrives::runner::{RedriveConfig, RedriveRunner};
use messaging::dead_letter::redrives::{self, Selection};
use messaging::dead_letter::{self, Filter};
use messaging::message::{OrderCreate, OrderStatusUpdate};
use messaging::{
    Broker, ConsumerRuntime, Effect, HandleError, Handler, OutgoingMessage, QUEUES_PER_TOPIC, ReceivedMessage,
    RuntimeConfig, Topic, inbox,
};
use rocketmq::RocketMqBroker;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use support::apache::ApacheRocketMq;
use support::broker::Broker as EmbeddedBroker;
use support::messages::{connect, outgoing, send_all};
use support::{Instance, eventually};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(60);
const CONSUMER: &str = "test";
const GOOD: usize = 10_000;
const POISONED: usize = 1_000;
const ORDERS: usize = 2_000;
/// The last so many orders have no poisoned message.
const WELL_ORDERS: usize = 1_000;

/// Applies orders in one transaction a batch, but those it can't yet: three kinds of trouble, told by the user.
struct Shop {
    pool: PgPool,
    mended: AtomicBool,
}

impl Shop {
    fn trouble(&self, order: &OrderCreate) -> Result<(), HandleError> {
        if self.mended.load(Ordering::Relaxed) {
            return Ok(());
        }
        match order.user_id.get() {
            1 => Err(HandleError::Failed(format!("there is no ticket type {}", order.ticket_type_id))),
            2 => Err(HandleError::Poison(format!(
                "order {}: version \"2.{}\" is not known",
                order.order_id, order.order_time
            ))),
            3 => Err(HandleError::Poison(format!("missing field `seat` at line 1 column {}", order.order_time))),
            _ => Ok(()),
        }
    }

    async fn apply(&self, orders: &[(Uuid, OrderCreate)]) -> Result<Vec<Effect>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let ids: Vec<Uuid> = orders.iter().map(|(id, _)| *id).collect();
        let claimed = inbox::claim(&mut transaction, CONSUMER, &ids).await?;
        let new = || orders.iter().zip(&claimed).filter(|(_, claimed)| **claimed).map(|((_, order), _)| order);
        sqlx::query("INSERT INTO effect (order_id, number) SELECT * FROM unnest($1::text[], $2::bigint[])")
            .bind(new().map(|order| order.order_id.to_string()).collect::<Vec<_>>())
            .bind(new().map(|order| order.order_time).collect::<Vec<_>>())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(claimed.into_iter().map(|first| if first { Effect::Applied } else { Effect::Duplicate }).collect())
    }
}

#[async_trait]
impl Handler for Shop {
    fn name(&self) -> &'static str {
        CONSUMER
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::OrderCreate]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        let mut stopped = std::collections::HashSet::new();
        let mut results = Vec::with_capacity(batch.len());
        let mut orders = Vec::new();
        for message in batch {
            let order: OrderCreate = message.decode().unwrap();
            results.push(match stopped.contains(&message.waiting_key) {
                true => Err(HandleError::Behind),
                false => self.trouble(&order).map(|()| Effect::Applied),
            });
            match results.last() {
                Some(Ok(_)) => orders.push((message.message_id, order)),
                _ => drop(stopped.insert(message.waiting_key.clone())),
            }
        }
        let mut applied = match self.apply(&orders).await {
            Ok(applied) => applied.into_iter(),
            Err(error) => return vec![Err(HandleError::Transient(error.to_string())); batch.len()],
        };
        results.into_iter().map(|result| result.map(|_| applied.next().unwrap())).collect()
    }
}

/// Every message by its place: which order it is of, and what is wrong with it (0: nothing). Each order's are numbered by it.
fn plan() -> Vec<(usize, i64)> {
    let troubled = ORDERS - WELL_ORDERS;
    let poisoned = (0..POISONED).map(|n| (n % troubled, 1 + (n % troubled % 3) as i64));
    let mut plan: Vec<(usize, i64)> = (0..GOOD).map(|n| (n % ORDERS, 9)).collect();
    // One in eleven is poisoned, beginning with the second round, so that something good comes before.
    for (n, message) in poisoned.enumerate() {
        plan.insert(ORDERS / 2 + n * 9, message);
    }
    plan
}

fn order_id(order: usize) -> OrderId {
    OrderId::parse(&format!("ORD20241201{order:04}")).unwrap()
}

fn order_create(order: usize, user: i64, number: i64) -> OutgoingMessage {
    let data = OrderCreate {
        order_id: order_id(order),
        user_id: user.try_into().unwrap(),
        show_id: 1.try_into().unwrap(),
        ticket_type_id: (1 + number % 50).try_into().unwrap(),
        quantity: Quantity::try_from(2).unwrap(),
        total_amount: Money::parse("299.00").unwrap(),
        order_time: number,
        expire_time: number,
    };
    outgoing(Uuid::now_v7(), &data)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_poisoned_among_ten_thousand_good_are_grouped_and_redriven_in_order_none_twice() {
    let broker_process = EmbeddedBroker::start();
    let broker: Arc<dyn Broker> = Arc::new(connect(&broker_process.name_server()));
    let database = tokio::task::spawn_blocking(embedded_postgres::testing::database).await.unwrap();
    let pool = PgPoolOptions::new().max_connections(12).connect(&database.url).await.unwrap();
    event_store::migrate(&pool).await.unwrap();
    sqlx::query("CREATE TABLE effect (id bigserial PRIMARY KEY, order_id text NOT NULL, number bigint NOT NULL)")
        .execute(&pool)
        .await
        .unwrap();
    let topic = Topic::OrderCreate.name();
    until("the topic is made", async || broker.create_topics(&[topic], QUEUES_PER_TOPIC).await.is_ok()).await;

    let plan = plan();
    let mut numbers: BTreeMap<usize, i64> = BTreeMap::new();
    let mut number_of = |order| *numbers.entry(order).and_modify(|number| *number += 1).or_insert(1);
    let messages: Vec<OutgoingMessage> =
        plan.iter().map(|(order, user)| order_create(*order, *user, number_of(*order))).collect();
    assert_eq!(messages.len(), GOOD + POISONED);
    send_all(&*broker, messages).await;

    let shop = Arc::new(Shop { pool: pool.clone(), mended: AtomicBool::new(false) });
    let config =
        RuntimeConfig { max_attempts: 2, backoff_initial_ms: 1, backoff_max_ms: 10, ..RuntimeConfig::default() };
    let group = messaging::consumer_group(&config.consumer_group, CONSUMER);
    let consumer = ConsumerRuntime::new(broker.clone(), pool.clone(), shop.clone(), config);
    let stop = CancellationToken::new();
    let consuming = tokio::spawn(consumer.run(stop.clone()));
    until("everything is applied or a dead letter", async || broker.lag(&group, topic).await == Ok(Some(0))).await;

    // The good orders went on in their order; those with a poisoned message wait from it on.
    let mut expected = expected_of(&plan);
    let effects = effects(&pool).await;
    for (order, (all, before_poison)) in &expected {
        let wanted = if *order < ORDERS - WELL_ORDERS { before_poison } else { all };
        assert_eq!(effects.get(order_id(*order).as_str()).cloned().unwrap_or_default(), *wanted, "order {order}");
    }
    let waiting: usize = expected.values().map(|(all, before)| all.len() - before.len()).sum();
    assert_eq!(dead_letter::count(&pool, CONSUMER).await.unwrap() as usize, waiting);

    let groups = dead_letter::groups(&pool, &Filter::default()).await.unwrap();
    let mut causes: Vec<&str> = groups.iter().map(|group| group.cause.as_str()).collect();
    causes.sort_unstable();
    assert_eq!(
        causes,
        [
            "failed: there is no ticket type N",
            "poison: missing field `seat` at line N column N",
            "poison: order ID: version … is not known",
        ]
    );
    assert_eq!(groups.iter().map(|group| group.dead + group.behind).sum::<i64>() as usize, waiting);
    assert_eq!(groups.iter().map(|group| group.dead).sum::<i64>() as usize, ORDERS - WELL_ORDERS);

    // Mended, each cause is redriven while messages of all orders arrive, of those that wait too.
    shop.mended.store(true, Ordering::Relaxed);
    let handlers: [Arc<dyn Handler>; 1] = [shop.clone()];
    let runner = RedriveRunner::new(pool.clone(), handlers, RedriveConfig::default(), "w".into());
    let mut delivered = 0;
    for cause in causes {
        let selection = Selection { cause: Some(cause.to_owned()), ..Selection::default() };
        let plan = redrives::plan(&pool, &selection).await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        let redrive = redrives::start(&mut transaction, &selection, 10_000, "alice").await.unwrap();
        transaction.commit().await.unwrap();
        assert!(redrive.selected >= plan.messages && redrive.keys == plan.keys, "{cause}: {plan:?} {redrive:?}");
        let arrivals: Vec<OutgoingMessage> = expected
            .iter_mut()
            .step_by(2)
            .map(|(order, (all, _))| {
                let number = number_of(*order);
                all.push(number);
                order_create(*order, 9, number)
            })
            .collect();
        let (carried_out, ()) = tokio::join!(runner.step(), send_all(&*broker, arrivals));
        assert!(carried_out.unwrap());
        let done = redrives::find(&pool, redrive.redrive_id).await.unwrap();
        assert_eq!((done.state.as_str(), done.delivered, done.stopped_keys), ("done", done.selected, 0), "{cause}");
        assert!(done.delivered >= plan.messages, "{cause}: {plan:?} {done:?}");
        delivered += done.delivered;
    }
    assert!(delivered as usize >= waiting);
    until("what came meanwhile is applied", async || broker.lag(&group, topic).await == Ok(Some(0))).await;

    assert_eq!(dead_letter::count(&pool, CONSUMER).await.unwrap(), 0, "nothing is left undelivered");
    let effects = self::effects(&pool).await;
    for (order, (all, _)) in &expected {
        assert_eq!(effects[order_id(*order).as_str()], *all, "order {order}: each once and in order");
    }
    stop.cancel();
    consuming.await.unwrap();
    broker.close().await;
}

/// The numbers of each order, and those before its first poisoned message.
fn expected_of(plan: &[(usize, i64)]) -> BTreeMap<usize, (Vec<i64>, Vec<i64>)> {
    let mut expected: BTreeMap<usize, (Vec<i64>, Vec<i64>)> = BTreeMap::new();
    let mut poisoned = std::collections::HashSet::new();
    for (order, user) in plan {
        let (all, before_poison) = expected.entry(*order).or_default();
        all.push(all.len() as i64 + 1);
        if *user != 9 {
            poisoned.insert(*order);
        }
        if !poisoned.contains(order) {
            before_poison.push(all.len() as i64);
        }
    }
    expected
}

/// The numbers applied of each order, in the order they were.
async fn effects(pool: &PgPool) -> BTreeMap<String, Vec<i64>> {
    let rows: Vec<(String, Vec<i64>)> =
        sqlx::query_as("SELECT order_id, array_agg(number ORDER BY id) FROM effect GROUP BY order_id")
            .fetch_all(pool)
            .await
            .unwrap();
    rows.into_iter().collect()
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
