//! An aggregate small enough to reason about, and a ledger to try it on.

use std::time::Duration;

use domain::{Decider, EventSchema, Rejection, StockRejection, UpcastError};
use event_store::{Command, CommandKey, Ledger, LedgerConfig, Metadata, OutboxMessage, Refusal, UnitOfWork};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

/// Counts, up to a limit where a command names one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub total: u64,
    pub additions: u64,
}

pub enum TallyCommand {
    Add { by: u32 },
    AddUpTo { by: u32, limit: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TallyEvent {
    Added { by: u32 },
}

impl cqrs_es::DomainEvent for TallyEvent {
    fn event_type(&self) -> String {
        "Added".to_owned()
    }

    fn event_version(&self) -> String {
        "2".to_owned()
    }
}

impl Decider for Tally {
    const CATEGORY: &'static str = "tally";
    const SCHEMAS: &'static [EventSchema] = &[EventSchema { event_type: "Added", version: 2 }];

    fn decide(&self, command: TallyCommand) -> Result<Vec<TallyEvent>, StockRejection> {
        let (by, limit) = match command {
            TallyCommand::Add { by } => (by, u64::MAX),
            TallyCommand::AddUpTo { by, limit } => (by, u64::from(limit)),
        };
        if self.total + u64::from(by) > limit {
            let available = u32::try_from(limit.saturating_sub(self.total)).unwrap();
            return Err(StockRejection::InsufficientStock { requested: by, available });
        }
        Ok(vec![TallyEvent::Added { by }])
    }

    /// Version 1 called its number `amount`.
    fn upcast(_event_type: &str, schema_version: u16, payload: String) -> Result<String, UpcastError> {
        Ok(if schema_version == 1 { payload.replace("\"amount\"", "\"by\"") } else { payload })
    }
}

impl cqrs_es::Aggregate for Tally {
    const TYPE: &'static str = "tally";
    type Command = TallyCommand;
    type Event = TallyEvent;
    type Error = StockRejection;
    type Services = ();

    async fn handle(
        &mut self,
        command: TallyCommand,
        _services: &(),
        sink: &cqrs_es::event_sink::EventSink<Self>,
    ) -> Result<(), StockRejection> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, TallyEvent::Added { by }: TallyEvent) {
        self.total += u64::from(by);
        self.additions += 1;
    }
}

pub fn insufficient(requested: u32, available: u32) -> Rejection {
    StockRejection::InsufficientStock { requested, available }.into()
}

/// A migrated database of the test's own.
pub struct Database {
    pub url: String,
    pub pool: PgPool,
}

impl Database {
    pub async fn new() -> Self {
        let url = embedded_postgres::testing::database().url;
        let pool = pool(&url).await;
        event_store::migrate(&pool).await.unwrap();
        Self { url, pool }
    }

    pub async fn ledger(&self) -> Ledger {
        self.ledger_with(LedgerConfig::default()).await
    }

    pub async fn ledger_with(&self, config: LedgerConfig) -> Ledger {
        Ledger::start(self.pool.clone(), config).await.unwrap()
    }

    /// What is in the database is what a ledger must be.
    pub async fn assert_sound(&self) {
        assert_eq!(event_store::verify::ledger(&self.pool).await.unwrap(), []);
    }

    pub async fn count(&self, table: &str) -> i64 {
        let sql = format!("select count(*) from {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.pool).await.unwrap()
    }

    pub async fn run(&self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// Positions of a stream's events, in order.
    pub async fn positions(&self, stream_id: &str) -> Vec<i64> {
        let events = event_store::read::stream(&self.pool, stream_id, 0, i64::MAX).await.unwrap();
        events.into_iter().map(|event| event.position).collect()
    }
}

pub async fn pool(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(4).connect(url).await.unwrap()
}

pub fn command() -> Command {
    Command::new(Metadata::default())
}

pub fn key(key: &str) -> CommandKey {
    CommandKey { scope: "test".to_owned(), key: key.to_owned(), request_hash: None }
}

/// A decision that adds to one tally.
pub fn add(id: &str, by: u32) -> impl FnMut(&mut UnitOfWork<'_>) -> Result<(), Refusal> + Send + use<> {
    let id = id.to_owned();
    move |unit| {
        unit.handle::<Tally>(&id, TallyCommand::Add { by })?;
        Ok(())
    }
}

pub fn message(key: &str) -> OutboxMessage {
    OutboxMessage {
        message_id: Uuid::now_v7(),
        lane: 3,
        topic: "tallies".to_owned(),
        ordering_key: key.to_owned(),
        business_id: key.to_owned(),
        event_type: "TALLY".to_owned(),
        body: "{}".to_owned(),
    }
}

/// Waits until the condition holds; a test that waits for ever has failed.
pub async fn eventually<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let patience = Duration::from_secs(30);
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(patience, waiting).await.is_ok(), "{what}");
}

/// Another session that holds the ledger's lock.
pub struct Blocker(PgConnection);

pub async fn block_appends(database: &Database) -> Blocker {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query("select pg_advisory_lock(7101)").execute(&mut connection).await.unwrap();
    Blocker(connection)
}

impl Blocker {
    pub async fn unblock(mut self) {
        sqlx::query("select pg_advisory_unlock(7101)").execute(&mut self.0).await.unwrap();
    }
}

pub const WAITING_APPENDS: &str = "pg_stat_activity
    where application_name = 'order-ledger append' and wait_event = 'advisory' and datname = current_database()";

pub async fn waiting_appends(database: &Database) -> i64 {
    database.count(WAITING_APPENDS).await
}
