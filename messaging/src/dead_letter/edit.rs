//! Replacing the body of a message that can't be applied as it came. What came is kept; the message stays the one it was.

use std::collections::HashMap;

use sqlx::PgConnection;
use thiserror::Error;
use uuid::Uuid;

use super::park::{lock_keys, storable_reason};
use super::shown::{HIDDEN, may_name_contacts};
use super::{DeadLetter, DeadLetterError, find_on};
use crate::inbox;
use crate::received::ReceivedMessage;

/// Where RocketMQ's clients keep what a message can be searched by; ours begins with the messageId.
const KEYS: &str = "KEYS";

/// Why a body can't take the place of the one that came.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditRefused {
    /// No consumer could read it.
    #[error("no message: {0}")]
    NotAMessage(String),
    /// It was copied from where it is hidden, and would be sent there.
    #[error("it holds {HIDDEN}: what stands for a hidden phone number or address")]
    Hidden,
    /// Effects are once per messageId, so it must stay.
    #[error("messageId must stay {expected}")]
    OtherMessageId { expected: Uuid },
    /// The message that came had no readable id, and this one belongs to another.
    #[error("messageId {0} is another message's, which this consumer has applied")]
    MessageIdTaken(Uuid),
    /// Its place is among the messages it waited with.
    #[error("it must stay a message of {expected}, by which it waits")]
    OtherKey { expected: String },
}

/// Replaces the body of an undelivered letter, in the caller's transaction. It is not applied by this: redrive it.
pub async fn edit(
    transaction: &mut PgConnection,
    id: i64,
    body: &[u8],
    by: &str,
    reason: &str,
) -> Result<(), DeadLetterError> {
    let letter = find_on(&mut *transaction, id).await?;
    let message = check(transaction, &letter, body).await?;
    lock_keys(transaction, &letter.consumer, &[&message.waiting_key]).await?;
    let edited = sqlx::query(include_str!("edit.sql"))
        .bind(id)
        .bind(body)
        .bind(message.message_id)
        .bind(&message.waiting_key)
        .bind(by)
        .bind(storable_reason(reason))
        .execute(&mut *transaction)
        .await?;
    if edited.rows_affected() == 0 {
        let state = find_on(transaction, id).await?.state;
        return Err(DeadLetterError::Resolved { id, state });
    }
    Ok(())
}

async fn check(
    transaction: &mut PgConnection,
    letter: &DeadLetter,
    body: &[u8],
) -> Result<ReceivedMessage, DeadLetterError> {
    if may_name_contacts(letter) && String::from_utf8_lossy(body).contains(HIDDEN) {
        return Err(EditRefused::Hidden.into());
    }
    let message = ReceivedMessage::from_parts(&letter.topic, body, &letter.properties)
        .map_err(|poison| EditRefused::NotAMessage(poison.reason))?;
    if let Some(expected) = letter.message_id.or_else(|| sent_as(letter))
        && message.message_id != expected
    {
        return Err(EditRefused::OtherMessageId { expected }.into());
    }
    if let Some(expected) = letter.waiting_key.clone()
        && (message.waiting_key != expected || key_in_body(letter, body)? != expected)
    {
        return Err(EditRefused::OtherKey { expected }.into());
    }
    if letter.message_id.is_none() && is_applied(transaction, &letter.consumer, message.message_id).await? {
        return Err(EditRefused::MessageIdTaken(message.message_id).into());
    }
    Ok(message)
}

/// The key that was sent beside a message stays what it was, whatever its new body says.
fn key_in_body(letter: &DeadLetter, body: &[u8]) -> Result<String, EditRefused> {
    let by_itself = ReceivedMessage::from_parts(&letter.topic, body, &HashMap::new());
    by_itself.map(|message| message.waiting_key).map_err(|poison| EditRefused::NotAMessage(poison.reason))
}

/// The id that was sent beside a body nobody can read.
fn sent_as(letter: &DeadLetter) -> Option<Uuid> {
    let keys = letter.properties.get(KEYS)?;
    Uuid::parse_str(keys.split_whitespace().next()?).ok()
}

async fn is_applied(transaction: &mut PgConnection, consumer: &str, message_id: Uuid) -> Result<bool, DeadLetterError> {
    Ok(!inbox::applied(transaction, consumer, &[message_id]).await?.is_empty())
}
