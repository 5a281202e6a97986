//! The ledger: append-only events in Postgres with gapless, commit-ordered positions, and the group commit that is its
//! only writer. Commands go in through [`Ledger::submit`]; everything else here reads.

mod append;
mod batch;
mod cache;
mod clock;
mod command;
mod connection;
mod contention;
pub mod deadline;
mod decide;
mod error;
mod executor;
mod hash;
pub mod housekeeping;
mod job;
pub mod lease;
mod ledger;
mod load;
mod migrate;
pub mod read;
mod request;
pub mod select;
mod settle;
mod side_tasks;
mod slot;
pub mod span;
mod stream;
mod unit_of_work;
pub mod verify;
mod waiting;

pub use command::{Command, CommandKey, Metadata};
pub use error::{CommandError, KeyRecord, StoreError};
pub use ledger::{Committed, Ledger, LedgerConfig};
pub use load::Loaded;
pub use migrate::{is_migrated, migrate};
pub use unit_of_work::{Deadline, OutboxMessage, Refusal, UnitOfWork};

/// The channel on which appenders announce the newest position: `NOTIFY ledger_head, '<position>'`.
pub const HEAD_CHANNEL: &str = "ledger_head";
