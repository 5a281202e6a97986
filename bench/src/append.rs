//! Appending: ours (events, outbox rows, positions, hash chain, group commit) beside one statement a command and, with
//! the feature `peers`, postgres-es, which writes events only.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::order::{Order, OrderCommand};
use domain::{Mode, Money, OrderId, Quantity, ShowId, TicketTypeId, UserId};
use event_store::{Command, Ledger, LedgerConfig, Metadata, Refusal};
use messaging::message::OrderCreate;
use messaging::outbox_message;
use sqlx::PgPool;
use uuid::Uuid;

use crate::database::settle;
use crate::load::{Load, Sample};
use crate::{BenchDatabase, Report};

const APPEND_TARGET: f64 = 8.0;
const LOAD_APPEND_TARGET: f64 = 6.0;
const LONE_CALLER_TARGET: f64 = 0.6;

/// Plain inserts of an event and its outbox row in one statement: fast, but positions follow no commit order.
const ONE_STATEMENT: &str = include_str!("../sql/one_statement_append.sql");
const ONE_STATEMENT_SCHEMA: &str = include_str!("../sql/one_statement_schema.sql");

#[derive(Debug, Clone, Copy)]
pub struct AppendBench {
    pub callers: usize,
    pub round: Duration,
    pub rounds: usize,
}

#[derive(Default)]
struct Rounds {
    ours: Vec<Sample>,
    ours_load: Vec<Sample>,
    ours_lone: Vec<Sample>,
    one: Vec<Sample>,
    one_lone: Vec<Sample>,
    peer: Vec<Sample>,
    peer_load: Vec<Sample>,
}

impl AppendBench {
    pub async fn run(self, server_url: &str) -> anyhow::Result<Report> {
        let database = BenchDatabase::create(server_url).await?;
        let rounds = self.all_rounds(&database).await;
        database.drop().await?;
        Ok(self.report(rounds?))
    }

    async fn all_rounds(self, database: &BenchDatabase) -> anyhow::Result<Rounds> {
        let pool = database.pool(16).await?;
        event_store::migrate(&pool).await?;
        sqlx::raw_sql(ONE_STATEMENT_SCHEMA).execute(&pool).await?;
        let baseline = database.pool(self.callers as u32 + 1).await?;
        let ledger = Ledger::start(pool.clone(), LedgerConfig::default()).await?;
        let mut rounds = Rounds::default();
        for _ in 0..self.rounds {
            let many = Load { callers: self.callers, duration: self.round };
            let lone = Load { callers: 1, duration: self.round };

            settle(&pool).await?;
            let run = Uuid::new_v4().simple().to_string();
            let placed = place(&ledger, run.clone(), many).await;
            settle(&pool).await?;
            rounds.ours_load.push(cancel(&ledger, run, placed.calls_by_caller.clone(), many).await);
            rounds.ours.push(placed);
            settle(&pool).await?;
            rounds.one.push(one_statement(&baseline, many).await);
            settle(&pool).await?;
            rounds.ours_lone.push(place(&ledger, Uuid::new_v4().simple().to_string(), lone).await);
            settle(&pool).await?;
            rounds.one_lone.push(one_statement(&baseline, lone).await);
            settle(&pool).await?;
            self.peer_round(database, &mut rounds).await?;
        }
        ledger.close().await;
        Ok(rounds)
    }

    #[cfg(feature = "peers")]
    async fn peer_round(self, database: &BenchDatabase, rounds: &mut Rounds) -> anyhow::Result<()> {
        let (place, load) = crate::peers::postgres_es(&database.url(), self.callers, self.round).await?;
        rounds.peer.push(place);
        rounds.peer_load.push(load);
        Ok(())
    }

    #[cfg(not(feature = "peers"))]
    async fn peer_round(self, _: &BenchDatabase, _: &mut Rounds) -> anyhow::Result<()> {
        Ok(())
    }

    fn report(self, rounds: Rounds) -> Report {
        let mut report = Report::new(format!(
            "append: place an order, {} callers, median of {} rounds of {:?}",
            self.callers, self.rounds, self.round
        ));
        report.add("ours: append with outbox", &rounds.ours);
        report.add("ours: load + append", &rounds.ours_load);
        report.add("one statement, event + outbox", &rounds.one);
        report.add("postgres-es 0.5: append", &rounds.peer);
        report.add("postgres-es 0.5: load + append", &rounds.peer_load);
        report.add("ours: one lone caller", &rounds.ours_lone);
        report.add("one statement: one lone caller", &rounds.one_lone);
        report.compare("ours: append with outbox", "postgres-es 0.5: append", APPEND_TARGET);
        report.compare("ours: load + append", "postgres-es 0.5: load + append", LOAD_APPEND_TARGET);
        report.compare("ours: one lone caller", "one statement: one lone caller", LONE_CALLER_TARGET);
        if cfg!(not(feature = "peers")) {
            report.note("postgres-es is not in this build: add --features peers to the build to measure beside it.");
        }
        report
    }
}

