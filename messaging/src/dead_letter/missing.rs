//! What a consumer has passed without a trace, taken in as letters, so that a person decides about it.

use sqlx::PgPool;
use uuid::Uuid;

use super::park::{Entry, park_taken_in};
use crate::broker::Delivery;
use crate::inbox;
use crate::received::{ReceivedMessage, Remains};

/// The cause of these letters.
pub const MISSING: &str = "missing: sent, and passed without a trace";

/// Makes letters of messages that a consumer is missing, given in the order they were sent. What it has applied after all, and
/// what was ever a letter of it, is left as it is. Returns how many became letters.
pub async fn take_in_missing(pool: &PgPool, consumer: &str, messages: &[Delivery]) -> Result<u64, sqlx::Error> {
    let remains: Vec<Remains> = messages.iter().map(remains_of).collect();
    let message_ids: Vec<Uuid> = remains.iter().filter_map(|remains| remains.message_id).collect();
    let applied = inbox::applied(pool, consumer, &message_ids).await?;
    let entries: Vec<Entry<'_>> = messages
        .iter()
        .zip(&remains)
        .filter(|(_, remains)| remains.message_id.is_none_or(|id| !applied.contains(&id)))
        .map(|(delivery, remains)| Entry {
            delivery,
            topic: &delivery.queue.topic,
            waiting_key: remains.waiting_key.as_deref(),
            message_id: remains.message_id,
            reason: "it was sent, and this consumer passed it without a trace".into(),
            cause: MISSING.into(),
            attempts: 0,
        })
        .collect();
    park_taken_in(pool, consumer, &entries).await
}

fn remains_of(delivery: &Delivery) -> Remains {
    match ReceivedMessage::parse(delivery) {
        Ok(message) => Remains { message_id: Some(message.message_id), waiting_key: Some(message.waiting_key) },
        Err(_) => Remains::of(delivery),
    }
}
