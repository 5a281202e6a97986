//! Giving a message up.

use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use super::park::{lock_keys, storable_reason};
use super::redrives::{self, Selection};
use super::{DeadLetterError, find_on};

/// What a discard left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Messages of the same key that are still undelivered.
    pub behind: i64,
    /// The redrive that takes them on, where nothing dead stands before them any more.
    pub redrive_id: Option<Uuid>,
}

/// Undelivered messages of a key.
#[derive(FromRow)]
pub(super) struct Left {
    next_id: i64,
    next_state: String,
    pub(super) messages: i64,
}

/// Gives one message up, in the caller's transaction. Where it was what its key waited for, the key goes on by itself: a
/// redrive of those behind it is asked for in the same transaction.
pub async fn discard(
    transaction: &mut PgConnection,
    id: i64,
    by: &str,
    reason: &str,
) -> Result<Discarded, DeadLetterError> {
    let letter = find_on(&mut *transaction, id).await?;
    let keys: Vec<&str> = letter.waiting_key.as_deref().into_iter().collect();
    // A redrive that is applying it just now comes first.
    lock_keys(transaction, &letter.consumer, &keys).await?;
    let discarded = sqlx::query(include_str!("discard.sql"))
        .bind(id)
        .bind(by)
        .bind(storable_reason(reason))
        .execute(&mut *transaction)
        .await?;
    if discarded.rows_affected() == 0 {
        let state = find_on(transaction, id).await?.state;
        return Err(DeadLetterError::Resolved { id, state });
    }
    let Some(key) = &letter.waiting_key else { return Ok(Discarded::default()) };
    let Some(left) = left_of_key(&mut *transaction, &letter.consumer, key).await? else {
        return Ok(Discarded::default());
    };
    let redrive_id = match left.next_state.as_str() {
        "behind" => {
            // With its key: by the id alone all undelivered letters would be gone through.
            let selection = Selection {
                consumer: Some(letter.consumer.clone()),
                waiting_key: Some(key.clone()),
                ids: vec![left.next_id],
                ..Selection::default()
            };
            let started = redrives::start(transaction, &selection, redrives::DEFAULT_RATE_PER_SECOND, by).await?;
            Some(started.redrive_id)
        }
        _ => None,
    };
    Ok(Discarded { behind: left.messages, redrive_id })
}

/// None where nothing is.
pub(super) async fn left_of_key(
    executor: impl PgExecutor<'_>,
    consumer: &str,
    key: &str,
) -> Result<Option<Left>, sqlx::Error> {
    sqlx::query_as(include_str!("left_of_key.sql")).bind(consumer).bind(key).fetch_optional(executor).await
}
