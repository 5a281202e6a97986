//! The rules of the domain by example, and what holds after any sequence of commands.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fulfilment_rules;
mod handle;
mod ids;
mod money;
mod notification_rules;
mod order_properties;
mod order_rules;
mod order_table;
mod payment_rules;
mod schemas;
mod snapshots;
mod stock_properties;
mod stock_rules;
mod support;
