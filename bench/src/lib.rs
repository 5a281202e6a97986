//! `order-ledger bench`: each figure beside its baseline, in one run, on one Postgres.
//!
//! Absolute rates move with the machine; the ratios are what is claimed. Rounds alternate between the contestants, and
//! the median round of each is shown.

pub mod append;
pub mod consume;
mod database;
pub mod hot_stock;
mod load;
pub mod orders;
#[cfg(feature = "peers")]
mod peers;
pub mod rebuild;
pub mod relay;
mod report;
mod shop;

pub use append::AppendBench;
pub use consume::ConsumeBench;
pub use database::BenchDatabase;
pub use hot_stock::HotStockBench;
pub use load::{Load, Sample};
pub use orders::OrdersBench;
pub use rebuild::{Program, RebuildBench};
pub use relay::RelayBench;
pub use report::{Report, Row};
