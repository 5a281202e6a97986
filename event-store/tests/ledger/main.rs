//! The ledger against a real Postgres.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod appends;
mod contention;
mod data_errors;
mod keys;
mod leases;
mod lost_connections;
mod model;
mod news;
mod overload;
mod processes;
mod states;
mod support;
mod tampering;
