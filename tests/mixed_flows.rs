//! A thousand orders that take every way an order can go, in both modes, drawn from a seed: all come to an end, and the
//! money is that of the confirmed ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use support::provider::callback;
use support::{Client, Instance};

const SEED: u64 = 20_231_225;
const ORDERS: usize = 1_000;
const BUYERS: usize = 48;
/// Fewer than are asked for, so that some orders are refused, and some late captures find nothing left.
const CAPACITY: u32 = 800;
const TICKET_TYPE: i64 = 2001;
const EXPIRE_AFTER_SECONDS: u64 = 40;
const LOCK_TIME_SECONDS: u64 = 25;
/// A silent provider is asked, and given up while the order lives: it may be paid again until it expires.
const GIVE_UP_AFTER_SECONDS: u64 = 8;
const DECIDED_WITHIN: Duration = Duration::from_secs(120);
/// After the last deadline.
const ENDED_WITHIN: Duration = Duration::from_secs(120);
const ENDS: [&str; 5] = ["CONFIRMED", "REJECTED", "CANCELLED", "EXPIRED", "REFUNDED"];

/// What a buyer does with an order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flow {
    Pay,
    Decline,
    DeclineThenPay,
    /// The provider never says anything.
    Silence,
    CancelAtOnce,
    CancelWhilePaying,
    /// Nobody pays.
    Expire,
    /// The provider says that it has the money when the order is over.
    LateCallback,
    LateCallbackAfterCancel,
}

impl Flow {
    fn draw(random: &mut StdRng) -> Self {
        match random.random_range(0..20) {
            0..8 => Flow::Pay,
            8 => Flow::Decline,
            9 | 10 => Flow::DeclineThenPay,
            11 => Flow::Silence,
            12 | 13 => Flow::CancelAtOnce,
            14 => Flow::CancelWhilePaying,
            15 | 16 => Flow::Expire,
            17 | 18 => Flow::LateCallback,
            _ => Flow::LateCallbackAfterCancel,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_orders_of_every_kind_come_to_an_end_and_the_money_adds_up() {
    let seconds = |value: u64| value.to_string();
    let instance = Arc::new(Instance::start(&[
        ("LEDGER__ORDER__EXPIRE_AFTER_SECONDS", &seconds(EXPIRE_AFTER_SECONDS)),
        ("LEDGER__STOCK__LOCK_TIME_SECONDS", &seconds(LOCK_TIME_SECONDS)),
        ("LEDGER__PAYMENT__QUERY_AFTER_SECONDS", "2"),
        ("LEDGER__PAYMENT__GIVE_UP_AFTER_SECONDS", &seconds(GIVE_UP_AFTER_SECONDS)),
    ]));
    instance.client().put_on_sale(TICKET_TYPE, CAPACITY).await;

    let started = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let database = Database::open(&instance).await;
    let buyer = |_| tokio::spawn(buy(instance.clone(), database.clone(), next.clone()));
    let buyers: Vec<_> = (0..BUYERS).map(buyer).collect();
    for buyer in buyers {
        buyer.await.unwrap();
    }
    println!("{ORDERS} orders under way after {:?}", started.elapsed());

    let last_deadline = Duration::from_secs(EXPIRE_AFTER_SECONDS);
    database.await_all_ended(last_deadline + ENDED_WITHIN).await;
    println!("all ended after {:?}", started.elapsed());
    instance.assert_settled();
    // Once more, now that the read model has caught up for certain.
    let ends = database.await_all_ended(ENDED_WITHIN).await;
    println!("{ends:?}");
    assert_eq!(ends.values().sum::<i64>(), ORDERS as i64);
    for end in ENDS {
        assert!(ends.contains_key(end), "no order ended {end}: {ends:?}");
    }
    for mode in ["async", "sync"] {
        assert!(database.count_confirmed(mode).await > 0, "no {mode} order was confirmed");
    }
    assert_eq!(database.captured_minus_refunded().await, database.value_of_confirmed().await);
}

async fn buy(instance: Arc<Instance>, database: Database, next: Arc<AtomicUsize>) {
    let client = instance.client();
    loop {
        let n = next.fetch_add(1, Ordering::SeqCst);
        if n >= ORDERS {
            return;
        }
        // By its number, so that the mix does not depend on who comes first.
        let mut random = StdRng::seed_from_u64(SEED + n as u64);
        let flow = Flow::draw(&mut random);
        let mode = if random.random_bool(0.5) { "async" } else { "sync" };
        let quantity = random.random_range(1..=2);
        Order { instance: &instance, database: &database, client: &client, n, mode, quantity }.go(flow).await;
    }
}

struct Order<'a> {
    instance: &'a Instance,
    database: &'a Database,
    client: &'a Client,
    n: usize,
    mode: &'static str,
    quantity: u32,
}

impl Order<'_> {
    async fn go(&self, flow: Flow) {
        let order = self.place().await;
        if flow == Flow::CancelAtOnce {
            return self.cancel(&order).await;
        }
        let decided = ["AWAITING_PAYMENT", "REJECTED", "EXPIRED"];
        if self.client.await_status(&order, &decided, DECIDED_WITHIN).await != "AWAITING_PAYMENT"
            || flow == Flow::Expire
        {
            return;
        }
        match flow {
            Flow::Pay => drop(self.pay(&order, "ALIPAY").await),
            Flow::Decline => drop(self.pay(&order, "SANDBOX_DECLINE").await),
            Flow::DeclineThenPay => {
                self.pay(&order, "SANDBOX_DECLINE").await;
                self.client.await_status(&order, &["AWAITING_PAYMENT", "EXPIRED"], DECIDED_WITHIN).await;
                self.pay(&order, "ALIPAY").await;
            }
            Flow::Silence => drop(self.pay(&order, "SANDBOX_SILENT").await),
            Flow::CancelWhilePaying => {
                self.pay(&order, "SANDBOX_SILENT").await;
                self.cancel(&order).await;
            }
            Flow::LateCallback => self.capture_late(&order, "EXPIRED").await,
            Flow::LateCallbackAfterCancel => self.capture_late(&order, "CANCELLED").await,
            Flow::Expire | Flow::CancelAtOnce => {}
        }
    }

    async fn place(&self) -> String {
        let user = 1 + self.n as i64;
        let body = json!({"userId": user, "showId": 1001, "ticketTypeId": TICKET_TYPE, "quantity": self.quantity});
        let key = format!("order-{}", self.n);
        let placed = self.client.in_mode(self.mode).post_until_answered("/v1/orders", &key, body).await;
        assert!([201, 202, 409].contains(&placed.status), "{placed:?}");
        placed.body["orderId"].as_str().unwrap_or_else(|| panic!("{placed:?}")).to_owned()
    }

    /// The payment, unless the order could not be paid any more.
    async fn pay(&self, order: &str, method: &str) -> Option<Value> {
        let paid = self.client.pay(order, method).await;
        assert!([201, 202, 402, 409].contains(&paid.status), "{paid:?}");
        (paid.status != 409).then_some(paid.body)
    }

    async fn cancel(&self, order: &str) {
        let key = format!("cancel-{}", self.n);
        let path = format!("/v1/orders/{order}/cancel");
        let cancelled = self.client.post_until_answered(&path, &key, json!({})).await;
        assert!([200, 202, 409].contains(&cancelled.status), "{cancelled:?}");
    }

    /// The provider takes the money and says so only when the order has ended. One that was never asked takes none.
    async fn capture_late(&self, order: &str, end: &str) {
        let Some(payment) = self.pay(order, "SANDBOX_SILENT").await else { return };
        if end == "CANCELLED" {
            self.cancel(order).await;
        }
        self.client.await_status(order, &["CANCELLED", "EXPIRED"], DECIDED_WITHIN).await;
        if self.database.capture_at_the_provider(payment["paymentId"].as_str().unwrap()).await {
            assert_eq!(callback(self.instance, &payment, "SUCCEEDED").await, 204, "{payment}");
        }
    }
}

/// What can be seen with SQL, independent of the code that is tested.
#[derive(Clone)]
struct Database(sqlx::PgPool);

impl Database {
    async fn open(instance: &Instance) -> Self {
        let url = instance.info()["database_url"].as_str().unwrap().to_owned();
        Self(sqlx::PgPool::connect(&url).await.unwrap())
    }

