//! Many dead letters on a real Postgres and a real broker, through the real consumer loop and runner, with a handler of the test's
//! own, whose troubles can be chosen; tests/poisoned.rs does the same with the binary alone.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Money, OrderId, Quantity};
use messaging::dead_letter::redrives::runner::{RedriveConfig, RedriveRunner};
use messaging::dead_letter::redrives::{self, Selection};
use messaging::dead_letter::{self, Filter};
use messaging::message::OrderCreate;
use messaging::{
    Broker, ConsumerRuntime, Effect, HandleError, Handler, OutgoingMessage, QUEUES_PER_TOPIC, ReceivedMessage,
    RuntimeConfig, Topic, inbox,
};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use support::broker::Broker as EmbeddedBroker;
use support::messages::{connect, outgoing, send_all};
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
    // The broker counts a message a moment after it has confirmed it.
    let wanted: usize = expected.values().map(|(all, _)| all.len()).sum();
    until("what came meanwhile is applied", async || {
        let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM effect").fetch_one(&pool).await.unwrap();
        applied as usize >= wanted && broker.lag(&group, topic).await == Ok(Some(0))
    })
    .await;

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
