//! How far the relay is behind, exactly: outbox rows after each lane's cursor.

use std::time::{Duration, Instant};

use messaging::{LANES, Topic, lane_parts};
use serde::Serialize;
use sqlx::PgPool;

use crate::circuit::CircuitState;
use crate::metric;
use crate::relay::LEASE_NAME;

/// What is not yet sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboxLag {
    /// The ledger's last position.
    pub head: i64,
    /// Messages the broker has not confirmed, parked ones not counted.
    pub pending_messages: i64,
    /// Since the oldest of them was recorded; none when there is none.
    pub oldest_unsent_age_ms: Option<i64>,
    /// Messages that can't be sent, and those behind them.
    pub parked_messages: i64,
    /// Who holds the relay's lease now.
    pub lease_owner: Option<String>,
    /// How the broker looks, as the active relay last said; none when it has been silent.
    pub circuit: Option<CircuitState>,
    /// Messages the broker confirmed, as the active relay last said; none when it has been silent.
    pub sent_per_second: Option<f64>,
    /// Messages the broker has and has not confirmed yet, likewise.
    pub in_flight_messages: Option<i64>,
    pub topics: Vec<TopicLag>,
}

/// One topic's part.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicLag {
    pub topic: &'static str,
    pub pending_messages: i64,
    pub oldest_unsent_age_ms: Option<i64>,
    pub lanes: Vec<LaneLag>,
}

/// One queue's part.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneLag {
    pub lane: i16,
    pub queue: u16,
    /// Position of the last message the broker confirmed.
    pub sent_position: i64,
    pub pending_messages: i64,
    pub oldest_unsent_age_ms: Option<i64>,
}

impl OutboxLag {
    /// The topic's pending messages.
    pub fn pending_of(&self, topic: Topic) -> i64 {
        self.topics.iter().filter(|lag| lag.topic == topic.name()).map(|lag| lag.pending_messages).sum()
    }
}

/// What Postgres has not told by then is unknown; counting a long backlog takes a while.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause after a measurement that took long.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// An active relay says every second how it does; what it said longer ago is no longer known.
const WORD_COUNTS_FOR: Duration = Duration::from_secs(5);

#[derive(sqlx::FromRow)]
struct RelayRow {
    head: i64,
    parked_messages: i64,
    lease_owner: Option<String>,
    circuit: Option<String>,
    sent_per_second: Option<f64>,
    in_flight_messages: Option<i64>,
}

/// Measures it: index look-ups when there is little pending, a count of index entries when there is much.
pub async fn measure(pool: &PgPool) -> sqlx::Result<OutboxLag> {
    let lanes: Vec<(i16, i64, i64, Option<i64>)> =
        sqlx::query_as(include_str!("sql/lag.sql")).bind(i32::from(LANES)).fetch_all(pool).await?;
    let relay: RelayRow = sqlx::query_as(include_str!("sql/lag_relay.sql"))
        .bind(LEASE_NAME)
        .bind(WORD_COUNTS_FOR.as_secs_f64())
        .fetch_one(pool)
        .await?;
    let topics = Topic::ALL.map(|topic| topic_lag(topic, &lanes)).to_vec();
    Ok(OutboxLag {
        head: relay.head,
        pending_messages: topics.iter().map(|lag| lag.pending_messages).sum(),
        oldest_unsent_age_ms: topics.iter().filter_map(|lag| lag.oldest_unsent_age_ms).max(),
        parked_messages: relay.parked_messages,
        lease_owner: relay.lease_owner,
        circuit: relay.circuit.as_deref().and_then(CircuitState::parse),
        sent_per_second: relay.sent_per_second,
        in_flight_messages: relay.in_flight_messages,
        topics,
    })
}

fn topic_lag(topic: Topic, lanes: &[(i16, i64, i64, Option<i64>)]) -> TopicLag {
    let of_topic = lanes.iter().filter_map(|(lane, sent_position, pending_messages, oldest_unsent_age_ms)| {
        let (_, queue) = lane_parts(*lane).filter(|(of, _)| *of == topic)?;
        Some(LaneLag {
            lane: *lane,
            queue,
            sent_position: *sent_position,
            pending_messages: *pending_messages,
            oldest_unsent_age_ms: *oldest_unsent_age_ms,
        })
    });
    let lanes: Vec<LaneLag> = of_topic.collect();
    TopicLag {
        topic: topic.name(),
        pending_messages: lanes.iter().map(|lane| lane.pending_messages).sum(),
        oldest_unsent_age_ms: lanes.iter().filter_map(|lane| lane.oldest_unsent_age_ms).max(),
        lanes,
    }
}

/// Shows the lag as metrics until it is dropped, as often as asked unless measuring itself takes long.
pub async fn report(pool: PgPool, every: Duration) {
    loop {
        let started = Instant::now();
        let measured = tokio::time::timeout(TIMEOUT, measure(&pool)).await;
        match &measured {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot measure the outbox lag"),
            Err(_) => tracing::debug!("the outbox lag was not measured in time"),
        }
        metric::lag(measured.ok().and_then(Result::ok).as_ref());
        // Counting a long backlog must not become part of the backlog's cause.
        tokio::time::sleep(every.max((started.elapsed() * 10).min(MAX_PAUSE))).await;
    }
}
