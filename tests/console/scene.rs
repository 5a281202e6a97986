//! A shop with something of everything: orders in several states, letters that can be redriven, an order that hangs.

use std::time::Duration;

use api::auth::{Role, TokenKey, mint_token};
use domain::UserId;
use postgres::NoTls;
use serde_json::Value;

use super::support::{Client, Instance, eventually};

const SOON: Duration = Duration::from_secs(60);
const STALLS: i64 = 2001;
const BALCONY: i64 = 2002;
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);

pub struct Scene {
    instance: Instance,
    address: String,
    confirmed: String,
    redrivable_letters: u64,
    letter: i64,
}

impl Scene {
    pub async fn start() -> Self {
        let instance = Instance::start(&[("LEDGER__SAGA__STUCK_AFTER_SECONDS", "2")]);
        let client = instance.client();
        let confirmed = sell(&client).await;
        let database = instance.info()["database_url"].as_str().unwrap().to_owned();
        let redrivable = include_str!("redrivable_letters.sql");
        let redrivable_letters = on_database(&database, move |client| client.execute(redrivable, &[]).unwrap()).await;
        let letter = hang(&client, &database).await;
        let address = instance.info()["http"].as_str().unwrap().to_owned();
        Self { instance, address, confirmed, redrivable_letters, letter }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Every page, those about one thing included.
    pub fn pages(&self) -> Vec<String> {
        let fixed = ["overview", "orders", "stock", "projections", "outbox", "consumers", "dead-letters", "redrives"];
        let more = ["sagas", "sagas?status=completed", "rollout", "audit"];
        let mut pages: Vec<String> = fixed.iter().chain(&more).map(|page| (*page).to_owned()).collect();
        pages.push(format!("orders/{}", self.confirmed));
        pages.push(format!("stock/{STALLS}"));
        pages.push(format!("dead-letters/{}", self.letter));
        pages
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

/// An order that is paid for and can't get its tickets, because a letter of it is in the way. Answers the letter.
async fn hang(client: &Client, database: &str) -> i64 {
    let order = client.place(6, STALLS, 1).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    let key = order.clone();
    let insert = include_str!("blocking_letter.sql");
    let letter = on_database(database, move |client| client.query_one(insert, &[&key]).unwrap().get(0)).await;
    client.pay(&order, "ALIPAY").await;
    client.await_status(&order, &["PAID"], SOON).await;
    eventually("the order to hang", SOON, || {
        let stuck = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(client.get("/v1/admin/sagas?status=stuck"))
        });
        stuck.body.to_string().contains(&order).then_some(())
    });
    letter
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
