//! I3: each read model has applied every version of every stream up to its checkpoint, and no stream has a gap.

use event_store::verify::Violation;
use sqlx::{AssertSqlSafe, PgPool};

use super::{Findings, MAX_TOLD};
use crate::ProjectionError;
use crate::notifications::NotificationView;
use crate::orders::OrderView;
use crate::read_model::{ReadModel, category_prefix};
use crate::sagas::SagaView;
use crate::stock::StockView;

/// Compares the version of each row with the last of its stream, at the checkpoint.
pub async fn versions(pool: &PgPool) -> Result<Vec<Violation>, ProjectionError> {
    let mut findings = Findings::of("I3");
    of::<OrderView>(pool, &mut findings).await?;
    of::<StockView>(pool, &mut findings).await?;
    of::<NotificationView>(pool, &mut findings).await?;
    of::<SagaView>(pool, &mut findings).await?;
    Ok(findings.into_violations())
}

async fn of<M: ReadModel>(pool: &PgPool, findings: &mut Findings) -> Result<(), ProjectionError> {
    // Through the view, which is the active version in the statement's own snapshot.
    let statement = include_str!("../../sql/last_versions.sql")
        .replace("{table}", &format!("read_models.{}", M::NAME))
        .replace("{key}", M::KEY_COLUMN);
    let rows: Vec<(String, i64, i64, Option<i64>)> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(M::NAME)
        .bind(category_prefix::<M>())
        .bind(MAX_TOLD as i64 + 1)
        .fetch_all(pool)
        .await?;
    for (stream_id, version, events, applied) in rows {
        findings.add(if events != version {
            format!("{stream_id} has {events} events and ends with version {version}")
        } else {
            let applied = applied.map_or("has none of it".to_owned(), |applied| format!("is at version {applied}"));
            format!("{stream_id} is at version {version}, the read model {} {applied}", M::NAME)
        });
    }
    Ok(())
}
