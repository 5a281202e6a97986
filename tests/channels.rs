//! Whole instances with the channels configured: a real SMTP server, an SMS provider over HTTP, Redis; and the stock cache
//! that each `serve` keeps without Redis.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../processors/tests/processors/redis_server.rs"]
#[allow(dead_code)]
mod redis_server;
#[path = "../processors/tests/processors/sms_provider.rs"]
#[allow(dead_code)]
mod sms_provider;
#[path = "../processors/tests/processors/smtp_server.rs"]
#[allow(dead_code)]
mod smtp_server;
mod support;

use std::time::{Duration, Instant};

use redis_server::RedisServer;
use serde_json::{Value, json};
use sms_provider::SmsProvider;
use smtp_server::SmtpServer;
use support::{Client, Instance};

const SOON: Duration = Duration::from_secs(30);
const TICKET_TYPE: i64 = 2001;
const USER: i64 = 12345;
const HOUR_MS: &str = "3600000";

#[tokio::test(flavor = "multi_thread")]
async fn mail_and_texts_leave_as_configured_and_wait_while_nobody_takes_them() {
    let (mut smtp, sms) = (SmtpServer::start(), SmsProvider::open().await);
    let instance = Instance::start(&[
        ("LEDGER__NOTIFICATION__SMTP__URL", &smtp.url()),
        ("LEDGER__NOTIFICATION__SMTP__FROM", "Tickets <hello@tickets.example>"),
        ("LEDGER__NOTIFICATION__SMS__URL", &sms.url),
        ("LEDGER__NOTIFICATION__SMS__API_KEY", "sms-key"),
    ]);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 100).await;
    let contact = json!({"phone": "+8613800138000", "email": "buyer@example.com", "language": "en",
        "channels": ["sms", "email"]});
    let kept = client.put(&format!("/v1/users/{USER}/contact"), contact).await;
    assert_eq!(kept.status, 200, "{kept:?}");

    smtp.close();
    client.place(USER, TICKET_TYPE, 1).await;
    until("the text leaves while mail is away", async || sms.sent().len() == 1).await;
    assert_eq!(sms.calls()[0].authorization, "Bearer sms-key");
    smtp.open();
    until("the mail leaves when mail is back", async || smtp.mails().len() == 1).await;
    assert!(smtp.mails()[0].text.contains("Subject: Your tickets are held"), "{:?}", smtp.mails());
    until("both outcomes are shown", async || {
        let told = client.get(&format!("/v1/users/{USER}/notifications")).await.body;
        told["items"][0]["status"] == "SENT" && told["items"][0]["channels"].as_array().map_or(0, Vec::len) == 2
    })
    .await;
    instance.assert_settled();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_serve_hears_of_stock_for_itself() {
    let instance = Instance::start(&[("LEDGER__CACHE__TTL_MS", HOUR_MS)]);
    let client = instance.client();
    the_cache_follows(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_cached_in_redis_and_queries_go_on_without_it() {
    let Some(mut redis) = RedisServer::start_if_available("stock_is_cached_in_redis") else { return };
    let instance = Instance::start(&[
        ("LEDGER__CACHE__REDIS_URL", &redis.url()),
        // A busy machine is no broken Redis.
        ("LEDGER__CACHE__REDIS_TIMEOUT_MS", "2000"),
        ("LEDGER__CACHE__TTL_MS", HOUR_MS),
    ]);
    let client = instance.client();
    the_cache_follows(&client).await;
    redis.kill();
    let order = client.place(USER, TICKET_TYPE, 1).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    assert_eq!(client.stock(TICKET_TYPE).await["available"], 98);
    assert_eq!(cached(&client).await["available"], 98);
    redis.start();
    until("the cache is filled again", async || {
        metric(&client, "hit").await > 0.0 && cached(&client).await["available"] == 98
    })
    .await;
    instance.assert_settled();
}

/// A change of the stock reaches the cache by its message, though nobody asks and nothing is forgotten.
async fn the_cache_follows(client: &Client) {
    client.put_on_sale(TICKET_TYPE, 100).await;
    until("the cache knows the ticket type", async || cached(client).await["available"] == 100).await;
    let order = client.place(USER, TICKET_TYPE, 1).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    assert_eq!(client.stock(TICKET_TYPE).await["available"], 99, "a current answer waits for no message");
    until("the cache hears of the lock", async || cached(client).await["available"] == 99).await;
    assert!(metric(client, "hit").await > 0.0);
}

async fn cached(client: &Client) -> Value {
    let answer = client.get(&format!("/v1/ticket-types/{TICKET_TYPE}/stock?consistency=cached")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn metric(client: &Client, outcome: &str) -> f64 {
    let text = client.metrics().await;
    let series = format!("ledger_stock_cache_reads_total{{outcome=\"{outcome}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let give_up_at = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < give_up_at, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
