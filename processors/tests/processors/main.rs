//! The processors on a real Postgres: requests, messages and deadlines in, the ledger's state out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod caching;
mod cancelling;
mod channels;
mod circuit;
mod expiring;
mod http_provider;
mod interleaving;
mod lapsing;
mod lifecycle;
mod mailing;
mod notifying;
mod order_of_messages;
mod paying;
mod receiver;
mod redis_server;
mod replaying;
mod sandbox;
mod silence;
mod sms_provider;
mod smtp_server;
mod support;
mod sync;
mod telling_results;
mod texting;
