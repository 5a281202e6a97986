//! The HTTP interface against a real Postgres and ledger. No broker: commands need none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod admin;
mod audit;
mod bad_input;
mod callback;
mod cancelling;
mod charts;
mod dead_letters;
mod events;
mod idempotency;
mod measurements;
mod notification_updates;
mod operation;
mod orders;
mod ownership;
mod pages;
mod parked;
mod past;
mod payments;
mod projections;
#[path = "../../../processors/tests/processors/redis_server.rs"]
#[allow(dead_code)]
mod redis_server;
mod rollout;
mod sagas;
mod serving;
mod stock;
mod stock_cache;
mod sync;
mod timeline;
mod updates;
mod users;
