//! A sell-out: every caller wants a ticket of one type. Ours decides in memory and appends in groups; the baseline locks
//! the stock's row in each transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::stock::{Stock, StockCommand};
use domain::{LockId, Money, OrderId, Quantity, ShowId, TicketTypeId};
use event_store::{Command, Ledger, LedgerConfig, Metadata, Refusal};
use messaging::message::StockSync;
use messaging::outbox_message;
use sqlx::PgPool;
use uuid::Uuid;

use crate::append::order_id;
use crate::database::settle;
use crate::load::{Load, Sample};
use crate::{BenchDatabase, Report};

const TARGET: f64 = 10.0;
const CAPACITY: u32 = 100_000_000;
pub(crate) const ROW_LOCK_SCHEMA: &str = include_str!("../sql/row_lock_schema.sql");

#[derive(Debug, Clone, Copy)]
pub struct HotStockBench {
    pub callers: usize,
    pub round: Duration,
    pub rounds: usize,
}

impl HotStockBench {
    pub async fn run(self, server_url: &str) -> anyhow::Result<Report> {
        let database = BenchDatabase::create(server_url).await?;
        let report = self.measure(&database).await;
        database.drop().await?;
        report
    }

    async fn measure(self, database: &BenchDatabase) -> anyhow::Result<Report> {
        let pool = database.pool(16).await?;
        event_store::migrate(&pool).await?;
        sqlx::raw_sql(ROW_LOCK_SCHEMA).execute(&pool).await?;
        let baseline = database.pool(self.callers as u32).await?;
        let ledger = Ledger::start(pool.clone(), LedgerConfig::default()).await?;
        let load = Load { callers: self.callers, duration: self.round };
        let (mut ours, mut row_lock) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            let ticket_type = 2_001 + round as i64;
            put_on_sale(&ledger, ticket_type).await?;
            settle(&pool).await?;
            ours.push(lock_stock(&ledger, ticket_type, load).await);
            settle(&pool).await?;
            row_lock.push(row_lock_transaction(&baseline, load).await);
        }
        ledger.close().await;

        let mut report = Report::new(format!(
            "hot stock: {} callers lock tickets of one type, median of {} rounds of {:?}",
            self.callers, self.rounds, self.round
        ));
        report.add("ours: executor", &ours);
        report.add("row-lock transaction", &row_lock);
        report.compare("ours: executor", "row-lock transaction", TARGET);
        Ok(report)
    }
}

async fn put_on_sale(ledger: &Ledger, ticket_type: i64) -> anyhow::Result<()> {
    let id = ticket_type.to_string();
    let command = Command::new(Metadata::default()).begin::<Stock>(&id);
    ledger
        .execute(command, move |unit| {
            let fault = |error: &dyn std::fmt::Display| Refusal::Fault(error.to_string());
            let put = StockCommand::PutOnSale {
                ticket_type_id: TicketTypeId::new(ticket_type).map_err(|e| fault(&e))?,
                show_id: ShowId::new(1_001).map_err(|e| fault(&e))?,
                name: "Standing".into(),
                price: Money::parse("149.50").map_err(|e| fault(&e))?,
                capacity: CAPACITY,
            };
            unit.handle::<Stock>(&id, put)?;
            Ok(())
        })
        .await?;
    Ok(())
}

async fn lock_stock(ledger: &Ledger, ticket_type: i64, load: Load) -> Sample {
    let ledger = ledger.clone();
    let run = Uuid::new_v4().simple().to_string();
    load.run(move |caller, n| {
        let (ledger, order) = (ledger.clone(), order_id(&run, caller, n));
        let id = ticket_type.to_string();
        async move {
            let command = Command::new(Metadata::default()).cached::<Stock>(&id);
            ledger
                .execute(command, move |unit| {
                    let fault = |error: &dyn std::fmt::Display| Refusal::Fault(error.to_string());
                    let now = unit.now();
                    let lock = StockCommand::Lock {
                        lock_id: LockId::parse(&order.replace("ORD", "LOCK")).map_err(|e| fault(&e))?,
                        order_id: OrderId::parse(&order).map_err(|e| fault(&e))?,
                        quantity: Quantity::new(1).map_err(|e| fault(&e))?,
                        expires_at: now + chrono::Duration::minutes(5),
                    };
                    unit.handle::<Stock>(&id, lock)?;
                    let version = unit.version::<Stock>(&id)?;
                    let sync = stock_sync(unit.state::<Stock>(&id)?, version, now)?;
                    unit.publish(outbox_message(unit.new_id(), now, &sync))
                })
                .await?;
            Ok(true)
        }
    })
    .await
}

fn stock_sync(stock: &Stock, version: u64, now: DateTime<Utc>) -> Result<StockSync, Refusal> {
    let on_sale = stock.on_sale.as_ref().ok_or_else(|| Refusal::Fault("what is locked is on sale".into()))?;
    Ok(StockSync {
        ticket_type_id: on_sale.ticket_type_id,
        show_id: on_sale.show_id,
        capacity: stock.capacity,
        available: stock.available,
        locked: stock.locked,
        sold: stock.sold,
        stream_version: version,
        sync_time: now.timestamp_millis(),
    })
}

pub(crate) async fn row_lock_transaction(pool: &PgPool, load: Load) -> Sample {
    let pool = pool.clone();
    load.run(move |caller, _| {
        let pool = pool.clone();
        async move {
            let mut transaction = pool.begin().await?;
            sqlx::query("update row_lock.stock set available = available - 1, locked = locked + 1 where id = 1 and available > 0")
                .execute(&mut *transaction)
                .await?;
            sqlx::query("insert into row_lock.purchase (user_id, ticket_type, quantity) values ($1, 1, 1)")
                .bind(caller as i32)
                .execute(&mut *transaction)
                .await?;
            sqlx::query("insert into row_lock.outbox (body) values (repeat('x', 293))").execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(true)
        }
    })
    .await
}
