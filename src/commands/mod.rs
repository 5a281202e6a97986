//! Commands that do one thing and end.

pub mod bench;
pub mod config;
mod connect;
pub mod dead_letters;
pub mod events;
pub mod lag;
pub mod migrate;
mod range;
pub mod rebuild;
pub mod replay;
pub mod rollout;
pub mod sagas;
pub mod token;
pub mod topics;
pub mod verify;

pub use connect::{broker, database_url, ledger_config, missing_config, pool, rebuild_config, runtime};
