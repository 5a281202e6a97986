//! The stock read model: what is left of each ticket type.

use domain::{Decider, Money, ShowId, Stock, StockEvent, TicketTypeId};
use event_store::read::RecordedEvent;
use messaging::Topic;
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};

use crate::columns::{column, money};
use crate::page::{self, Page};
use crate::read_model::{ReadModel, Table};
use crate::{ProjectionError, checkpoint, current, past};

/// The stock of a ticket type as it is shown. Signed, so that a ledger that is wrong can be shown too.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StockView {
    pub ticket_type_id: TicketTypeId,
    pub show_id: ShowId,
    pub name: String,
    pub price: Money,
    pub capacity: i64,
    pub available: i64,
    pub locked: i64,
    pub sold: i64,
    /// The version of its stream that is shown.
    pub version: i64,
    /// Ledger position of the last event that is shown.
    pub position: i64,
}

/// The stock as the ledger has it now, whether the projection runs or not.
pub async fn get(pool: &PgPool, ticket_type_id: TicketTypeId) -> Result<Option<StockView>, ProjectionError> {
    current::read(pool, &Stock::stream_id(&ticket_type_id.to_string())).await
}

/// The stock as it was after a position of the ledger; none where it had not been put on sale.
pub async fn at(
    pool: &PgPool,
    ticket_type_id: TicketTypeId,
    position: i64,
) -> Result<Option<StockView>, ProjectionError> {
    past::read(pool, &Stock::stream_id(&ticket_type_id.to_string()), position).await
}

/// The stock as the ledger has it now, from a state that was kept elsewhere. `None` where the ledger has no such event, or
/// too many after it: ask it for all of it then.
pub async fn get_from(pool: &PgPool, kept: StockView) -> Result<Option<StockView>, ProjectionError> {
    let stream_id = Stock::stream_id(&kept.ticket_type_id.to_string());
    let position = kept.position;
    current::read_from(pool, &stream_id, kept, position).await
}

/// Which ticket types.
#[derive(Debug, Clone, Default)]
pub struct StockFilter {
    pub show_id: Option<ShowId>,
    /// Only those with a higher id.
    pub after: Option<i64>,
    /// At most [`MAX_PAGE_ROWS`](crate::MAX_PAGE_ROWS).
    pub limit: u32,
}

/// A page of ticket types as far as they are projected, by id.
pub async fn list(pool: &PgPool, filter: &StockFilter) -> Result<Page<StockView>, ProjectionError> {
    let rows = page::rows(filter.limit);
    let mut connection = pool.acquire().await?;
    // Before the rows, so that they are never older than the position that is promised.
    let position = checkpoint::checkpoint(&mut connection, StockView::NAME).await?;
    let mut items: Vec<StockView> = sqlx::query_as(include_str!("../sql/list_stock.sql"))
        .bind(filter.after.unwrap_or(0))
        .bind(filter.show_id.map(ShowId::get))
        .bind(i64::from(rows) + 1)
        .fetch_all(&mut *connection)
        .await?;
    let more = items.len() > rows as usize;
    items.truncate(rows as usize);
    let next = items.last().filter(|_| more).map(|last| last.ticket_type_id.to_string());
    Ok(Page { items, next, position })
}

impl ReadModel for StockView {
    const NAME: &'static str = "stock";
    const CODE_VERSION: i32 = 1;
    const KEY_COLUMN: &'static str = "ticket_type_id";
    const TOPICS: &'static [Topic] = &[Topic::StockSync];
    const CONSUMER: &'static str = "stock-projection";
    type Aggregate = Stock;

    fn begin(event: &StockEvent, _recorded: &RecordedEvent) -> Option<Self> {
        match event {
            StockEvent::TicketTypePutOnSale { ticket_type_id, show_id, name, price, capacity } => Some(Self {
                ticket_type_id: *ticket_type_id,
                show_id: *show_id,
                name: name.clone(),
                price: *price,
                capacity: i64::from(*capacity),
                available: i64::from(*capacity),
                locked: 0,
                sold: 0,
                version: 0,
                position: 0,
            }),
            _ => None,
        }
    }

    fn apply(&mut self, event: &StockEvent) {
        match event {
            StockEvent::CapacityChanged { delta } => {
                self.capacity += delta;
                self.available += delta;
            }
            StockEvent::StockLocked { quantity, .. } => {
                self.available -= i64::from(quantity.get());
                self.locked += i64::from(quantity.get());
            }
            StockEvent::StockDeducted { quantity, .. } => {
                self.locked -= i64::from(quantity.get());
                self.sold += i64::from(quantity.get());
            }
            StockEvent::StockReleased { quantity, .. } | StockEvent::StockLockLapsed { quantity, .. } => {
                self.locked -= i64::from(quantity.get());
                self.available += i64::from(quantity.get());
            }
            StockEvent::StockReturned { quantity, .. } => {
                self.sold -= i64::from(quantity.get());
                self.available += i64::from(quantity.get());
            }
            StockEvent::TicketTypePutOnSale { .. }
            | StockEvent::StockLockRenewed { .. }
            | StockEvent::StockLockSecured { .. }
            | StockEvent::StockRollbackRemembered { .. } => {}
        }
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn stamp(&mut self, version: i64, position: i64) {
        self.version = version;
        self.position = position;
    }

    fn stream_id(&self) -> String {
        Stock::stream_id(&self.ticket_type_id.to_string())
    }

    async fn load(connection: &mut PgConnection, table: &Table, ids: &[&str]) -> Result<Vec<Self>, sqlx::Error> {
        let ids: Vec<i64> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        sqlx::query_as(table.sql(include_str!("../sql/load_stock.sql"))).bind(ids).fetch_all(connection).await
    }

    async fn upsert(connection: &mut PgConnection, table: &Table, rows: &[Self]) -> Result<(), sqlx::Error> {
        fn all<'a, T>(rows: &'a [StockView], value: impl Fn(&'a StockView) -> T) -> Vec<T> {
            rows.iter().map(value).collect()
        }
        sqlx::query(table.sql(include_str!("../sql/upsert_stock.sql")))
            .bind(all(rows, |row| row.ticket_type_id.get()))
            .bind(all(rows, |row| row.show_id.get()))
            .bind(all(rows, |row| row.name.as_str()))
            .bind(all(rows, |row| -> Decimal { row.price.as_decimal() }))
            .bind(all(rows, |row| row.capacity))
            .bind(all(rows, |row| row.available))
            .bind(all(rows, |row| row.locked))
            .bind(all(rows, |row| row.sold))
            .bind(all(rows, |row| row.version))
            .bind(all(rows, |row| row.position))
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl FromRow<'_, PgRow> for StockView {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            ticket_type_id: column(row, "ticket_type_id", TicketTypeId::new)?,
            show_id: column(row, "show_id", ShowId::new)?,
            name: row.try_get("name")?,
            price: money(row, "price")?,
            capacity: row.try_get("capacity")?,
            available: row.try_get("available")?,
            locked: row.try_get("locked")?,
            sold: row.try_get("sold")?,
            version: row.try_get("version")?,
            position: row.try_get("position")?,
        })
    }
}
