//! The storm: more buyers than tickets, repeated requests, and processes that die in the middle.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Client, Instance};

const ORDERS: usize = 2_000;
const BUYERS: usize = 64;
const CAPACITY: u32 = 1_500;
const TICKET_TYPE: i64 = 2001;
/// Every twentieth order is sent twice, under the same key.
const REPEATED_EVERY: usize = 20;
const DECIDED_WITHIN: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn sold_exactly_what_there_was() {
    let instance = Instance::start(&[]);
    let statuses = storm(&instance).await;
    assert_sold_out(&instance, &statuses).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_while_relay_and_processors_are_killed_three_times() {
    let instance = Arc::new(Instance::start(&[]));
    let done = Arc::new(AtomicBool::new(false));
    let killer = {
        let (instance, done) = (instance.clone(), done.clone());
        std::thread::spawn(move || {
            let mut kills = 0;
            while kills < 3 {
                std::thread::sleep(Duration::from_millis(800));
                instance.kill_and_await_restart("relay");
                instance.kill_and_await_restart("process");
                kills += 1;
            }
            assert!(!done.load(Ordering::SeqCst), "the storm was over before the third kill");
        })
    };
    let statuses = storm(&instance).await;
    done.store(true, Ordering::SeqCst);
    tokio::task::spawn_blocking(move || killer.join().unwrap()).await.unwrap();
    assert_sold_out(&instance, &statuses).await;
}

/// Places every order and pays for what was granted; gives each order's final status.
async fn storm(instance: &Instance) -> HashMap<String, String> {
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, CAPACITY).await;
    let since = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let buyers: Vec<_> = (0..BUYERS).map(|_| tokio::spawn(buy(client.clone(), next.clone()))).collect();
    let mut statuses = HashMap::new();
    for buyer in buyers {
        statuses.extend(buyer.await.unwrap());
    }
    println!("{ORDERS} orders end to end: {:.0}/s", ORDERS as f64 / since.elapsed().as_secs_f64());
    statuses
}

async fn buy(client: Client, next: Arc<AtomicUsize>) -> Vec<(String, String)> {
    let mut bought = Vec::new();
    loop {
        let n = next.fetch_add(1, Ordering::SeqCst);
        if n >= ORDERS {
            return bought;
        }
        let (key, user) = (format!("buyer-{n}"), 1 + n as i64);
        let body = json!({"userId": user, "showId": 1001, "ticketTypeId": TICKET_TYPE, "quantity": 1});
        let placed = client.post_until_answered("/v1/orders", &key, body.clone()).await;
        // Async; or sync, decided at once, should the broker seem to be away for a moment.
        assert!([202, 201, 409].contains(&placed.status), "{placed:?}");
        if n.is_multiple_of(REPEATED_EVERY) {
            let again = client.post_until_answered("/v1/orders", &key, body).await;
            assert_eq!(again.body, placed.body, "a repeated key answers as the first time");
        }
        let order = placed.body["orderId"].as_str().unwrap().to_owned();
        let mut status = client.await_status(&order, &["AWAITING_PAYMENT", "REJECTED"], DECIDED_WITHIN).await;
        if status == "AWAITING_PAYMENT" {
            let paid = client.pay(&order, "ALIPAY").await;
            assert!([202, 201].contains(&paid.status), "{paid:?}");
            status = client.await_status(&order, &["CONFIRMED"], DECIDED_WITHIN).await;
        }
        bought.push((order, status));
    }
}

async fn assert_sold_out(instance: &Instance, statuses: &HashMap<String, String>) {
    let count = |status: &str| statuses.values().filter(|found| *found == status).count();
    assert_eq!(statuses.len(), ORDERS, "a repeated key made a second order, or one was lost");
    assert_eq!(count("CONFIRMED"), CAPACITY as usize);
    assert_eq!(count("REJECTED"), ORDERS - CAPACITY as usize);
    let stock = instance.client().stock(TICKET_TYPE).await;
    assert_eq!((&stock["available"], &stock["locked"], &stock["sold"]), (&0.into(), &0.into(), &CAPACITY.into()));
    instance.assert_settled();
}
