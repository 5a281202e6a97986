//! What became of the messages of a few events, for people who look for one.

use serde::Serialize;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

/// A message of the outbox, and how far it came.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct TracedMessage {
    pub lane: i16,
    /// Position of the event that caused it.
    pub position: i64,
    pub n: i16,
    pub topic: String,
    pub event_type: String,
    pub message_id: Uuid,
    is_passed: bool,
    parked_state: Option<String>,
    /// Why it can't be sent, or what was decided about it.
    pub reason: Option<String>,
}

/// How far a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sending {
    /// The broker has confirmed it.
    Sent,
    /// It is still to be sent.
    Waiting,
    /// It can't be sent, or waits behind one that can't.
    Parked,
    /// It was given up.
    Skipped,
}

impl TracedMessage {
    /// How far it came: by its lane's cursor, which also passes what is parked.
    pub fn sending(&self) -> Sending {
        match self.parked_state.as_deref() {
            Some("skipped") => Sending::Skipped,
            Some("sent") => Sending::Sent,
            Some(_) => Sending::Parked,
            None if self.is_passed => Sending::Sent,
            None => Sending::Waiting,
        }
    }
}

/// The messages that the events at these positions caused on these lanes, in the order they were written. The outbox
/// forgets messages a while after they are sent.
pub async fn messages(pool: &PgPool, lanes: &[i16], positions: &[i64]) -> sqlx::Result<Vec<TracedMessage>> {
    sqlx::query_as(include_str!("sql/trace.sql")).bind(lanes).bind(positions).fetch_all(pool).await
}
