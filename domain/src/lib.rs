//! What an order ledger for ticket sales decides, and nothing else: no clock, no chance, no IO.
//!
//! Five aggregates, each a stream of events: [`Order`], [`Stock`] of one ticket type, [`Payment`],
//! [`Fulfilment`] (the saga of one order) and [`Notification`]. Each is a [`Decider`]: a command and the
//! state so far give events, or one typed [`Rejection`].

#[macro_use]
mod decider;

pub mod fulfilment;
pub mod ids;
pub mod money;
pub mod notification;
pub mod order;
pub mod payment;
pub mod stock;

mod rejection;
mod schema;

pub use decider::Decider;
pub use fulfilment::{Fulfilment, FulfilmentCommand, FulfilmentEvent, FulfilmentRejection, FulfilmentStep};
pub use ids::{IdError, LockId, NotificationId, OrderId, PaymentId, Quantity, ShowId, TicketTypeId, UserId};
pub use money::{Money, MoneyError};
pub use notification::{Channel, Notification, NotificationCommand, NotificationEvent, NotificationRejection};
pub use order::{Mode, Order, OrderCommand, OrderEvent, OrderRejection, OrderStatus};
pub use payment::{Payment, PaymentCommand, PaymentEvent, PaymentRejection, PaymentStatus};
pub use rejection::Rejection;
pub use schema::{CATEGORIES, EventSchema, UpcastError};
pub use stock::{Stock, StockCommand, StockEvent, StockRejection};
