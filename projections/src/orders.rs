//! The order read model: the row of an order, how it follows from its events, and the queries.

use chrono::{DateTime, SubsecRound, Utc};
use domain::{
    Decider, LockId, Mode, Money, Order, OrderEvent, OrderId, OrderStatus, PaymentId, Quantity, ShowId, TicketTypeId,
    UserId,
};
use event_store::read::RecordedEvent;
use messaging::Topic;
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Postgres, QueryBuilder, Row};

use crate::columns::{column, money, optional};
use crate::page::{self, Cursor, Page};
use crate::read_model::{ReadModel, Table};
use crate::{ProjectionError, checkpoint, current, past};

const CURSOR: Cursor = Cursor::of_list('o');

/// An order as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub show_id: ShowId,
    pub ticket_type_id: TicketTypeId,
    pub quantity: Quantity,
    pub total_amount: Money,
    pub status: OrderStatus,
    /// Why it is where it is, when someone or something gave a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub order_time: DateTime<Utc>,
    pub expire_time: DateTime<Utc>,
    /// The lock that held its tickets last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_id: Option<LockId>,
    /// The attempt to pay that was started or captured last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<PaymentId>,
    pub mode: Mode,
    /// Ledger position of its first event: its place in lists.
    #[serde(skip)]
    pub placed_position: i64,
    /// The version of its stream that is shown.
    pub version: i64,
    /// Ledger position of the last event that is shown.
    pub position: i64,
}

/// Which orders to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct OrderFilter {
    pub user_id: Option<UserId>,
    pub status: Option<OrderStatus>,
    /// `next` of the page before.
    pub after: Option<String>,
    /// At most [`MAX_PAGE_ROWS`](crate::MAX_PAGE_ROWS).
    pub limit: u32,
}

/// The order as the ledger has it now, whether the projection runs or not.
pub async fn get(pool: &PgPool, order_id: &OrderId) -> Result<Option<OrderView>, ProjectionError> {
    current::read(pool, &Order::stream_id(order_id.as_str())).await
}

/// The order as it was after a position of the ledger; none where it had not been placed.
pub async fn at(pool: &PgPool, order_id: &OrderId, position: i64) -> Result<Option<OrderView>, ProjectionError> {
    past::read(pool, &Order::stream_id(order_id.as_str()), position).await
}

/// A page of orders as far as they are projected.
pub async fn list(pool: &PgPool, filter: &OrderFilter) -> Result<Page<OrderView>, ProjectionError> {
    let below = CURSOR.read(filter.after.as_deref())?;
    let rows = page::rows(filter.limit);
    let mut connection = pool.acquire().await?;
    // Before the rows, so that they are never older than the position that is promised.
    let position = checkpoint::checkpoint(&mut connection, OrderView::NAME).await?;
    let orders = list_query(filter, below, rows).build_query_as().fetch_all(&mut *connection).await?;
    Ok(CURSOR.page(orders, rows, position, |order: &OrderView| order.placed_position))
}

/// Only the conditions that are asked for, so that each combination has a plan of its own.
fn list_query(filter: &OrderFilter, below: i64, rows: u32) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("select * from read_models.orders where placed_position < ");
    query.push_bind(below);
    if let Some(user_id) = filter.user_id {
        query.push(" and user_id = ").push_bind(user_id.get());
    }
    if let Some(status) = filter.status {
        query.push(" and status = ").push_bind(status.as_str());
    }
    query.push(" order by placed_position desc limit ").push_bind(i64::from(rows) + 1);
    query
}

impl ReadModel for OrderView {
    const NAME: &'static str = "orders";
    const CODE_VERSION: i32 = 1;
    const KEY_COLUMN: &'static str = "order_id";
    const TOPICS: &'static [Topic] = &[Topic::OrderStatusUpdate];
    const CONSUMER: &'static str = "order-projection";
    type Aggregate = Order;