    /// Writes into the sandbox's books that it has the money; false where it does not know the payment.
    async fn capture_at_the_provider(&self, payment_id: &str) -> bool {
        let capture = "UPDATE processing.sandbox_payment SET status = 'SUCCEEDED' WHERE payment_id = $1";
        sqlx::query(capture).bind(payment_id).execute(&self.0).await.unwrap().rows_affected() == 1
    }

    /// How many orders ended how, once none is left at anything else.
    async fn await_all_ended(&self, timeout: Duration) -> BTreeMap<String, i64> {
        let since = Instant::now();
        loop {
            let statuses: Vec<(String, i64)> =
                sqlx::query_as("SELECT status, count(*) FROM read_models.orders GROUP BY status")
                    .fetch_all(&self.0)
                    .await
                    .unwrap();
            if statuses.iter().all(|(status, _)| ENDS.contains(&status.as_str())) {
                return statuses.into_iter().collect();
            }
            assert!(since.elapsed() < timeout, "after {timeout:?}: {statuses:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn count_confirmed(&self, mode: &str) -> i64 {
        let count = "SELECT count(*) FROM read_models.orders WHERE status = 'CONFIRMED' AND mode = $1";
        sqlx::query_scalar(count).bind(mode).fetch_one(&self.0).await.unwrap()
    }

    async fn value_of_confirmed(&self) -> String {
        let value = "SELECT coalesce(sum(total_amount), 0)::text FROM read_models.orders WHERE status = 'CONFIRMED'";
        sqlx::query_scalar(value).fetch_one(&self.0).await.unwrap()
    }

    async fn captured_minus_refunded(&self) -> String {
        sqlx::query_scalar(include_str!("support/captured_minus_refunded.sql")).fetch_one(&self.0).await.unwrap()
    }
}
