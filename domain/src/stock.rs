//! The stock of one ticket type: what is on sale, set aside and sold.

mod command;
mod decide;
mod event;
mod evolve;
mod rejection;
mod settled;

use chrono::{DateTime, Utc};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::decider::Decider;
use crate::ids::{LockId, OrderId, Quantity, ShowId, TicketTypeId};
use crate::money::Money;
use crate::schema::EventSchema;

pub use command::StockCommand;
pub use event::StockEvent;
pub use rejection::StockRejection;
pub use settled::{Became, SETTLED_LOCKS_REMEMBERED, SettledLock, SettledLocks};

/// The stock of one ticket type. `available + locked + sold = capacity`, always.
///
/// Read by everyone, changed by its events alone. A hot one is cloned for every command: its locks
/// live in persistent maps, so that a clone costs the same however many there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stock {
    /// What is sold; `None` until it is put on sale.
    pub on_sale: Option<TicketType>,
    pub capacity: u32,
    pub available: u32,
    pub locked: u32,
    pub sold: u32,
    /// The live locks: a lock is live until an event ends it, whatever the clock says.
    pub locks: OrdMap<LockId, Lock>,
    /// What became of the locks that ended last.
    pub settled: SettledLocks,
}

/// What is sold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketType {
    pub ticket_type_id: TicketTypeId,
    pub show_id: ShowId,
    pub name: String,
    pub price: Money,
}

/// Tickets set aside for an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    pub order_id: OrderId,
    pub quantity: Quantity,
    pub expires_at: DateTime<Utc>,
    /// Paid for: it can neither lapse nor be released.
    pub secured: bool,
}

impl Decider for Stock {
    const CATEGORY: &'static str = "stock";
    const SCHEMAS: &'static [EventSchema] = StockEvent::SCHEMAS;

    fn decide(&self, command: StockCommand) -> Result<Vec<StockEvent>, StockRejection> {
        decide::decide(self, command)
    }
}

aggregate!(Stock, StockCommand, StockEvent, StockRejection);
