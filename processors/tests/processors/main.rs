//! The processors on a real Postgres: requests, messages and deadlines in, the ledger's state out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod caching;
mod cancelling;
mod channels;
mod expiring;
mod interleaving;
mod lapsing;
mod lifecycle;
mod mailing;
mod notifying;
mod order_of_messages;
mod paying;
mod redis_server;
mod resolving;
mod saga_steps;
mod sandbox;
mod sms_provider;
mod smtp_server;
mod stock_messages;
mod support;
mod sync;
mod texting;
