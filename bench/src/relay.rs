//! Draining the outbox to a sink that does nothing: what the relay itself can do, beside a bare cursor reader that keeps
//! no lanes, no lease and no properties.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use messaging::{Broker, BrokerError, Consumer, OutgoingMessage, Producer, QUEUES_PER_TOPIC, QueueBacklog, SendError};
use outbox_relay::{OutboxRelay, RelayConfig};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::database::settle;
use crate::load::Sample;
use crate::{BenchDatabase, Report};

const TARGET_PER_SECOND: f64 = 60_000.0;
const CURSOR_BATCH: i64 = 2_000;
const FILL: &str = include_str!("../sql/fill_outbox.sql");
const CURSOR_SCHEMA: &str = include_str!("../sql/cursor_reader_schema.sql");

#[derive(Debug, Clone, Copy)]
pub struct RelayBench {
    pub messages: u64,
    pub rounds: usize,
}

impl RelayBench {
    pub async fn run(self, server_url: &str) -> anyhow::Result<Report> {
        let (mut ours, mut cursor) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let database = BenchDatabase::create(server_url).await?;
            let round = self.round(&database).await;
            database.drop().await?;
            let (relayed, read) = round?;
            ours.push(relayed);
            cursor.push(read);
        }
        let mut report =
            Report::new(format!("relay: {} messages to a no-op sink, median of {} rounds", self.messages, self.rounds));
        report.add("ours: lease, lanes, cursors, properties", &ours);
        report.add("bare cursor reader", &cursor);
        report.compare("ours: lease, lanes, cursors, properties", "bare cursor reader", 0.3);
        let rate = report.rows.first().map_or(0.0, |row| row.per_second);
        let mark = if rate >= TARGET_PER_SECOND { "reached" } else { "short of" };
        report.note(format!("{mark} {TARGET_PER_SECOND} messages/s"));
        Ok(report)
    }

    async fn round(self, database: &BenchDatabase) -> anyhow::Result<(Sample, Sample)> {
        let pool = database.pool(8).await?;
        event_store::migrate(&pool).await?;
        let messages = i64::try_from(self.messages)?;
        sqlx::query(FILL).bind(messages).execute(&pool).await?;
        sqlx::raw_sql(CURSOR_SCHEMA).execute(&pool).await?;
        for vacuum in ["vacuum analyze store.outbox", "vacuum analyze store.events"] {
            sqlx::raw_sql(vacuum).execute(&pool).await?;
        }
        settle(&pool).await?;
        let relayed = self.relay(&pool).await?;
        settle(&pool).await?;
        let read = self.cursor_reader(&pool).await?;
        pool.close().await;
        Ok((relayed, read))
    }

    async fn relay(self, pool: &PgPool) -> anyhow::Result<Sample> {
        let sink = Arc::new(Sink::default());
        let relay = OutboxRelay::new(pool.clone(), sink.clone(), RelayConfig::default(), "bench");
        let shutdown = CancellationToken::new();
        let started = Instant::now();
        let running = tokio::spawn(relay.run(shutdown.clone()));
        while sink.messages.load(Ordering::Relaxed) < self.messages {
            anyhow::ensure!(started.elapsed() < Duration::from_secs(120), "the relay did not drain the outbox");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let elapsed = started.elapsed();
        shutdown.cancel();
        running.await?;
        let sent = sink.messages.load(Ordering::Relaxed);
        anyhow::ensure!(sent == self.messages, "{sent} messages reached the sink, not {}", self.messages);
        let pending = outbox_relay::lag::measure(pool).await?.pending_messages;
        anyhow::ensure!(pending == 0, "{pending} messages are still pending");
        Ok(rate(self.messages, elapsed))
    }

    async fn cursor_reader(self, pool: &PgPool) -> anyhow::Result<Sample> {
        let started = Instant::now();
        let (mut last, mut seen) = (0_i64, 0_u64);
        loop {
            let rows: Vec<(i64, String, String)> =
                sqlx::query_as("select id, key, body from bench.outbox where id > $1 order by id limit $2")
                    .bind(last)
                    .bind(CURSOR_BATCH)
                    .fetch_all(pool)
                    .await?;
            let Some((id, _, _)) = rows.last() else { break };
            (last, seen) = (*id, seen + rows.len() as u64);
            sqlx::query("update bench.cursor set id = $1").bind(last).execute(pool).await?;
        }
        anyhow::ensure!(seen == self.messages, "the cursor reader saw {seen} messages, not {}", self.messages);
        Ok(rate(self.messages, started.elapsed()))
    }
}

fn rate(messages: u64, elapsed: Duration) -> Sample {
    Sample { per_second: messages as f64 / elapsed.as_secs_f64(), ..Sample::default() }
}

/// Takes everything at once.
#[derive(Default)]
struct Sink {
    messages: Arc<AtomicU64>,
}

struct SinkProducer {
    messages: Arc<AtomicU64>,
}

#[async_trait]
impl Broker for Sink {
    async fn create_topics(&self, _: &[&str], _: u16) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn topic_queues(&self, _: &str) -> Result<Option<u16>, BrokerError> {
        Ok(Some(QUEUES_PER_TOPIC))
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BrokerError> {
        Ok(Box::new(SinkProducer { messages: self.messages.clone() }))
    }

    async fn consumer(&self, _: &str, _: &[&str]) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(BrokerError::Rejected("a sink gives nothing back".into()))
    }

    async fn listener(&self, _: &str, _: &[&str]) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(BrokerError::Rejected("a sink gives nothing back".into()))
    }

    async fn backlog(&self, _: &str, _: &str) -> Result<Option<Vec<QueueBacklog>>, BrokerError> {
        Ok(None)
    }

    async fn is_reachable(&self) -> bool {
        true
    }

    async fn close(&self) {}
}

#[async_trait]
impl Producer for SinkProducer {
    async fn send(&self, _: &str, _: u16, batch: &[OutgoingMessage]) -> Result<(), SendError> {
        self.messages.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn close(&self) {}
}
