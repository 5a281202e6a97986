//! Orders under load while they are switched from one mode to the other and back, by hand, by a ramp, and by a broker that
//! dies: none is lost, and every one ends in the mode it was begun in.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::broker::Broker;
use support::{Client, Instance};

const SOON: Duration = Duration::from_secs(60);
const TICKET_TYPE: i64 = 2001;
const CAPACITY: u32 = 100_000;
const BUYERS: usize = 6;
/// So many orders are placed at each percentage before the next.
const ORDERS_A_PHASE: usize = 40;
/// Every fifth order is not paid.
const UNPAID_EVERY: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switching_under_load_loses_nothing_and_the_report_shows_both_cohorts() {
    let instance = Instance::start(&[]);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, CAPACITY).await;
    set(&instance, &["--async-percent", "0"]);

    let load = Load::start(&client);
    for percent in [0, 10, 50, 100, 50, 10, 0] {
        set(&instance, &["--async-percent", &percent.to_string()]);
        in_force(&client).await;
        let (before, placed) = (load.modes(), load.placed());
        load.await_orders(placed + ORDERS_A_PHASE).await;
        let (asynchronous, synchronous) = since(before, load.modes());
        // Those under way at the switch may still belong to the phase before.
        match percent {
            0 => assert!(asynchronous <= BUYERS && synchronous > 0, "{asynchronous} async orders at 0 %"),
            100 => assert!(synchronous <= BUYERS && asynchronous > 0, "{synchronous} sync orders at 100 %"),
            _ => {}
        }
    }
    let ramp = ["rollout", "ramp", "--to", "100", "--step", "50", "--every", "2s", "--json"];
    let ramped =
        tokio::task::block_in_place(|| instance.run(&[&ramp[..], &["--guard", "accept-p95-ms=30000"]].concat()));
    let steps = String::from_utf8(ramped.stdout).unwrap();
    assert!(ramped.status.success(), "{steps}");
    assert!(steps.trim_end().ends_with(r#"{"step":"done","at":100}"#), "{steps}");

    let orders = load.stop().await;
    assert!(orders.len() > 7 * ORDERS_A_PHASE);
    let mut confirmed = 0;
    for Bought { order, mode, is_paid } in &orders {
        let expected = if *is_paid { "CONFIRMED" } else { "AWAITING_PAYMENT" };
        let answer = client.get(&format!("/v1/orders/{order}")).await;
        assert_eq!((&answer.body["status"], &answer.body["mode"]), (&json!(expected), mode), "{order}");
        confirmed += i64::from(*is_paid);
    }
    let stock = client.stock(TICKET_TYPE).await;
    let unpaid = orders.len() as i64 - confirmed;
    assert_eq!((&stock["sold"], &stock["locked"]), (&json!(confirmed), &json!(unpaid)), "{stock}");
    instance.assert_settled();
    assert_report_shows(&instance, &orders);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_new_orders_are_sync_and_with_it_they_are_async_again() {
    let mut broker = Broker::start();
    let name_server = broker.name_server();
    let instance = Instance::start(&[
        ("LEDGER__ROCKETMQ__NAME_SERVER", &name_server),
        ("LEDGER__ROLLOUT__RECOVER_AFTER_SECONDS", "2"),
    ]);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, CAPACITY).await;
    let (order, mode) = place(&client).await;
    assert_eq!(mode, "async");
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;

    broker.kill();
    let killed = Instant::now();
    let mut waiting = place_until(&client, "sync", Duration::from_secs(15)).await;
    println!("sync {} ms after the broker died, {} orders wait for it", killed.elapsed().as_millis(), waiting.len());
    for _ in 0..5 {
        let (order, mode) = place(&client).await;
        assert_eq!((mode.as_str(), client.status(&order).await.as_str()), ("sync", "AWAITING_PAYMENT"));
        let paid = client.pay(&order, "ALIPAY").await;
        assert_eq!((paid.status, client.status(&order).await.as_str()), (201, "CONFIRMED"), "{paid:?}");
    }
    let metrics = client.metrics().await;
    assert!(metrics.contains("\nledger_rollout_fallback_active 1\n"), "{metrics}");
    assert!(metrics.contains("\nledger_circuit_state{dependency=\"broker\"} 2\n"), "{metrics}");

    broker.up();
    waiting.extend(place_until(&client, "async", SOON).await);
    for order in &waiting {
        client.await_status(order, &["AWAITING_PAYMENT"], SOON).await;
    }
    instance.assert_settled();
    let shown: Value = serde_json::from_slice(&instance.run(&["rollout", "get", "--json"]).stdout).unwrap();
    assert_eq!((&shown["isFallbackActive"], &shown["fallbackReason"]), (&json!(false), &json!("healthy_again")));
}

fn set(instance: &Instance, flags: &[&str]) {
    let output = instance.run(&[&["rollout", "set"], flags].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until the process that answers follows the last change.
async fn in_force(client: &Client) {
    let since = Instant::now();
    loop {
        let status = client.get("/v1/admin/rollout/status").await.body;
        if status["version"].is_number() && status["version"] == status["inForceVersion"] {
            return;
        }
        assert!(since.elapsed() < SOON, "{status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn place(client: &Client) -> (String, String) {
    let body = json!({"userId": 1, "showId": 1001, "ticketTypeId": TICKET_TYPE, "quantity": 1});
    let placed = client.post("/v1/orders", Some(&uuid::Uuid::new_v4().to_string()), body).await;
    assert!([201, 202].contains(&placed.status), "{placed:?}");
    let text = |member: &str| placed.body[member].as_str().unwrap().to_owned();
    (text("orderId"), text("mode"))
}

/// Places orders until one has this mode; gives all of them.
async fn place_until(client: &Client, wanted: &str, limit: Duration) -> Vec<String> {
    let since = Instant::now();
    let mut orders = Vec::new();
    loop {
        let (order, mode) = place(client).await;
        orders.push(order);
        if mode == wanted {
            return orders;
        }
        assert!(since.elapsed() < limit, "no {wanted} order within {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn since(before: (usize, usize), now: (usize, usize)) -> (usize, usize) {
    (now.0 - before.0, now.1 - before.1)
}

fn assert_report_shows(instance: &Instance, orders: &[Bought]) {
    let placed = |mode: &str| orders.iter().filter(|bought| bought.mode == mode).count();
    let report: Value = serde_json::from_slice(&instance.run(&["rollout", "report", "--json"]).stdout).unwrap();
    for mode in ["async", "sync"] {
        let cohort = &report["cohorts"][mode];
        assert_eq!(cohort["count"], json!(placed(mode)), "{report}");
        assert_eq!(
            (&cohort["undecided"], &cohort["refusalRate"], &cohort["failureRate"]),
            (&json!(0), &json!(0.0), &json!(0.0))
        );
        for measure in ["acceptLatencyMs", "timeToDecisionMs"] {
            assert!(cohort[measure]["p99"].as_f64().unwrap() > 0.0, "{report}");
        }
    }
    let differences = report["differences"].as_array().unwrap();
    assert!(differences.iter().all(|difference| difference["pValue"].is_number()), "{report}");
    println!("{}", String::from_utf8_lossy(&instance.run(&["rollout", "report"]).stdout));
}

struct Bought {
    order: String,
    mode: Value,
    is_paid: bool,
}

/// Buyers who place and pay until they are stopped.
struct Load {
    is_over: Arc<AtomicBool>,
    counts: Arc<Counts>,
    buyers: Vec<tokio::task::JoinHandle<Vec<Bought>>>,
}

#[derive(Default)]
struct Counts {
    next: AtomicUsize,
    asynchronous: AtomicUsize,
    synchronous: AtomicUsize,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (is_over, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let buyers = (0..BUYERS).map(|_| tokio::spawn(buy(client.clone(), is_over.clone(), counts.clone()))).collect();
        Self { is_over, counts, buyers }
    }

    /// Async, sync.
    fn modes(&self) -> (usize, usize) {
        (self.counts.asynchronous.load(Ordering::SeqCst), self.counts.synchronous.load(Ordering::SeqCst))
    }

    fn placed(&self) -> usize {
        let (asynchronous, synchronous) = self.modes();
        asynchronous + synchronous
    }

    async fn await_orders(&self, count: usize) {
        let since = Instant::now();
        while self.placed() < count {
            assert!(since.elapsed() < SOON, "{} of {count} orders", self.placed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stop(self) -> Vec<Bought> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut bought = Vec::new();
        for buyer in self.buyers {
            bought.extend(buyer.await.unwrap());
        }
        bought
    }
}

async fn buy(client: Client, is_over: Arc<AtomicBool>, counts: Arc<Counts>) -> Vec<Bought> {
    let mut all = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let n = counts.next.fetch_add(1, Ordering::SeqCst);
        let body = json!({"userId": 1 + n, "showId": 1001, "ticketTypeId": TICKET_TYPE, "quantity": 1});
        let placed = client.post_until_answered("/v1/orders", &format!("buyer-{n}"), body).await;
        let is_sync = placed.body["mode"] == "sync";
        assert_eq!(placed.status, if is_sync { 201 } else { 202 }, "{placed:?}");
        let count = if is_sync { &counts.synchronous } else { &counts.asynchronous };
        count.fetch_add(1, Ordering::SeqCst);
        let order = placed.body["orderId"].as_str().unwrap().to_owned();
        client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
        let is_paid = !n.is_multiple_of(UNPAID_EVERY);
        if is_paid {
            let paid = client.pay(&order, "ALIPAY").await;
            assert!([201, 202].contains(&paid.status), "{paid:?}");
            client.await_status(&order, &["CONFIRMED"], SOON).await;
        }
        all.push(Bought { order, mode: placed.body["mode"].clone(), is_paid });
    }
    all
}