    fn begin(event: &OrderEvent, recorded: &RecordedEvent) -> Option<Self> {
        let OrderEvent::OrderPlaced {
            order_id,
            user_id,
            show_id,
            ticket_type_id,
            quantity,
            total_amount,
            order_time,
            expire_time,
            mode,
        } = event
        else {
            return None;
        };
        Some(Self {
            order_id: order_id.clone(),
            user_id: *user_id,
            show_id: *show_id,
            ticket_type_id: *ticket_type_id,
            quantity: *quantity,
            total_amount: *total_amount,
            status: OrderStatus::Pending,
            reason: None,
            // As precise as the table, so that a row and a fold from scratch are equal.
            order_time: order_time.trunc_subsecs(6),
            expire_time: expire_time.trunc_subsecs(6),
            lock_id: None,
            payment_id: None,
            mode: *mode,
            placed_position: recorded.position,
            version: 0,
            position: 0,
        })
    }

    fn apply(&mut self, event: &OrderEvent) {
        self.status = event.status();
        event.explain(&mut self.reason);
        match event {
            OrderEvent::OrderStockHeld { lock_id, .. } => self.lock_id = Some(lock_id.clone()),
            OrderEvent::OrderPaymentStarted { payment_id, lock_id, .. }
            | OrderEvent::OrderPaid { payment_id, lock_id, .. } => {
                self.lock_id = Some(lock_id.clone());
                self.payment_id = Some(payment_id.clone());
            }
            _ => {}
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
        Order::stream_id(self.order_id.as_str())
    }

    async fn load(connection: &mut PgConnection, table: &Table, ids: &[&str]) -> Result<Vec<Self>, sqlx::Error> {
        sqlx::query_as(table.sql(include_str!("../sql/load_orders.sql"))).bind(ids).fetch_all(connection).await
    }

    async fn upsert(connection: &mut PgConnection, table: &Table, rows: &[Self]) -> Result<(), sqlx::Error> {
        fn all<'a, T>(rows: &'a [OrderView], value: impl Fn(&'a OrderView) -> T) -> Vec<T> {
            rows.iter().map(value).collect()
        }
        sqlx::query(table.sql(include_str!("../sql/upsert_orders.sql")))
            .bind(all(rows, |row| row.order_id.as_str()))
            .bind(all(rows, |row| row.user_id.get()))
            .bind(all(rows, |row| row.show_id.get()))
            .bind(all(rows, |row| row.ticket_type_id.get()))
            .bind(all(rows, |row| i64::from(row.quantity.get())))
            .bind(all(rows, |row| -> Decimal { row.total_amount.as_decimal() }))
            .bind(all(rows, |row| row.status.as_str()))
            .bind(all(rows, |row| row.reason.as_deref()))
            .bind(all(rows, |row| row.order_time))
            .bind(all(rows, |row| row.expire_time))
            .bind(all(rows, |row| row.lock_id.as_ref().map(LockId::as_str)))
            .bind(all(rows, |row| row.payment_id.as_ref().map(PaymentId::as_str)))
            .bind(all(rows, |row| row.mode.as_str()))
            .bind(all(rows, |row| row.placed_position))
            .bind(all(rows, |row| row.version))
            .bind(all(rows, |row| row.position))
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl FromRow<'_, PgRow> for OrderView {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            order_id: column(row, "order_id", OrderId::parse)?,
            user_id: column(row, "user_id", UserId::new)?,
            show_id: column(row, "show_id", ShowId::new)?,
            ticket_type_id: column(row, "ticket_type_id", TicketTypeId::new)?,
            quantity: column(row, "quantity", quantity)?,
            total_amount: money(row, "total_amount")?,
            status: column(row, "status", |text: &str| OrderStatus::parse(text).ok_or("no status"))?,
            reason: row.try_get("reason")?,
            order_time: row.try_get("order_time")?,
            expire_time: row.try_get("expire_time")?,
            lock_id: optional(row, "lock_id", LockId::parse)?,
            payment_id: optional(row, "payment_id", PaymentId::parse)?,
            mode: column(row, "mode", |text: &str| Mode::parse(text).ok_or("no mode"))?,
            placed_position: row.try_get("placed_position")?,
            version: row.try_get("version")?,
            position: row.try_get("position")?,
        })
    }
}

fn quantity(number: i64) -> Result<Quantity, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Quantity::new(u32::try_from(number)?)?)
}
