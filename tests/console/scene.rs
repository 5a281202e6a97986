//! A shop with something of everything: orders in several states and of both ways, letters that can be redriven, a redrive that
//! stopped, an order that hangs.

use std::time::Duration;

use api::auth::{Role, TokenKey, mint_token};
use domain::UserId;
use postgres::NoTls;
use serde_json::{Value, json};

use super::support::{Client, Instance, eventually, signal};

const SOON: Duration = Duration::from_secs(60);
pub const STALLS: i64 = 2001;
pub const BALCONY: i64 = 2002;
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);
/// Users that nobody else is.
const FIRST_COMPARED_USER: i64 = 1_000;

/// Short intervals: what changes with time is worth looking at soon.
const SETTINGS: [(&str, &str); 2] =
    [("LEDGER__SAGA__STUCK_AFTER_SECONDS", "2"), ("LEDGER__METRICS__HISTORY_INTERVAL_SECONDS", "1")];

pub struct Scene {
    instance: Instance,
    address: String,
    confirmed: String,
    hanging: String,
    redrivable_letters: u64,
    letter: i64,
    redrive: String,
}

/// A page, and what it alone shows, in any language.
pub struct Page {
    pub path: String,
    pub shows: String,
}

impl Scene {
    pub async fn start() -> Self {
        let instance = Instance::start(&SETTINGS);
        let client = instance.client();
        let confirmed = sell(&client).await;
        let database = instance.info()["database_url"].as_str().unwrap().to_owned();
        let redrivable = include_str!("redrivable_letters.sql");
        let redrivable_letters = on_database(&database, move |client| client.execute(redrivable, &[]).unwrap()).await;
        let (hanging, letter) = hang(&client, &database).await;
        let redrive = redrive_in_vain(&client, letter).await;
        let address = instance.info()["http"].as_str().unwrap().to_owned();
        let scene = Self { instance, address, confirmed, hanging, redrivable_letters, letter, redrive };
        scene.compare(12).await;
        scene
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn client(&self) -> Client {
        self.instance.client()
    }

    /// An order that came to its end.
    pub fn confirmed(&self) -> &str {
        &self.confirmed
    }

    /// Every page, those about one thing included.
    pub fn pages(&self) -> Vec<Page> {
        let (confirmed, hanging, letter, redrive) = (&self.confirmed, &self.hanging, self.letter, &self.redrive);
        let page = |path: &str, shows: &str| Page { path: path.to_owned(), shows: shows.to_owned() };
        vec![
            page("overview", "RocketMQ"),
            page("orders", hanging),
            page("stock", &STALLS.to_string()),
            page("projections", "notifications"),
            page("outbox", "order-status-update"),
            page("consumers", "stock-rollback"),
            page("dead-letters", "the provider was away"),
            page("redrives", redrive.rsplit('-').next().unwrap()),
            page("sagas", hanging),
            page("sagas?status=completed", confirmed),
            page("rollout", "Mann-Whitney"),
            page("audit", "rollout.change"),
            page(&format!("orders/{confirmed}"), "OrderConfirmed"),
            page(&format!("orders/{hanging}"), &format!("blocked behind dead letter {letter}")),
            page(&format!("stock/{STALLS}"), "149.50"),
            page(&format!("dead-letters/{letter}"), "no JSON"),
            page(&format!("redrives/{redrive}"), hanging),
        ]
    }

    pub fn redrivable_letters(&self) -> u64 {
        self.redrivable_letters
    }

    pub fn token(&self, role: Role) -> String {
        self.token_for(role, TOKEN_LIFE)
    }

    pub fn token_for(&self, role: Role, life: Duration) -> String {
        let secrets = std::fs::read_to_string(self.instance.data_dir().join("secrets.json")).unwrap();
        let secrets: Value = serde_json::from_str(&secrets).unwrap();
        let key = TokenKey::from_secret(secrets["token_key"].as_str().unwrap().as_bytes()).unwrap();
        mint_token(&key, UserId::new(1).unwrap(), &[role], &[], life).unwrap()
    }

    /// So many further orders, about half of them sync.
    pub async fn compare(&self, orders: i64) {
        let client = self.client();
        let policy = json!({"mode": "async", "asyncPercent": 50, "groups": {}, "fallback": "none"});
        let changed = client.put("/v1/admin/rollout", policy).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        until(&client, "/v1/admin/rollout/status", |status| status["version"] == status["inForceVersion"]);
        for user in FIRST_COMPARED_USER..FIRST_COMPARED_USER + orders {
            client.place(user, STALLS, 1).await;
        }
        until(&client, "/v1/admin/rollout/report", |report| {
            let count = |mode: &str| report["cohorts"][mode]["count"].as_i64().unwrap_or(0);
            count("async") > 0 && count("sync") > 0 && count("async") + count("sync") >= orders
        });
    }

    /// Ends, and comes back on the same data.
    pub fn restart(&mut self) {
        self.instance.stop();
        self.instance.up();
    }

    /// Postgres answers nobody any more, until this is dropped.
    pub fn freeze_postgres(&self) -> Frozen {
        let postmaster = self.instance.pid("postgres");
        let frozen = Frozen(children_of(postmaster).into_iter().chain([postmaster]).collect());
        frozen.0.iter().for_each(|pid| signal(*pid, libc::SIGSTOP));
        frozen
    }
}

/// Processes that stand still; dropped, they go on.
pub struct Frozen(Vec<u32>);

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.iter().for_each(|pid| signal(*pid, libc::SIGCONT));
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    std::fs::read_to_string(path).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Orders that end in each of several ways; one of those that were confirmed.
async fn sell(client: &Client) -> String {
    client.put_on_sale(STALLS, 500).await;
    client.put_on_sale(BALCONY, 2).await;
    let mut confirmed = String::new();
    for user in 1..=3 {
        confirmed = client.place(user, STALLS, 2).await;
        client.await_status(&confirmed, &["AWAITING_PAYMENT"], SOON).await;
        client.pay(&confirmed, "ALIPAY").await;
        client.await_status(&confirmed, &["CONFIRMED"], SOON).await;
    }
    let waiting = client.place(4, STALLS, 1).await;
    client.await_status(&waiting, &["AWAITING_PAYMENT"], SOON).await;
    let refused = client.place(5, BALCONY, 3).await;
    client.await_status(&refused, &["REJECTED"], SOON).await;
    confirmed
}

/// An order that is paid for and can't get its tickets, because a letter of it is in the way; and the letter.
async fn hang(client: &Client, database: &str) -> (String, i64) {
    let order = client.place(6, STALLS, 1).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    let key = order.clone();
    let insert = include_str!("blocking_letter.sql");
    let letter = on_database(database, move |client| client.query_one(insert, &[&key]).unwrap().get(0)).await;
    client.pay(&order, "ALIPAY").await;
    client.await_status(&order, &["PAID"], SOON).await;
    until(client, "/v1/admin/sagas?status=stuck", |stuck| stuck.to_string().contains(&order));
    (order, letter)
}

/// A redrive of what can't be applied.
async fn redrive_in_vain(client: &Client, letter: i64) -> String {
    let started = client.post("/v1/admin/redrives", None, json!({"ids": [letter], "ratePerSecond": 50})).await;
    let redrive = started.body["redriveId"].as_str().unwrap_or_else(|| panic!("{started:?}")).to_owned();
    until(client, &format!("/v1/admin/redrives/{redrive}"), |redrive| redrive["stoppedKeys"] == 1);
    redrive
}

/// Asks until the answer is as wished.
fn until(client: &Client, path: &str, condition: impl Fn(&Value) -> bool) {
    eventually(path, SOON, || {
        let answer = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(client.get(path)));
        condition(&answer.body).then_some(())
    });
}

/// The client is a blocking one.
async fn on_database<T: Send + 'static>(
    url: &str,
    work: impl FnOnce(&mut postgres::Client) -> T + Send + 'static,
) -> T {
    let url = url.to_owned();
    let task = move || work(&mut postgres::Client::connect(&url, NoTls).unwrap());
    std::thread::spawn(task).join().unwrap()
}