pub(crate) fn order_id(run: &str, caller: usize, n: u64) -> String {
    // The run's digits keep the ids of rounds apart; the form is that of every order id.
    let salt = run.bytes().fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) % 1_000_000;
    format!("ORD20260101{salt:06}{caller:04}{n:08}")
}

pub(crate) fn place_command(id: &str, now: DateTime<Utc>) -> Result<OrderCommand, Refusal> {
    let fault = |error: &dyn std::fmt::Display| Refusal::Fault(error.to_string());
    Ok(OrderCommand::Place {
        order_id: OrderId::parse(id).map_err(|e| fault(&e))?,
        user_id: UserId::new(12_345).map_err(|e| fault(&e))?,
        show_id: ShowId::new(1_001).map_err(|e| fault(&e))?,
        ticket_type_id: TicketTypeId::new(2_001).map_err(|e| fault(&e))?,
        quantity: Quantity::new(2).map_err(|e| fault(&e))?,
        total_amount: Money::parse("299.00").map_err(|e| fault(&e))?,
        order_time: now,
        expire_time: now + chrono::Duration::minutes(15),
        mode: Mode::Async,
    })
}

fn order_create(order: &Order) -> Result<OrderCreate, Refusal> {
    let placed = order.placed.as_ref().ok_or_else(|| Refusal::Fault("a placed order has its fields".into()))?;
    Ok(OrderCreate {
        order_id: placed.order_id.clone(),
        user_id: placed.user_id,
        show_id: placed.show_id,
        ticket_type_id: placed.ticket_type_id,
        quantity: placed.quantity,
        total_amount: placed.total_amount,
        order_time: placed.order_time.timestamp_millis(),
        expire_time: placed.expire_time.timestamp_millis(),
    })
}

async fn place(ledger: &Ledger, run: String, load: Load) -> Sample {
    let ledger = ledger.clone();
    load.run(move |caller, n| {
        let (ledger, id) = (ledger.clone(), order_id(&run, caller, n));
        async move {
            let command = Command::new(Metadata::default()).begin::<Order>(&id);
            let message_of = id.clone();
            ledger
                .execute(command, move |unit| {
                    let now = unit.now();
                    unit.handle::<Order>(&message_of, place_command(&message_of, now)?)?;
                    let message = order_create(unit.state::<Order>(&message_of)?)?;
                    unit.publish(outbox_message(unit.new_id(), now, &message))
                })
                .await?;
            Ok(true)
        }
    })
    .await
}

async fn cancel(ledger: &Ledger, run: String, placed: Vec<u64>, load: Load) -> Sample {
    let ledger = ledger.clone();
    load.run(move |caller, n| {
        let (ledger, id, exists) = (ledger.clone(), order_id(&run, caller, n), n < placed[caller]);
        async move {
            if !exists {
                return Ok(false);
            }
            let command = Command::new(Metadata::default()).cached::<Order>(&id);
            ledger
                .execute(command, move |unit| {
                    unit.handle::<Order>(&id, OrderCommand::Cancel { reason: "changed my mind".into() })?;
                    Ok(())
                })
                .await?;
            Ok(true)
        }
    })
    .await
}

async fn one_statement(pool: &PgPool, load: Load) -> Sample {
    let pool = pool.clone();
    let run = Uuid::new_v4().simple().to_string();
    load.run(move |caller, n| {
        let (pool, id) = (pool.clone(), order_id(&run, caller, n));
        async move {
            sqlx::query(ONE_STATEMENT).bind(&id).bind(1_i64).bind(PAYLOAD).bind(Uuid::now_v7()).execute(&pool).await?;
            Ok(true)
        }
    })
    .await
}

/// As long as the event ours writes.
const PAYLOAD: &str = r#"{"orderId":"ORD20260101000000000000000000","userId":12345,"showId":1001,"ticketTypeId":2001,"quantity":2,"totalAmount":299.00,"orderTime":"2026-01-01T00:00:00.000000Z","expireTime":"2026-01-01T00:15:00.000000Z","mode":"async"}"#;
