//! Read models: what people and lists are shown of the ledger.
//!
//! - [`orders`], [`stock`], [`notifications`], [`sagas`]: a read model each, its row, its fold and its queries.
//! - [`read_model`]: what they have in common; the fold of a batch, live and rebuilt alike.
//! - [`projector`], [`run`]: keeping them up to date; [`checkpoint`], [`lag`]: how far they are;
//!   [`critical_time`]: how long orders took to be seen.
//! - [`Moment`]: what is shown of the past.
//! - [`rebuild`]: building one anew beside the one that is shown. [`verify`]: whether they, the stock and the money add up.
//!
//! A read model holds nothing of its own: every row is a fold of one stream, and all of it can be built again. A
//! projection decides nothing and sends nothing.

mod columns;
mod config;
mod current;
mod error;
mod hash;
mod ledger;
mod pace;
mod page;
mod past;

pub mod checkpoint;
pub mod critical_time;
pub mod head;
pub mod lag;
pub mod notifications;
pub mod orders;
pub mod projector;
pub mod read_model;
pub mod rebuild;
mod redriven;
pub mod run;
pub mod saga_watch;
pub mod sagas;
pub mod stock;
pub mod verify;

pub use checkpoint::{Checkpoints, wait_for};
pub use config::ProjectorConfig;
pub use error::ProjectionError;
pub use hash::TableHash;
pub use lag::{ProjectionLag, lag};
pub use notifications::NotificationView;
pub use orders::{OrderFilter, OrderView};
pub use page::{MAX_PAGE_ROWS, Page};
pub use past::Moment;
pub use projector::{Applied, Projector, Step};
pub use read_model::{ReadModel, Table, fold};
pub use rebuild::{Rebuild, RebuildConfig, RebuildState, Rebuilder};
pub use redriven::redrive_handlers;
pub use run::Projections;
pub use saga_watch::{SagaWatch, SagaWatchConfig};
pub use sagas::{SagaFilter, SagaStatus, SagaView};
pub use stock::StockView;

/// The names of all projections.
pub const NAMES: [&str; 4] = [OrderView::NAME, StockView::NAME, NotificationView::NAME, SagaView::NAME];

/// The version of the fold that this program has for a projection.
pub fn code_version(name: &str) -> Option<i32> {
    let versions =
        [OrderView::CODE_VERSION, StockView::CODE_VERSION, NotificationView::CODE_VERSION, SagaView::CODE_VERSION];
    NAMES.into_iter().zip(versions).find_map(|(known, version)| (known == name).then_some(version))
}
