//! The saga read model: which fulfilments are under way and how far each one is, and the queries.
//!
//! No message tells of every step of a saga, and nobody waits for this list: the ledger's head drives it.

use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use domain::fulfilment::BegunFulfilment;
use domain::{Decider, Fulfilment, FulfilmentEvent, FulfilmentStep, OrderId, TicketTypeId};
use event_store::read::RecordedEvent;
use messaging::Topic;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::time::Duration;

use crate::columns::column;
use crate::page::{self, Cursor, Page};
use crate::read_model::{ReadModel, Table};
use crate::{ProjectionError, checkpoint, current};

const CURSOR: Cursor = Cursor::of_list('s');

/// A saga as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct SagaView {
    pub order_id: OrderId,
    pub ticket_type_id: TicketTypeId,
    pub status: SagaStatus,
    pub step: FulfilmentStep,
    /// When it came to this step, or a person last decided about it.
    pub step_since: DateTime<Utc>,
    /// A compensation failed too often: only a person moves it.
    pub handed_over: bool,
    /// The saga itself.
    pub saga: BegunFulfilment,
    pub begun_at: DateTime<Utc>,
    /// Ledger position of its first event: its place in lists.
    pub begun_position: i64,
    /// The version of its stream that is shown.
    pub version: i64,
    /// Ledger position of the last event that is shown.
    pub position: i64,
    /// The event applied last moved it on, though it may have stayed at its step.
    moved: bool,
}

/// How a saga stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SagaStatus {
    /// Something remains to be done.
    Running,
    /// The tickets are the user's.
    Completed,
    /// It was refused or undone, and nothing remains.
    Compensated,
}

/// Which sagas to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SagaFilter {
    Any,
    Of(SagaStatus),
    /// Running, and without a step for so long, unless they wait for a payment whose time is not over.
    Stuck {
        after: Duration,
    },
}

/// The saga as the ledger has it now, whether the projection runs or not.
pub async fn get(pool: &PgPool, order_id: &OrderId) -> Result<Option<SagaView>, ProjectionError> {
    current::read(pool, &Fulfilment::stream_id(order_id.as_str())).await
}

/// A page of sagas, newest first, as far as they are projected.
pub async fn list(
    pool: &PgPool,
    filter: SagaFilter,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<SagaView>, ProjectionError> {
    let below = CURSOR.read(after)?;
    let rows = page::rows(limit);
    let mut connection = pool.acquire().await?;
    // Before the rows, so that they are never older than the position that is promised.
    let position = checkpoint::checkpoint(&mut connection, SagaView::NAME).await?;
    let query = match filter {
        SagaFilter::Any => sqlx::query_as(include_str!("../sql/list_sagas.sql")).bind(below).bind(None::<&str>),
        SagaFilter::Of(status) => {
            sqlx::query_as(include_str!("../sql/list_sagas.sql")).bind(below).bind(Some(status.as_str()))
        }
        SagaFilter::Stuck { after } => {
            sqlx::query_as(include_str!("../sql/stuck_sagas.sql")).bind(after.as_secs_f64()).bind(below)
        }
    };
    let sagas = query.bind(i64::from(rows) + 1).fetch_all(&mut *connection).await?;
    Ok(CURSOR.page(sagas, rows, position, |saga: &SagaView| saga.begun_position))
}

/// How many sagas are at each step that is not an end.
pub async fn count_running(pool: &PgPool) -> Result<Vec<(String, i64)>, ProjectionError> {
    Ok(sqlx::query_as(include_str!("../sql/count_running_sagas.sql")).fetch_all(pool).await?)
}

impl SagaView {
    /// What is still to be done, in order.
    pub fn remaining(&self) -> Vec<&'static str> {
        self.saga.remaining()
    }

    /// Takes the columns from the saga.
    fn derive(&mut self, at: DateTime<Utc>) {
        let step = self.saga.step();
        if step != self.step || self.moved {
            self.step_since = at;
        }
        self.moved = false;
        self.step = step;
        self.status = SagaStatus::of(step);
        self.handed_over = self.saga.is_handed_over();
    }
}

