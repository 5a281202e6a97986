//! Tells whoever asked for it how a payment ended: signed, a bounded number of times, and only at addresses that the
//! configuration names.

mod address;
mod record;
mod sender;

pub use address::{AddressError, AllowedHosts, BadHost, PublicNames};
pub use record::forget_older_than;
pub use sender::{ResultConfigError, ResultError, ResultSender, ResultSenderConfig, Told, register_metrics};
