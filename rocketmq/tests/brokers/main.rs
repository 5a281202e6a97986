//! The adapter against real brokers: the embedded one as a process of its own, and Apache RocketMQ where Java is.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![recursion_limit = "512"]

mod apache;
mod conformance;
mod embedded;
mod measure;
mod outage;
mod scenario;
mod settings;
mod traps;
