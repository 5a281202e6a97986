//! Applying dead letters after all, in the order they came.

use sqlx::{PgConnection, PgPool};

use super::cause::cause_of;
use super::discard::left_of_key;
use super::park::{lock_keys, storable_reason};
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
    /// Undelivered rows of the key when it ended: the one that failed and those behind it, or what was too many.
    pub left: i64,
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
    let place = Place { waiting_key: asked_for.waiting_key.as_deref(), letter_id: id, only_cause: None };
    let mut redriven = Redriven::default();
    while redriven.delivered < MAX_ROWS_PER_REDRIVE {
        let mut transaction = pool.begin().await?;
        let step = apply_first(&mut transaction, handler, &place, by).await?;
        transaction.commit().await?;
        match step {
            Step::Delivered => redriven.delivered += 1,
            Step::Stopped { at, .. } => {
                redriven.stopped_at = Some(at);
                break;
            }
            Step::OtherCause(_) | Step::NothingLeft => break,
        }
    }
    redriven.left = match place.waiting_key {
        Some(key) => left_of_key(pool, handler.name(), key).await?.map_or(0, |left| left.messages),
        None => i64::from(redriven.stopped_at.is_some()),
    };
    Ok(redriven)
}

/// A key, or a letter that has none.
pub(super) struct Place<'a> {
    pub(super) waiting_key: Option<&'a str>,
    pub(super) letter_id: i64,
    /// A dead row of another cause is not tried.
    pub(super) only_cause: Option<&'a str>,
}

pub(super) enum Step {
    Delivered,
    Stopped {
        at: StoppedAt,
        /// What it needs is away: the row is as it was, and may be tried again.
        for_now: bool,
    },
    /// The next row is dead of another cause.
    OtherCause(String),
    NothingLeft,
}

/// Applies the first undelivered row of a place and marks it, in a transaction that the caller commits.
pub(super) async fn apply_first(
    transaction: &mut PgConnection,
    handler: &dyn Handler,
    place: &Place<'_>,
    by: &str,
) -> Result<Step, sqlx::Error> {
    let Some(first) = lock_first(transaction, handler.name(), place).await? else {
        return Ok(Step::NothingLeft);
    };
    if first.state == DeadLetterState::Dead && place.only_cause.is_some_and(|cause| cause != first.cause) {
        return Ok(Step::OtherCause(first.cause));
    }
    match apply_one(handler, &first).await {
        Ok(effect) => {
            mark_redriven(transaction, first.id, by, effect).await?;
            Ok(Step::Delivered)
        }
        Err(error) => {
            let for_now = matches!(error, HandleError::Transient(_) | HandleError::Behind);
            note_failure(transaction, &first, &error, by, !for_now).await?;
            Ok(Step::Stopped { at: StoppedAt { id: first.id, reason: error.to_string() }, for_now })
        }
    }
}

async fn lock_first(
    transaction: &mut PgConnection,
    consumer: &str,
    place: &Place<'_>,
) -> Result<Option<DeadLetter>, sqlx::Error> {
    match place.waiting_key {
        Some(key) => {
            lock_keys(transaction, consumer, &[key]).await?;
            sqlx::query_as(include_str!("first_of_key.sql")).bind(consumer).bind(key).fetch_optional(transaction).await
        }
        None => sqlx::query_as(include_str!("alone.sql")).bind(place.letter_id).fetch_optional(transaction).await,
    }
}

async fn apply_one(handler: &dyn Handler, letter: &DeadLetter) -> Result<Effect, HandleError> {
    let message = ReceivedMessage::from_parts(&letter.topic, &letter.body, &letter.properties)?;
    let mut results = apply::apply(handler, std::slice::from_ref(&message)).await;
    results.pop().unwrap_or_else(|| Err(HandleError::Failed("the handler gave no result".into())))
}

async fn mark_redriven(transaction: &mut PgConnection, id: i64, by: &str, effect: Effect) -> Result<(), sqlx::Error> {
    let note = (effect == Effect::Duplicate).then_some("it had had its effect before");
    sqlx::query(include_str!("mark_redriven.sql")).bind(id).bind(by).bind(note).execute(transaction).await?;
    Ok(())
}

/// A row that failed by itself is dead, also when it had only been waiting; one whose dependency is away is as it was.
async fn note_failure(
    transaction: &mut PgConnection,
    letter: &DeadLetter,
    error: &HandleError,
    by: &str,
    by_itself: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("note_failure.sql"))
        .bind(letter.id)
        .bind(storable_reason(&error.to_string()))
        .bind(by)
        .bind(by_itself)
        .bind(cause_of(error))
        .execute(transaction)
        .await?;
    Ok(())
}
