//! A private PostgreSQL server as a child process: for `order-ledger up`, and for every test that
//! needs a real database.
//!
//! The server uses the binaries that are installed (or downloads them once), drops root, keeps fsync
//! on, listens on loopback only, and ends with the process that started it, however that one ends.
//! Starting again on the same directory finds the same data.

mod account;
mod binaries;
mod cluster;
mod config;
mod error;
mod launch;
mod server;
pub mod testing;

pub use config::{Authentication, EmbeddedPostgresConfig};
pub use error::EmbeddedPostgresError;
pub use server::EmbeddedPostgres;
