//! Whole orders over REST against a running instance: placed, locked, paid, confirmed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reqwest::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::hot_stock::{ROW_LOCK_SCHEMA, row_lock_transaction};
use crate::load::{Load, Sample};
use crate::{BenchDatabase, Report};

const POLL_INTERVAL: Duration = Duration::from_millis(10);
const ORDER_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct OrdersBench {
    /// Where the API answers, without a slash at the end.
    pub http: String,
    /// An admin's token.
    pub token: String,
    pub callers: usize,
    pub orders: usize,
}

/// How long each step of one order took, from its request.
struct Timing {
    accepted: Duration,
    decided: Duration,
    confirmed: Duration,
}

impl OrdersBench {
    pub async fn run(self, server_url: &str) -> anyhow::Result<Report> {
        let client = Client::builder().timeout(Duration::from_secs(20)).build()?;
        let ticket_type = 1 + i64::from(Uuid::new_v4().as_fields().0 >> 1);
        self.put_on_sale(&client, ticket_type).await?;
        let started = Instant::now();
        let timings = self.storm(&client, ticket_type).await?;
        let elapsed = started.elapsed();
        let baseline = self.baseline(server_url).await?;

        let mut report = Report::new(format!(
            "orders: {} whole orders over REST, {} callers, one ticket type",
            self.orders, self.callers
        ));
        report.add("accepted (202)", &[sample(&timings, elapsed, |timing| timing.accepted)]);
        report.add("decided (stock held)", &[sample(&timings, elapsed, |timing| timing.decided)]);
        report.add("confirmed (paid, deducted)", &[sample(&timings, elapsed, |timing| timing.confirmed)]);
        report.add("row-lock transaction, nothing else", &[baseline]);
        report.compare("confirmed (paid, deducted)", "row-lock transaction, nothing else", 0.0);
        report.note(
            "The baseline takes a ticket in one transaction: no HTTP, broker, payment, read model or notification.",
        );
        Ok(report)
    }

    async fn put_on_sale(&self, client: &Client, ticket_type: i64) -> anyhow::Result<()> {
        let body = json!({
            "showId": 1001, "ticketTypeId": ticket_type, "name": "Bench", "price": 149.5, "capacity": self.orders,
        });
        self.post(client, "/v1/ticket-types", body).await.map(drop)
    }

    async fn storm(&self, client: &Client, ticket_type: i64) -> anyhow::Result<Vec<Timing>> {
        let next = Arc::new(AtomicUsize::new(0));
        let buyers: Vec<_> = (0..self.callers)
            .map(|_| {
                let (this, client, next) = (self.clone(), client.clone(), next.clone());
                tokio::spawn(async move {
                    let mut timings = Vec::new();
                    while next.fetch_add(1, Ordering::Relaxed) < this.orders {
                        timings.push(this.one_order(&client, ticket_type).await?);
                    }
                    anyhow::Ok(timings)
                })
            })
            .collect();
        let mut timings = Vec::with_capacity(self.orders);
        for buyer in buyers {
            timings.extend(buyer.await??);
        }
        Ok(timings)
    }

    async fn one_order(&self, client: &Client, ticket_type: i64) -> anyhow::Result<Timing> {
        let since = Instant::now();
        let body = json!({"userId": 12345, "showId": 1001, "ticketTypeId": ticket_type, "quantity": 1});
        let placed = self.post(client, "/v1/orders", body).await?;
        let accepted = since.elapsed();
        let order = placed["orderId"].as_str().context("an accepted order has an id")?.to_owned();
        self.await_status(client, &order, "AWAITING_PAYMENT").await?;
        let decided = since.elapsed();
        self.post(client, &format!("/v1/orders/{order}/payments"), json!({"paymentMethod": "ALIPAY"})).await?;
        self.await_status(client, &order, "CONFIRMED").await?;
        Ok(Timing { accepted, decided, confirmed: since.elapsed() })
    }

    async fn post(&self, client: &Client, path: &str, body: Value) -> anyhow::Result<Value> {
        let request = client.post(format!("{}{path}", self.http)).bearer_auth(&self.token).json(&body);
        let response = request.header("idempotency-key", Uuid::new_v4().to_string()).send().await?;
        let status = response.status();
        let answer: Value = response.json().await?;
        if !status.is_success() {
            bail!("POST {path} answered {status}: {answer}");
        }
        Ok(answer)
    }

    async fn await_status(&self, client: &Client, order: &str, wanted: &str) -> anyhow::Result<()> {
        let since = Instant::now();
        let url = format!("{}/v1/orders/{order}", self.http);
        loop {
            let answer: Value = client.get(&url).bearer_auth(&self.token).send().await?.json().await?;
            if answer["status"] == wanted {
                return Ok(());
            }
            if since.elapsed() > ORDER_TIMEOUT {
                bail!("{order} is not {wanted} after {ORDER_TIMEOUT:?}: {answer}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn baseline(&self, server_url: &str) -> anyhow::Result<Sample> {
        let database = BenchDatabase::create(server_url).await?;
        let pool = database.pool(self.callers as u32).await?;
        sqlx::raw_sql(ROW_LOCK_SCHEMA).execute(&pool).await?;
        let sample =
            row_lock_transaction(&pool, Load { callers: self.callers, duration: Duration::from_secs(3) }).await;
        pool.close().await;
        database.drop().await?;
        Ok(sample)
    }
}

fn sample(timings: &[Timing], elapsed: Duration, step: impl Fn(&Timing) -> Duration) -> Sample {
    let mut sorted: Vec<f64> = timings.iter().map(|timing| step(timing).as_secs_f64() * 1_000.0).collect();
    sorted.sort_by(f64::total_cmp);
    let quantile = |q: f64| sorted.get((sorted.len().saturating_sub(1) as f64 * q) as usize).copied().unwrap_or(0.0);
    Sample {
        per_second: sorted.len() as f64 / elapsed.as_secs_f64(),
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        calls_by_caller: Vec::new(),
    }
}
