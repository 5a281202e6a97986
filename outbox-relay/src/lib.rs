//! Outbox → broker: every message the ledger holds reaches the broker at least once, in the order of its lane.
//!
//! A lane is one queue of one topic. One relay is active, by a lease with a fencing token; others stand by. It reads all
//! idle lanes with one statement, sends many lanes at once and one ordered batch at a time in each, and moves a lane's
//! cursor only when the broker confirmed the batch. So a crash can double what was in flight, and lose nothing.
//!
//! - [`OutboxRelay`]: the relay; [`OutboxRelay::step`] is the work, [`OutboxRelay::run`] the loop around it.
//! - [`parked`]: messages that can never be sent, and what people decide about them.
//! - [`cleanup`]: takes away rows that were sent long ago.
//! - [`lag`]: how far behind it is, exactly; [`consumer_lag`]: how far those are who read what it sent. [`health`]: whether
//!   the way to the broker is open. [`brokers`]: whether all of them answer.
//! - [`replay`]: sending messages of the past again. [`trace`]: how far one message came.

pub mod brokers;
mod circuit;
pub mod cleanup;
mod config;
pub mod consumer_lag;
mod cursor;
mod decisions;
mod error;
pub mod health;
pub mod kept;
pub mod lag;
mod lanes;
mod link;
pub mod metric;
mod outbox;
pub mod parked;
mod relay;
pub mod replay;
mod send;
mod tenure;
pub mod trace;
mod wake;

pub use circuit::CircuitState;
pub use config::RelayConfig;
pub use error::RelayError;
pub use relay::{LEASE_NAME, OutboxRelay, Role, StepReport};
