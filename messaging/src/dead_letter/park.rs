//! How arriving messages become rows.

use std::collections::HashSet;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::DeadLetterState;
use crate::broker::Delivery;
use crate::inbox;

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

    /// Of a message that is given up: a key has one letter that the others wait for.
    fn state_after(&self, blocked: &HashSet<String>) -> DeadLetterState {
        match self.waiting_key {
            Some(key) if blocked.contains(key) => DeadLetterState::Behind,
            _ => DeadLetterState::Dead,
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

/// What became of a message that arrived while its key was blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is a row, now or since it came before.
    Parked,
    /// It had its effect before: it waits for nobody, and nobody for it.
    Applied,
    /// Its key was freed since the caller looked.
    Free,
    /// Somebody else parks or redrives messages of its key just now.
    KeyInUse,
}

/// Parks messages that are given up: as dead, but behind what their keys wait for already. Returns the keys that somebody
/// else uses just now: nothing was parked for those.
pub(crate) async fn park_dead(
    pool: &PgPool,
    consumer: &str,
    entries: &[Entry<'_>],
) -> Result<HashSet<String>, sqlx::Error> {
    if entries.is_empty() {
        return Ok(HashSet::new());
    }
    let mut transaction = pool.begin().await?;
    let Locked { keys, in_use } = try_lock_keys(&mut transaction, consumer, entries).await?;
    let blocked = blocked_keys(&mut *transaction, consumer, &keys).await?;
    let given_up = entries.iter().filter(|entry| entry.waiting_key.is_none_or(|key| !in_use.contains(key)));
    let given_up = given_up.map(|entry| (entry, entry.state_after(&blocked)));
    insert(&mut transaction, consumer, Again::IsANewCase, given_up).await?;
    transaction.commit().await?;
    Ok(in_use)
}

/// Parks messages behind the undelivered rows of their keys, and says what became of each.
pub(crate) async fn park_behind(
    pool: &PgPool,
    consumer: &str,
    entries: &[Entry<'_>],
) -> Result<Vec<Arrival>, sqlx::Error> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let mut transaction = pool.begin().await?;
    let Locked { keys, in_use } = try_lock_keys(&mut transaction, consumer, entries).await?;
    let blocked = blocked_keys(&mut *transaction, consumer, &keys).await?;
    // Under the locks: what a redrive has just applied is seen.
    let message_ids: Vec<Uuid> = entries.iter().filter_map(|entry| entry.message_id).collect();
    let applied = inbox::applied(&mut *transaction, consumer, &message_ids).await?;
    let arrivals: Vec<Arrival> = entries
        .iter()
        .map(|entry| match entry.waiting_key {
            Some(key) if in_use.contains(key) => Arrival::KeyInUse,
            Some(key) if !blocked.contains(key) => Arrival::Free,
            None => Arrival::Free,
            Some(_) if entry.message_id.is_some_and(|id| applied.contains(&id)) => Arrival::Applied,
            Some(_) => Arrival::Parked,
        })
        .collect();
    let parked = entries.iter().zip(&arrivals).filter(|(_, arrival)| **arrival == Arrival::Parked);
    let behind = parked.map(|(entry, _)| (entry, DeadLetterState::Behind));
    insert(&mut transaction, consumer, Again::IsANewCase, behind).await?;
    transaction.commit().await?;
    Ok(arrivals)
}

/// Parks messages that somebody else gave up: behind what its key waits for already, else as dead. One that was ever parked
/// here is left as it is, whatever became of it. Returns how many were parked.
pub(super) async fn park_taken_in(pool: &PgPool, consumer: &str, entries: &[Entry<'_>]) -> Result<u64, sqlx::Error> {
    let keys = keys_of(entries);
    let mut transaction = pool.begin().await?;
    lock_keys(&mut transaction, consumer, &keys).await?;
    let mut blocked = blocked_keys(&mut *transaction, consumer, &keys).await?;
    let mut parked = 0;
    for entry in entries {
        // The first of a key blocks it for those that follow.
        let state = entry.state_after(&blocked);
        let inserted = insert(&mut transaction, consumer, Again::IsKnown, std::iter::once((entry, state))).await?;
        // One that is known blocks its key no more than it did.
        if inserted > 0 {
            blocked.extend(entry.waiting_key.map(str::to_owned));
        }
        parked += inserted;
    }
    transaction.commit().await?;
    Ok(parked)
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

/// Keys of messages, by who has them until the transaction ends.
struct Locked<'a> {
    keys: Vec<&'a str>,
    /// Somebody else's.
    in_use: HashSet<String>,
}

/// Waits for nobody: whoever has a key may be calling a handler, and a consumer goes on with its other keys meanwhile.
async fn try_lock_keys<'a>(
    transaction: &mut PgConnection,
    consumer: &str,
    entries: &[Entry<'a>],
) -> Result<Locked<'a>, sqlx::Error> {
    let mut keys = keys_of(entries);
    let locked: Vec<String> =
        sqlx::query_scalar(include_str!("try_lock_keys.sql")).bind(consumer).bind(&keys).fetch_all(transaction).await?;
    let locked: HashSet<String> = locked.into_iter().collect();
    let in_use = keys.iter().filter(|key| !locked.contains(**key)).map(|key| (*key).to_owned()).collect();
    keys.retain(|key| locked.contains(*key));
    Ok(Locked { keys, in_use })
}

fn keys_of<'a>(entries: &[Entry<'a>]) -> Vec<&'a str> {
    entries.iter().filter_map(|entry| entry.waiting_key).collect()
}

/// What a message means that was parked before and discarded. One that was redriven had its effect.
#[derive(Clone, Copy, PartialEq)]
enum Again {
    IsANewCase,
    IsKnown,
}

async fn insert<'a>(
    transaction: &mut PgConnection,
    consumer: &str,
    again: Again,
    entries: impl Iterator<Item = (&'a Entry<'a>, DeadLetterState)>,
) -> Result<u64, sqlx::Error> {
    // One statement may not touch a row twice, and the same message may have come twice.
    let mut identities = HashSet::new();
    let (entries, states): (Vec<&Entry<'_>>, Vec<&str>) = entries
        .filter(|(entry, _)| identities.insert(entry.identity()))
        .map(|(entry, state)| (entry, state.as_str()))
        .unzip();
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
        .bind(states)
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
