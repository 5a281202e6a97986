//! The operator console and the API's description, for people who would rather look: pages that the binary carries, and
//! charts that it draws.
//!
//! The pages are plain HTML, one style sheet and small ES modules in `assets/`, as they are written: there is no build
//! step and nothing of others. They ask the REST interface with the token of whoever looks, so this crate knows nothing
//! of the ledger and decides nothing.

mod assets;
pub mod chart;
mod serve;

pub use serve::router;
