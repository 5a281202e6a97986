//! The ledger as projections read it: by ranges of positions, which have no gaps.

mod copied;

use event_store::StoreError;
use event_store::read::{self, RecordedEvent};
use sqlx::{PgConnection, PgPool};

pub(crate) use copied::copy_category_range;

/// Ledger positions read at once, where nothing else bounds it.
pub(crate) const RANGE: i64 = 5_000;

/// The events in `(after, upto]` on streams of one category, in order. The caller bounds the range.
pub(crate) async fn category_range(
    connection: &mut PgConnection,
    category: &str,
    after: i64,
    upto: i64,
) -> Result<Vec<RecordedEvent>, sqlx::Error> {
    sqlx::query_as(include_str!("../sql/category_range.sql"))
        .bind(format!("{category}-"))
        .bind(after)
        .bind(upto)
        .fetch_all(connection)
        .await
}

/// The event at a position.
pub(crate) async fn at(pool: &PgPool, position: i64) -> Result<Option<RecordedEvent>, StoreError> {
    Ok(read::after(pool, position - 1, 1, Some(position)).await?.pop())
}
