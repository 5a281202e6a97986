//! The watch on a real Postgres, with a relay and the broker in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod history;
mod lag;
mod missing;
mod support;
