//! What is missing: what of it can still be given, and what can only be given up.

use messaging::Delivery;
use outbox_relay::kept;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::WatchError;

/// The messages that a consumer is missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lost {
    /// As they were sent, the oldest first.
    pub messages: Vec<Delivery>,
    /// How many more there are that are no longer in the outbox.
    pub gone: i64,
}

/// What the watch believes that a consumer is missing, and has not been made a letter of: at most `limit` messages.
pub async fn of_consumer(pool: &PgPool, consumer: &str, limit: i64) -> Result<Lost, WatchError> {
    let places: Vec<(i16, i64, i16)> =
        sqlx::query_as(include_str!("../sql/missing_places.sql")).bind(consumer).bind(limit).fetch_all(pool).await?;
    let (lanes, rest): (Vec<i16>, Vec<(i64, i16)>) =
        places.iter().map(|(lane, position, n)| (*lane, (*position, *n))).unzip();
    let (positions, ns): (Vec<i64>, Vec<i16>) = rest.into_iter().unzip();
    let messages = kept::deliveries(pool, &lanes, &positions, &ns).await?;
    let gone = sqlx::query_scalar(include_str!("../sql/missing_gone.sql")).bind(consumer).fetch_one(pool).await?;
    Ok(Lost { messages, gone })
}

/// Takes at most `limit` messages that are no longer in the outbox off the list of what a consumer is missing, and names them.
/// Nothing can bring them: call it in the transaction that records who gave them up.
pub async fn give_up_gone(
    transaction: &mut PgConnection,
    consumer: &str,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(include_str!("../sql/give_up_gone.sql")).bind(consumer).bind(limit).fetch_all(transaction).await
}
