//! How the way to the broker looks, for processes that have no connection of their own: cheap enough to ask several times a
//! second.

use messaging::LANES;
use sqlx::PgPool;

use crate::circuit::CircuitState;

/// What is known of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerHealth {
    /// What the active relay last said; none before the first one.
    pub circuit: Option<CircuitState>,
    /// Since it said so. An active relay says so every second.
    pub reported_ago_ms: Option<i64>,
    /// Since the oldest message that the broker has not confirmed was recorded; none when there is none.
    pub oldest_unsent_age_ms: Option<i64>,
}

/// Asks for one row of the outbox a lane, however long the backlog is.
pub async fn observe(pool: &PgPool) -> sqlx::Result<BrokerHealth> {
    let (circuit, reported_ago_ms, oldest_unsent_age_ms): (Option<String>, Option<i64>, Option<i64>) =
        sqlx::query_as(include_str!("sql/health.sql")).bind(i32::from(LANES)).fetch_one(pool).await?;
    Ok(BrokerHealth {
        circuit: circuit.as_deref().and_then(CircuitState::parse),
        reported_ago_ms,
        oldest_unsent_age_ms,
    })
}
