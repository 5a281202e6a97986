//! Forms of answers that several calls share.

use axum::http::HeaderName;
use serde::Serialize;

/// Everything up to this ledger position is in the answer.
pub(crate) const LEDGER_POSITION: HeaderName = HeaderName::from_static("ledger-position");

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct ListBody<T> {
    pub items: Vec<T>,
    /// Give it as `after` for the next page; null at the end.
    pub next: Option<String>,
}
