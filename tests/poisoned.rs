//! A thousand poisoned messages among ten thousand good ones in the whole system: the binary's own processes, Postgres and broker.
//! They are found, mended and redriven over REST and by the command line, while more messages arrive.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use chrono::NaiveDate;
use domain::{Fulfilment, FulfilmentCommand, LockId, OrderId, Quantity, TicketTypeId};
use event_store::{Command, Ledger, LedgerConfig, Metadata};
use futures_util::{StreamExt, stream};
use messaging::OutgoingMessage;
use messaging::message::StockRollback;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use support::messages::{connect, outgoing, send_all};
use support::{Client, Instance, eventually};
use uuid::Uuid;

/// For all of it, on two processors that others use too.
const IN_TIME: Duration = Duration::from_secs(400);
const GOOD: usize = 10_000;
/// One in an order, so that each is a dead letter of its own and none waits behind another.
const POISONED: usize = 1_000;
const WELL_ORDERS: usize = 200;
/// On sale from the beginning, and not.
const ON_SALE: i64 = 6_001;
const NOT_YET: i64 = 5_001;
const TICKET_TYPES: usize = 20;
const EDITS_AT_ONCE: usize = 8;

const UNSUPPORTED: &str = "poison: version … is not supported, only 1.x is";
const UNREADABLE: &str =
    "poison: data is none of STOCK_ROLLBACK: invalid value: integer …, expected u32 at line N column N";
const NOT_ON_SALE: &str = "failed: rejected: not_on_sale";

/// What is wrong with an order's poisoned message.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    NotOnSale,
    Version,
    Body,
}

fn trouble_of(order: usize) -> Option<Trouble> {
    (order < POISONED).then(|| [Trouble::NotOnSale, Trouble::Version, Trouble::Body][order % 3])
}

/// Where its poisoned message stands among an order's. Of a ticket type that is not on sale nothing can be applied.
fn poisoned_number(order: usize) -> Option<usize> {
    Some(if trouble_of(order)? == Trouble::NotOnSale { 1 } else { 9 })
}

/// How many messages each order has. Those with trouble have two behind the poisoned one, the others share what is left.
fn plan() -> Vec<usize> {
    let mut messages: Vec<usize> = (0..POISONED).map(|order| poisoned_number(order).unwrap() + 2).collect();
    let left = GOOD + POISONED - messages.iter().sum::<usize>();
    messages.extend((0..WELL_ORDERS).map(|order| left / WELL_ORDERS + usize::from(order < left % WELL_ORDERS)));
    messages
}

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 12, 1).unwrap()
}

fn order_id(order: usize) -> OrderId {
    OrderId::on(day(), order as u128)
}

fn ticket_type(order: usize) -> TicketTypeId {
    let first = if trouble_of(order) == Some(Trouble::NotOnSale) { NOT_YET } else { ON_SALE };
    (first + (order % TICKET_TYPES) as i64).try_into().unwrap()
}

fn lock_id(order: usize, number: usize) -> LockId {
    LockId::on(day(), (order * 1_000 + number) as u128)
}

/// Rolls a lock back that never was: it is remembered in the ledger, once.
fn rollback(order: usize, number: usize) -> OutgoingMessage {
    let data = StockRollback {
        lock_id: lock_id(order, number),
        order_id: order_id(order),
        ticket_type_id: ticket_type(order),
        quantity: Quantity::try_from(2).unwrap(),
        reason: "test".into(),
        rollback_time: 1,
    };
    let mut message = outgoing(Uuid::now_v7(), &data);
    if poisoned_number(order) == Some(number) {
        message.body = match trouble_of(order) {
            Some(Trouble::Version) => message.body.replace("\"1.0\"", &format!("\"9.{number}\"")),
            Some(Trouble::Body) => message.body.replace("\"quantity\":2", "\"quantity\":-2"),
            _ => message.body,
        };
    }
    message
}

fn mended(body: &str) -> String {
    body.replace("\"9.9\"", "\"1.0\"").replace("\"quantity\":-2", "\"quantity\":2")
}

/// Their sagas, as if they had been placed: stock asks for no more.
async fn begin_orders(pool: &PgPool) {
    let ledger = Ledger::start(pool.clone(), LedgerConfig::default()).await.unwrap();
    let begun = (0..POISONED + WELL_ORDERS).map(|order| {
        let id = order_id(order).to_string();
        let begin = FulfilmentCommand::Begin {
            order_id: order_id(order),
            ticket_type_id: ticket_type(order),
            quantity: Quantity::try_from(2).unwrap(),
            lock_id: lock_id(order, 0),
        };
        let command = Command::new(Metadata::default()).begin::<Fulfilment>(&id);
        ledger.submit(command, move |uow| uow.handle::<Fulfilment>(&id, begin.clone()).map(drop))
    });
    for outcome in futures_util::future::join_all(begun).await {
        outcome.unwrap();
    }
    ledger.close().await;
}

