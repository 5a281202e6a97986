//! Applying dead letters after all, in the order they came.

use sqlx::{PgConnection, PgPool};

use super::park::lock_keys;
use super::{DeadLetter, DeadLetterError, DeadLetterState, find};
use crate::handler::{Effect, HandleError, Handler};
use crate::received::ReceivedMessage;
use crate::runtime::apply;

/// Most rows one [`redrive`] works on; call it again for the rest.
pub const MAX_ROWS_PER_REDRIVE: u32 = 1_000;

/// What a redrive did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Rows that are delivered now.
    pub delivered: u32,
    /// The row that failed again, if one did. It and those behind it stay.
    pub stopped_at: Option<StoppedAt>,
}

/// The row a redrive stopped at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedAt {
    pub id: i64,
    pub reason: String,
}

/// Applies the undelivered rows of a dead letter's key, first to last, through the consumer's handler. Each row is its own
/// transaction, so what was delivered stays so; a crash between the effect and the row's mark makes the next redrive
/// find a duplicate. A dead letter without a key is redriven alone.
///
/// The lock on the key holds one connection of the pool while the handler works with others of it.
pub async fn redrive(pool: &PgPool, handler: &dyn Handler, id: i64, by: &str) -> Result<Redriven, DeadLetterError> {
    let asked_for = find(pool, id).await?;
    if asked_for.consumer != handler.name() {
        return Err(DeadLetterError::OtherConsumer { id, consumer: asked_for.consumer });
    }
    if !asked_for.state.is_undelivered() {
        return Err(DeadLetterError::Resolved { id, state: asked_for.state });
    }
    let mut redriven = Redriven::default();
    while redriven.delivered < MAX_ROWS_PER_REDRIVE {
        match redrive_first(pool, handler, &asked_for, by).await? {
            Step::Delivered => redriven.delivered += 1,
            Step::Stopped(at) => {
                redriven.stopped_at = Some(at);
                break;
            }
            Step::NothingLeft => break,
        }
    }
    Ok(redriven)
}

enum Step {
    Delivered,
    Stopped(StoppedAt),
    NothingLeft,
}

async fn redrive_first(
    pool: &PgPool,
    handler: &dyn Handler,
    asked_for: &DeadLetter,
    by: &str,
) -> Result<Step, DeadLetterError> {
    let mut transaction = pool.begin().await?;
    let Some(first) = lock_first(&mut transaction, asked_for).await? else {
        return Ok(Step::NothingLeft);
    };
    let step = match apply_one(handler, &first).await {
        Ok(_) => {
            mark_redriven(&mut transaction, first.id, by).await?;
            Step::Delivered
        }
        Err(error) => {
            let reason = error.to_string();
            note_failure(&mut transaction, &first, &error, &reason).await?;
            Step::Stopped(StoppedAt { id: first.id, reason })
        }
    };
    transaction.commit().await?;
    Ok(step)
}

async fn lock_first(transaction: &mut PgConnection, asked_for: &DeadLetter) -> Result<Option<DeadLetter>, sqlx::Error> {
    match &asked_for.waiting_key {
        Some(key) => {
            lock_keys(transaction, &asked_for.consumer, &[key]).await?;
            sqlx::query_as(include_str!("first_of_key.sql"))
                .bind(&asked_for.consumer)
                .bind(key)
                .fetch_optional(transaction)
                .await
        }
        None => sqlx::query_as(include_str!("alone.sql")).bind(asked_for.id).fetch_optional(transaction).await,
    }
}

async fn apply_one(handler: &dyn Handler, letter: &DeadLetter) -> Result<Effect, HandleError> {
    let message = ReceivedMessage::from_parts(&letter.topic, &letter.body, &letter.properties)?;
    let mut results = apply::apply(handler, std::slice::from_ref(&message)).await;
    results.pop().unwrap_or_else(|| Err(HandleError::Failed("the handler gave no result".into())))
}

async fn mark_redriven(transaction: &mut PgConnection, id: i64, by: &str) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("mark_redriven.sql")).bind(id).bind(by).execute(transaction).await?;
    Ok(())
}

/// A row that failed by itself is dead, also when it had only been waiting; one whose dependency is away is as it was.
async fn note_failure(
    transaction: &mut PgConnection,
    letter: &DeadLetter,
    error: &HandleError,
    reason: &str,
) -> Result<(), sqlx::Error> {
    let state = match error {
        HandleError::Transient(_) | HandleError::Behind => letter.state,
        HandleError::Failed(_) | HandleError::Poison(_) => DeadLetterState::Dead,
    };
    sqlx::query(include_str!("note_failure.sql"))
        .bind(letter.id)
        .bind(state.as_str())
        .bind(super::park::storable_reason(reason))
        .execute(transaction)
        .await?;
    Ok(())
}
