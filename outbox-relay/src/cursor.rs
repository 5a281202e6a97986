//! How far each lane was sent, durably.

use event_store::lease::Lease;
use messaging::LANES;
use sqlx::{PgExecutor, PgPool};

use crate::outbox::Place;
use crate::parked::{self, ParkedRow};

/// Puts the lease's token on every lane's cursor, and says where they are. `None`: a newer holder was here already.
pub(crate) async fn claim(pool: &PgPool, lease: &Lease) -> sqlx::Result<Option<Vec<(i16, Place)>>> {
    let cursors: Vec<(i16, i64, i16)> =
        sqlx::query_as(include_str!("sql/claim.sql")).bind(i32::from(LANES)).bind(lease.token).fetch_all(pool).await?;
    let is_complete = cursors.len() == usize::from(LANES.unsigned_abs());
    let cursors = cursors.into_iter().map(|(lane, position, n)| (lane, Place { position, n })).collect();
    Ok(is_complete.then_some(cursors))
}

/// Moves the cursors and writes down what was parked on the way, in one transaction. False: the lease is lost.
pub(crate) async fn advance(
    pool: &PgPool,
    token: i64,
    moves: &[(i16, Place)],
    parked: &[ParkedRow],
) -> sqlx::Result<bool> {
    if moves.is_empty() {
        return Ok(true);
    }
    if parked.is_empty() {
        return move_all(pool, token, moves).await;
    }
    let mut transaction = pool.begin().await?;
    if !move_all(&mut *transaction, token, moves).await? {
        transaction.rollback().await?;
        return Ok(false);
    }
    parked::insert(&mut transaction, parked).await?;
    transaction.commit().await?;
    Ok(true)
}

async fn move_all(executor: impl PgExecutor<'_>, token: i64, moves: &[(i16, Place)]) -> sqlx::Result<bool> {
    let moved = sqlx::query(include_str!("sql/advance.sql"))
        .bind(moves.iter().map(|(lane, _)| *lane).collect::<Vec<_>>())
        .bind(moves.iter().map(|(_, place)| place.position).collect::<Vec<_>>())
        .bind(moves.iter().map(|(_, place)| place.n).collect::<Vec<_>>())
        .bind(token)
        .execute(executor)
        .await?;
    Ok(moved.rows_affected() == moves.len() as u64)
}