impl SagaStatus {
    /// The status as REST and SQL spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
        }
    }

    /// The status spelt like this, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Completed, Self::Compensated].into_iter().find(|status| status.as_str() == text)
    }

    fn of(step: FulfilmentStep) -> Self {
        match step {
            FulfilmentStep::Completed => Self::Completed,
            step if step.is_terminal() => Self::Compensated,
            _ => Self::Running,
        }
    }
}

impl ReadModel for SagaView {
    const NAME: &'static str = "sagas";
    const CODE_VERSION: i32 = 1;
    const KEY_COLUMN: &'static str = "order_id";
    const TOPICS: &'static [Topic] = &[];
    const CONSUMER: &'static str = "saga-projection";
    type Aggregate = Fulfilment;

    fn begin(event: &FulfilmentEvent, recorded: &RecordedEvent) -> Option<Self> {
        let mut fulfilment = Fulfilment::default();
        fulfilment.apply(event.clone());
        let saga = fulfilment.begun?;
        Some(Self {
            order_id: saga.order_id.clone(),
            ticket_type_id: saga.ticket_type_id,
            status: SagaStatus::Running,
            step: saga.step(),
            step_since: recorded.recorded_at,
            handed_over: false,
            saga,
            begun_at: recorded.recorded_at,
            begun_position: recorded.position,
            version: 0,
            position: 0,
            moved: false,
        })
    }

    fn apply(&mut self, event: &FulfilmentEvent) {
        let mut fulfilment = Fulfilment { begun: Some(self.saga.clone()) };
        fulfilment.apply(event.clone());
        if let Some(saga) = fulfilment.begun {
            self.saga = saga;
        }
        self.moved = matches!(event, FulfilmentEvent::CompensationResolved { .. });
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn stamp(&mut self, version: i64, position: i64) {
        self.version = version;
        self.position = position;
    }

    fn note_time(&mut self, recorded_at: DateTime<Utc>) {
        self.derive(recorded_at);
    }

    fn stream_id(&self) -> String {
        Fulfilment::stream_id(self.order_id.as_str())
    }

    async fn load(connection: &mut PgConnection, table: &Table, ids: &[&str]) -> Result<Vec<Self>, sqlx::Error> {
        sqlx::query_as(table.sql(include_str!("../sql/load_sagas.sql"))).bind(ids).fetch_all(connection).await
    }

    async fn upsert(connection: &mut PgConnection, table: &Table, rows: &[Self]) -> Result<(), sqlx::Error> {
        fn all<'a, T>(rows: &'a [SagaView], value: impl Fn(&'a SagaView) -> T) -> Vec<T> {
            rows.iter().map(value).collect()
        }
        let states: Result<Vec<String>, _> = rows.iter().map(|row| serde_json::to_string(&row.saga)).collect();
        let states = states.map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        sqlx::query(table.sql(include_str!("../sql/upsert_sagas.sql")))
            .bind(all(rows, |row| row.order_id.as_str()))
            .bind(all(rows, |row| row.ticket_type_id.get()))
            .bind(all(rows, |row| row.status.as_str()))
            .bind(all(rows, |row| row.step.as_str()))
            .bind(all(rows, |row| row.step_since))
            .bind(all(rows, |row| row.handed_over))
            .bind(states)
            .bind(all(rows, |row| row.begun_at))
            .bind(all(rows, |row| row.begun_position))
            .bind(all(rows, |row| row.version))
            .bind(all(rows, |row| row.position))
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl FromRow<'_, PgRow> for SagaView {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            order_id: column(row, "order_id", OrderId::parse)?,
            ticket_type_id: column(row, "ticket_type_id", TicketTypeId::new)?,
            status: column(row, "status", |text: &str| SagaStatus::parse(text).ok_or("no status"))?,
            step: column(row, "step", |text: &str| FulfilmentStep::parse(text).ok_or("no step"))?,
            step_since: row.try_get("step_since")?,
            handed_over: row.try_get("handed_over")?,
            saga: column(row, "state", |text: &str| serde_json::from_str(text))?,
            begun_at: row.try_get("begun_at")?,
            begun_position: row.try_get("begun_position")?,
            version: row.try_get("version")?,
            position: row.try_get("position")?,
            moved: false,
        })
    }
}
