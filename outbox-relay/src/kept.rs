//! Messages of the past that the outbox still has.

use messaging::{Delivery, QueueRef, lane_parts};
use sqlx::PgPool;

use crate::outbox::OutboxRow;

/// The messages at these places, in the order they were written, as a consumer would have got them. Those that the clean-up
/// has taken away are left out.
pub async fn deliveries(pool: &PgPool, lanes: &[i16], positions: &[i64], ns: &[i16]) -> sqlx::Result<Vec<Delivery>> {
    let rows = sqlx::query(include_str!("sql/kept.sql")).bind(lanes).bind(positions).bind(ns).fetch_all(pool).await?;
    rows.iter().map(|row| Ok(delivery(OutboxRow::decode(row)?))).collect()
}

fn delivery(row: OutboxRow) -> Delivery {
    let OutboxRow { lane, place, topic, message } = row;
    let queue = lane_parts(lane).map_or(0, |(_, queue)| queue);
    let properties = message.user_properties().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Delivery {
        queue: QueueRef { topic, broker: "outbox".to_owned(), queue },
        offset: place.position,
        keys: message.keys(),
        tags: message.event_type,
        body: message.body.into_bytes(),
        properties,
    }
}