/// What was applied of each order, in the ledger's order.
async fn applied(pool: &PgPool) -> BTreeMap<usize, Vec<usize>> {
    let locks: Vec<String> = sqlx::query_scalar(
        "SELECT payload ->> 'lockId' FROM store.events WHERE type = 'StockRollbackRemembered' ORDER BY position",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut applied: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for lock in locks {
        let number: usize = lock["LOCK20241201".len()..].parse().unwrap();
        applied.entry(number / 1_000).or_default().push(number % 1_000);
    }
    applied
}

async fn applied_messages(pool: &PgPool) -> usize {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM store.events WHERE type = 'StockRollbackRemembered'")
        .fetch_one(pool)
        .await
        .unwrap();
    count as usize
}

struct World {
    instance: Instance,
    client: Client,
    pool: PgPool,
    name_server: String,
    /// How many messages of each order were sent.
    sent: Vec<usize>,
}

impl World {
    async fn start() -> World {
        let instance = Instance::start(&[("LEDGER__CONSUMER__MAX_ATTEMPTS", "2")]);
        let info = instance.info();
        let url = info["database_url"].as_str().unwrap();
        let pool = PgPoolOptions::new().max_connections(4).connect(url).await.unwrap();
        let name_server = info["name_server"].as_str().unwrap().to_owned();
        let world = World { client: instance.client(), instance, pool, name_server, sent: plan() };
        world.put_on_sale(ON_SALE).await;
        begin_orders(&world.pool).await;
        world
    }

    async fn put_on_sale(&self, first: i64) {
        for ticket_type in (first..).take(TICKET_TYPES) {
            self.client.put_on_sale(ticket_type, 1_000).await;
        }
    }

    /// Side by side, as a shop has them.
    async fn send_all(&self) {
        let rounds = 1..=*self.sent.iter().max().unwrap();
        let messages = rounds.flat_map(|number| {
            let of_round = self.sent.iter().enumerate().filter(move |(_, messages)| number <= **messages);
            of_round.map(move |(order, _)| rollback(order, number))
        });
        send_all(&connect(&self.name_server), messages).await;
    }

    /// One more of every second order, so of each trouble, of those that wait too.
    fn more(&mut self) -> Vec<OutgoingMessage> {
        let orders = self.sent.iter_mut().enumerate().step_by(2);
        orders
            .map(|(order, messages)| {
                *messages += 1;
                rollback(order, *messages)
            })
            .collect()
    }

    async fn groups(&self) -> Vec<Value> {
        let groups = self.client.get("/v1/admin/dead-letters/groups?consumer=stock").await;
        groups.body["items"].as_array().unwrap_or_else(|| panic!("{groups:?}")).clone()
    }

    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let waiting = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let waited = tokio::time::timeout(IN_TIME, waiting).await;
        assert!(
            waited.is_ok(),
            "{what} in vain: {} applied, {:?}",
            applied_messages(&self.pool).await,
            self.groups().await
        );
    }

    fn redriving(&self, arguments: &[&str]) -> Child {
        let arguments = [&["dead-letters", "--json", "redrive"], arguments].concat();
        self.instance.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Letters that failed of this, by their ids.
    async fn dead_of(&self, cause: &str) -> Vec<i64> {
        let mut after = 0;
        let mut ids = Vec::new();
        loop {
            let path = format!("/v1/admin/dead-letters?consumer=stock&state=dead&limit=500&after={after}");
            let page = self.client.get(&path).await.body;
            let letters = page["items"].as_array().unwrap();
            ids.extend(
                letters.iter().filter(|letter| letter["cause"] == cause).map(|letter| letter["id"].as_i64().unwrap()),
            );
            match page["next"].as_str() {
                Some(next) => after = next.parse().unwrap(),
                None => return ids,
            }
        }
    }

    /// Reads a letter, mends its body and has its key applied.
    async fn edit_and_redrive(&self, id: i64) -> i64 {
        let letter = self.client.get(&format!("/v1/admin/dead-letters/{id}")).await.body;
        let edit = json!({"body": mended(letter["body"].as_str().unwrap()), "reason": "an old sender"});
        let redriven = self.client.post(&format!("/v1/admin/dead-letters/{id}/redrive"), None, edit).await;
        assert_eq!((redriven.status, &redriven.body["stoppedAt"]), (200, &Value::Null), "{redriven:?}");
        redriven.body["delivered"].as_i64().unwrap()
    }
}

fn said(child: Child) -> (Value, i32) {
    let output = child.wait_with_output().unwrap();
    let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (said, output.status.code().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_poisoned_among_ten_thousand_good_are_mended_and_redriven_in_order_none_twice() {
    let mut world = World::start().await;
    world.send_all().await;
    // Of an order with trouble, what came before it is applied; the rest waits.
    let before = |order: usize, sent: usize| poisoned_number(order).map_or(sent, |number| number - 1);
    let free: usize = world.sent.iter().enumerate().map(|(order, sent)| before(order, *sent)).sum();
    let total = GOOD + POISONED;
    world
        .until("all others are applied, these are dead letters", async || {
            let groups = world.groups().await;
            let letters: i64 =
                groups.iter().flat_map(|group| [&group["dead"], &group["behind"]]).flat_map(Value::as_i64).sum();
            letters as usize + free == total && applied_messages(&world.pool).await == free
        })
        .await;
    let so_far = applied(&world.pool).await;
    for (order, sent) in world.sent.iter().enumerate() {
        let wanted: Vec<usize> = (1..=before(order, *sent)).collect();
        assert_eq!(so_far.get(&order).cloned().unwrap_or_default(), wanted, "order {order}");
    }
    let mut groups: Vec<(String, i64, i64)> = world
        .groups()
        .await
        .iter()
        .map(|group| {
            (
                group["cause"].as_str().unwrap().into(),
                group["dead"].as_i64().unwrap(),
                group["behind"].as_i64().unwrap(),
            )
        })
        .collect();
    groups.sort();
    let group = |cause: &str, keys| (cause.to_owned(), keys, 2 * keys);
    assert_eq!(groups, [group(NOT_ON_SALE, 334), group(UNREADABLE, 333), group(UNSUPPORTED, 333)]);

    // One cause lies outside the messages: once it is mended, all of it is redriven, after a look.
    world.put_on_sale(NOT_YET).await;
    let of_cause = ["--consumer", "stock", "--cause", NOT_ON_SALE];
    let (plan, code) = said(world.redriving(&[&["--dry-run"][..], &of_cause].concat()));
    assert_eq!((&plan["messages"], &plan["keys"], code), (&json!(3 * 334), &json!(334), 0), "{plan}");
    let wanted = json!({"filter": {"consumer": "stock", "cause": NOT_ON_SALE}, "dryRun": true});
    assert_eq!(world.client.post("/v1/admin/redrives", None, wanted).await.body, plan, "REST says the same");
    let redriving = world.redriving(&[&["--rate", "10000"][..], &of_cause].concat());
    let more = world.more();
    send_all(&connect(&world.name_server), more).await;
    let (redriven, code) = tokio::task::spawn_blocking(|| said(redriving)).await.unwrap();
    assert_eq!((&redriven["state"], &redriven["stoppedKeys"], code), (&json!("done"), &json!(0), 0), "{redriven}");
    assert!(redriven["delivered"].as_i64() >= plan["messages"].as_i64(), "{redriven}");
    assert_eq!(redriven["delivered"], redriven["selected"], "{redriven}");

    // The others are wrong themselves: each is edited, and its key goes on.
    for cause in [UNSUPPORTED, UNREADABLE] {
        let ids = world.dead_of(cause).await;
        assert_eq!(ids.len(), 333, "{cause}");
        let more = world.more();
        let broker = connect(&world.name_server);
        let world = &world;
        let edits = stream::iter(ids).map(|id| world.edit_and_redrive(id)).buffer_unordered(EDITS_AT_ONCE);
        let (delivered, ()) = tokio::join!(edits.collect::<Vec<i64>>(), send_all(&broker, more));
        assert!(delivered.iter().all(|delivered| *delivered >= 3), "{cause}: {delivered:?}");
        assert!(delivered.iter().any(|delivered| *delivered > 3), "{cause}: what came meanwhile waited too");
    }

    let total: usize = world.sent.iter().sum();
    world.until("everything is applied", async || applied_messages(&world.pool).await >= total).await;
    world.until("no letter is left", async || world.groups().await.is_empty()).await;
    let applied = applied(&world.pool).await;
    for (order, sent) in world.sent.iter().enumerate() {
        assert_eq!(applied[&order], (1..=*sent).collect::<Vec<_>>(), "order {order}: each once and in order");
    }
    eventually("nothing is on its way", IN_TIME, || {
        let lag: Value = serde_json::from_slice(&world.instance.run(&["lag", "--json"]).stdout).ok()?;
        (lag["outbox"]["pendingMessages"] == 0).then_some(())
    });
    assert_eq!(applied_messages(&world.pool).await, total, "none twice");
}
