//! The processors on a real Postgres: requests, messages and deadlines in, the ledger's state out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cancelling;
mod expiring;
mod interleaving;
mod lapsing;
mod lifecycle;
mod notifying;
mod order_of_messages;
mod paying;
mod sandbox;
mod support;
mod sync;
