//! What decides: the use cases, the consumers and deadlines that drive them, and the ports to the world outside.
//!
//! - [`commands`]: one use case a file, each one append; called by the API, by handlers and by deadlines alike.
//! - [`handlers`]: the consumers that turn messages into use cases.
//! - [`deadlines`]: orders that expire, locks that lapse, refunds that are owed.
//! - [`resolution`], [`dead_letters`]: what people decide about orders that hang, and messages that can't be applied.
//! - [`provider`], [`sandbox`], [`payment_result`]: payments. [`circuit`]: leaving alone what does not answer.
//! - [`contact`], [`templates`], [`senders`]: notifications.

pub mod audit;
pub mod catalogue;
pub mod circuit;
pub mod commands;
pub mod contact;
pub mod dead_letters;
pub mod deadlines;
pub mod handlers;
pub mod ids;
pub mod payment_result;
pub mod policy;
pub mod provider;
pub mod resolution;
pub mod sandbox;
pub mod senders;
pub mod stock_cache;
pub mod sync_payment;
pub mod templates;

pub use policy::Policy;
