//! What operators do about dead letters, each with its record in the same transaction.

use std::sync::Arc;

use messaging::dead_letter::redrives::{self, Redrive, Selection};
use messaging::dead_letter::{self, DeadLetterError, Discarded, Redriven};
use messaging::{Delivery, Handler};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::audit;

/// Another body for a message, and why.
#[derive(Debug, Clone, Copy)]
pub struct Edit<'a> {
    pub body: &'a str,
    pub reason: &'a str,
}

/// Applies a letter's key from its first message on, with another body where one is given. What is to be done is recorded
/// before it is done; a body that was replaced stays so when it fails again, and the one that came is kept.
pub async fn redrive(
    pool: &PgPool,
    handler: &Arc<dyn Handler>,
    id: i64,
    edit: Option<Edit<'_>>,
    actor: &str,
) -> Result<Redriven, DeadLetterError> {
    let letter = dead_letter::find(pool, id).await?;
    if !letter.state.is_undelivered() {
        return Err(DeadLetterError::Resolved { id, state: letter.state });
    }
    let mut transaction = pool.begin().await?;
    let mut detail = json!({ "consumer": letter.consumer, "topic": letter.topic, "cause": letter.cause });
    if let Some(edit) = edit {
        replace_body(&mut transaction, id, edit, actor).await?;
        detail["reason"] = json!(edit.reason);
    }
    record(&mut transaction, actor, "dead_letter.redrive", &id.to_string(), detail).await?;
    transaction.commit().await?;
    dead_letter::redrive(pool, handler.as_ref(), id, actor).await
}

/// Asks for the redrive of a letter's key with another body for the letter.
pub async fn start_redrive_edited(
    pool: &PgPool,
    id: i64,
    edit: Edit<'_>,
    rate_per_second: i32,
    actor: &str,
) -> Result<Redrive, DeadLetterError> {
    let letter = dead_letter::find(pool, id).await?;
    let mut transaction = pool.begin().await?;
    replace_body(&mut transaction, id, edit, actor).await?;
    let selection = Selection::of(&letter);
    let redrive = start(&mut transaction, &selection, rate_per_second, actor).await?;
    transaction.commit().await?;
    Ok(redrive)
}

/// Gives a letter up. Those behind it go on by themselves.
pub async fn discard(pool: &PgPool, id: i64, reason: &str, actor: &str) -> Result<Discarded, DeadLetterError> {
    let letter = dead_letter::find(pool, id).await?;
    let mut transaction = pool.begin().await?;
    let discarded = dead_letter::discard(&mut transaction, id, actor, reason).await?;
    let detail = json!({
        "consumer": letter.consumer,
        "topic": letter.topic,
        "cause": letter.cause,
        "reason": reason,
        "behind": discarded.behind,
        "redriveId": discarded.redrive_id,
    });
    record(&mut transaction, actor, "dead_letter.discard", &id.to_string(), detail).await?;
    transaction.commit().await?;
    Ok(discarded)
}

/// Makes letters of what a consumer is missing, so that it is redriven or discarded like any other. Recorded before it is
/// done. Returns how many became letters; the others have left a trace meanwhile.
pub async fn take_in_missing(
    pool: &PgPool,
    consumer: &str,
    messages: &[Delivery],
    reason: &str,
    actor: &str,
) -> Result<u64, DeadLetterError> {
    let detail = json!({ "messages": messages.len(), "reason": reason });
    let action = audit::Action { actor, action: "dead_letter.take_in", subject: consumer, detail };
    audit::record(pool, action).await?;
    Ok(dead_letter::take_in_missing(pool, consumer, messages).await?)
}

/// Asks for a redrive of many; whoever runs the handlers carries it out.
pub async fn start_redrive(
    pool: &PgPool,
    selection: &Selection,
    rate_per_second: i32,
    actor: &str,
) -> Result<Redrive, DeadLetterError> {
    let mut transaction = pool.begin().await?;
    let redrive = start(&mut transaction, selection, rate_per_second, actor).await?;
    transaction.commit().await?;
    Ok(redrive)
}

/// Ends a redrive after the messages that are being applied.
pub async fn cancel_redrive(pool: &PgPool, redrive_id: Uuid, actor: &str) -> Result<Redrive, DeadLetterError> {
    let mut transaction = pool.begin().await?;
    let redrive = redrives::cancel(&mut transaction, redrive_id).await?;
    let detail = json!({ "delivered": redrive.delivered, "selected": redrive.selected });
    record(&mut transaction, actor, "redrive.cancel", &redrive_id.to_string(), detail).await?;
    transaction.commit().await?;
    Ok(redrive)
}

async fn start(
    transaction: &mut PgConnection,
    selection: &Selection,
    rate_per_second: i32,
    actor: &str,
) -> Result<Redrive, DeadLetterError> {
    let redrive = redrives::start(transaction, selection, rate_per_second, actor).await?;
    let detail = json!({
        "selection": selection,
        "messages": redrive.selected,
        "keys": redrive.keys,
        "ratePerSecond": redrive.rate_per_second,
    });
    record(transaction, actor, "redrive.start", &redrive.redrive_id.to_string(), detail).await?;
    Ok(redrive)
}

async fn replace_body(
    transaction: &mut PgConnection,
    id: i64,
    edit: Edit<'_>,
    actor: &str,
) -> Result<(), DeadLetterError> {
    dead_letter::edit(transaction, id, edit.body.as_bytes(), actor, edit.reason).await?;
    let detail = json!({ "reason": edit.reason });
    Ok(record(transaction, actor, "dead_letter.edit", &id.to_string(), detail).await?)
}

async fn record(
    transaction: &mut PgConnection,
    actor: &str,
    action: &str,
    subject: &str,
    detail: Value,
) -> Result<(), sqlx::Error> {
    audit::record(transaction, audit::Action { actor, action, subject, detail }).await
}
