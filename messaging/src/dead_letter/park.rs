//! How arriving messages become rows.

use std::collections::HashSet;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::DeadLetterState;
use crate::broker::Delivery;

/// Longest reason kept, in characters: enough for a person, and no way to store a body twice.
const MAX_REASON_CHARS: usize = 2_000;

/// A message about to become a row.
pub(crate) struct Entry<'a> {
    pub delivery: &'a Delivery,
    /// What it was sent to; where it lies may be elsewhere.
    pub topic: &'a str,
    pub waiting_key: Option<&'a str>,
    pub message_id: Option<Uuid>,
    pub reason: String,
    pub cause: String,
    pub attempts: u32,
}

impl Entry<'_> {
    fn identity(&self) -> String {
        let queue = &self.delivery.queue;
        match self.message_id {
            Some(message_id) => message_id.to_string(),
            None => format!("{}/{}/{}/{}", queue.topic, queue.broker, queue.queue, self.delivery.offset),
        }
    }
}

/// Those of the keys that have undelivered rows.
pub(crate) async fn blocked_keys(
    connection: impl sqlx::PgExecutor<'_>,
    consumer: &str,
    keys: &[&str],
) -> Result<HashSet<String>, sqlx::Error> {
    let blocked: Vec<String> =
        sqlx::query_scalar(include_str!("blocked_keys.sql")).bind(consumer).bind(keys).fetch_all(connection).await?;
    Ok(blocked.into_iter().collect())
}

/// Parks messages that are given up.
pub(crate) async fn park_dead(pool: &PgPool, consumer: &str, entries: &[Entry<'_>]) -> Result<(), sqlx::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut transaction = pool.begin().await?;
    lock_keys(&mut transaction, consumer, &keys_of(entries)).await?;
    insert(&mut transaction, consumer, DeadLetterState::Dead, Again::IsANewCase, entries.iter()).await?;
    transaction.commit().await
}

/// Parks messages behind the undelivered rows of their keys. Returns the keys that are blocked indeed; a redrive may have
/// freed the others since the caller looked, and nothing was parked for those.
pub(crate) async fn park_behind(
    pool: &PgPool,
    consumer: &str,
    entries: &[Entry<'_>],
) -> Result<HashSet<String>, sqlx::Error> {
    if entries.is_empty() {
        return Ok(HashSet::new());
    }
    let keys = keys_of(entries);
    let mut transaction = pool.begin().await?;
    lock_keys(&mut transaction, consumer, &keys).await?;
    let blocked = blocked_keys(&mut *transaction, consumer, &keys).await?;
    let behind = entries.iter().filter(|entry| entry.waiting_key.is_some_and(|key| blocked.contains(key)));
    insert(&mut transaction, consumer, DeadLetterState::Behind, Again::IsANewCase, behind).await?;
    transaction.commit().await?;
    Ok(blocked)
}

/// Parks messages that somebody else gave up: behind what its key waits for already, else as dead. One that was ever parked
/// here is left as it is, whatever became of it.
pub(super) async fn park_taken_in(pool: &PgPool, consumer: &str, entries: &[Entry<'_>]) -> Result<(), sqlx::Error> {
    let keys = keys_of(entries);
    let mut transaction = pool.begin().await?;
    lock_keys(&mut transaction, consumer, &keys).await?;
    let mut blocked = blocked_keys(&mut *transaction, consumer, &keys).await?;
    for entry in entries {
        // The first of a key blocks it for those that follow.
        let waits = entry.waiting_key.is_some_and(|key| blocked.contains(key));
        let state = if waits { DeadLetterState::Behind } else { DeadLetterState::Dead };
        let parked = insert(&mut transaction, consumer, state, Again::IsKnown, std::iter::once(entry)).await?;
        // One that is known blocks its key no more than it did.
        if parked > 0 {
            blocked.extend(entry.waiting_key.map(str::to_owned));
        }
    }
    transaction.commit().await
}

/// Waits until nobody else parks or redrives messages of these keys; lasts until the transaction ends.
pub(super) async fn lock_keys(
    transaction: &mut PgConnection,
    consumer: &str,
    keys: &[&str],
) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("lock_keys.sql")).bind(consumer).bind(keys).execute(transaction).await?;
    Ok(())
}

fn keys_of<'a>(entries: &[Entry<'a>]) -> Vec<&'a str> {
    entries.iter().filter_map(|entry| entry.waiting_key).collect()
}

/// What a message means that was parked before and is resolved.
#[derive(Clone, Copy, PartialEq)]
enum Again {
    IsANewCase,
    IsKnown,
}

async fn insert<'a>(
    transaction: &mut PgConnection,
    consumer: &str,
    state: DeadLetterState,
    again: Again,
    entries: impl Iterator<Item = &'a Entry<'a>>,
) -> Result<u64, sqlx::Error> {
    // One statement may not touch a row twice, and the same message may have come twice.
    let mut identities = HashSet::new();
    let entries: Vec<&Entry<'_>> = entries.filter(|entry| identities.insert(entry.identity())).collect();
    if entries.is_empty() {
        return Ok(0);
    }
    let queues = || entries.iter().map(|entry| &entry.delivery.queue);
    let inserted = sqlx::query(include_str!("insert.sql"))
        .bind(consumer)
        .bind(entries.iter().map(|entry| entry.topic).collect::<Vec<_>>())
        .bind(queues().map(|queue| queue.broker.as_str()).collect::<Vec<_>>())
        .bind(queues().map(|queue| i32::from(queue.queue)).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.delivery.offset).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.waiting_key).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.message_id).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.identity()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.delivery.body.as_slice()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| properties_json(entry.delivery)).collect::<Vec<_>>())
        .bind(vec![state.as_str(); entries.len()])
        .bind(entries.iter().map(|entry| storable_reason(&entry.reason)).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.cause.as_str()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| i32::try_from(entry.attempts).unwrap_or(i32::MAX)).collect::<Vec<_>>())
        .bind(again == Again::IsANewCase)
        .execute(transaction)
        .await?;
    Ok(inserted.rows_affected())
}

/// Postgres text holds no NUL. A property that has one is kept with a replacement character.
fn properties_json(delivery: &Delivery) -> String {
    let properties = delivery.properties.iter();
    let storable = properties.map(|(name, value)| (without_nul(name), serde_json::Value::from(without_nul(value))));
    serde_json::Value::Object(storable.collect()).to_string()
}

pub(super) fn storable_reason(reason: &str) -> String {
    without_nul(reason).chars().take(MAX_REASON_CHARS).collect()
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
