//! What is remembered of replays.

use messaging::Topic;
use sqlx::{PgConnection, PgPool};

use super::{Plan, ReplayError, ReplayRecord, ReplayRequest, Target};
use crate::outbox::Place;

/// A lane on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LaneProgress {
    pub lane: i16,
    pub reached: Place,
    pub end: Place,
}

/// Replays, the newest first.
pub async fn list(pool: &PgPool, limit: i64) -> sqlx::Result<Vec<ReplayRecord>> {
    sqlx::query_as(include_str!("sql/list.sql")).bind(None::<i64>).bind(limit).fetch_all(pool).await
}

pub(super) async fn find(pool: &PgPool, replay_id: i64) -> sqlx::Result<Option<ReplayRecord>> {
    sqlx::query_as(include_str!("sql/list.sql")).bind(replay_id).bind(1_i64).fetch_optional(pool).await
}

/// Writes down a replay that begins, and gives its id.
pub(super) async fn begin(
    transaction: &mut PgConnection,
    request: &ReplayRequest,
    plan: &Plan,
    messages_per_second: Option<u32>,
    requested_by: &str,
    token: i64,
) -> sqlx::Result<i64> {
    let replay_id: i64 = sqlx::query_scalar(include_str!("sql/begin.sql"))
        .bind(request.topic.name())
        .bind(request.to_topic())
        .bind(request.for_consumer())
        .bind(&request.stream_id)
        .bind(&request.key)
        .bind(request.after)
        .bind(request.upto)
        .bind(messages_per_second.map(|rate| i32::try_from(rate).unwrap_or(i32::MAX)))
        .bind(plan.messages)
        .bind(requested_by)
        .bind(token)
        .fetch_one(&mut *transaction)
        .await?;
    sqlx::query(include_str!("sql/begin_lanes.sql"))
        .bind(replay_id)
        .bind(request.after)
        .bind(plan.ends.iter().map(|(lane, _)| *lane).collect::<Vec<_>>())
        .bind(plan.ends.iter().map(|(_, end)| end.position).collect::<Vec<_>>())
        .bind(plan.ends.iter().map(|(_, end)| end.n).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
    Ok(replay_id)
}

/// Puts the new holder's token on a replay, and its rate where there is one.
pub(super) async fn take_over(
    pool: &PgPool,
    replay_id: i64,
    token: i64,
    messages_per_second: Option<u32>,
) -> sqlx::Result<()> {
    sqlx::query(include_str!("sql/take_over.sql"))
        .bind(replay_id)
        .bind(token)
        .bind(messages_per_second.map(|rate| i32::try_from(rate).unwrap_or(i32::MAX)))
        .execute(pool)
        .await?;
    Ok(())
}

/// Where each lane of a replay is.
pub(super) async fn lanes(pool: &PgPool, replay_id: i64) -> sqlx::Result<Vec<LaneProgress>> {
    let rows: Vec<(i16, i64, i16, i64, i16)> = sqlx::query_as(
        "select lane, position, n, end_position, end_n from relay.replay_lane where replay_id = $1 order by lane",
    )
    .bind(replay_id)
    .fetch_all(pool)
    .await?;
    let lane = |(lane, position, n, end_position, end_n)| LaneProgress {
        lane,
        reached: Place { position, n },
        end: Place { position: end_position, n: end_n },
    };
    Ok(rows.into_iter().map(lane).collect())
}

/// Moves lanes on; false: another process holds the lease.
pub(super) async fn advance(
    pool: &PgPool,
    replay_id: i64,
    token: i64,
    moves: &[(i16, Place, i64)],
) -> sqlx::Result<bool> {
    let moved = sqlx::query(include_str!("sql/advance.sql"))
        .bind(replay_id)
        .bind(token)
        .bind(moves.iter().map(|(lane, ..)| *lane).collect::<Vec<_>>())
        .bind(moves.iter().map(|(_, place, _)| place.position).collect::<Vec<_>>())
        .bind(moves.iter().map(|(_, place, _)| place.n).collect::<Vec<_>>())
        .bind(moves.iter().map(|(.., sent)| *sent).collect::<Vec<_>>())
        .execute(pool)
        .await?;
    Ok(moved.rows_affected() == moves.len() as u64)
}

/// Writes down how a replay ended.
pub(super) async fn end(
    pool: &PgPool,
    replay_id: i64,
    token: i64,
    state: &str,
    problem: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query(include_str!("sql/end.sql"))
        .bind(replay_id)
        .bind(token)
        .bind(state)
        .bind(problem)
        .execute(pool)
        .await?;
    Ok(())
}

/// What was asked for, as the row has it.
pub(super) fn request_of(record: &ReplayRecord) -> Result<ReplayRequest, ReplayError> {
    let topic = Topic::parse(&record.topic).ok_or_else(|| ReplayError::NoSuchTopic(record.topic.clone()))?;
    let target = match &record.for_consumer {
        Some(consumer) => Target::Consumer(consumer.clone()),
        None if record.to_topic == record.topic => Target::Everybody,
        None => Target::Topic(record.to_topic.clone()),
    };
    Ok(ReplayRequest {
        topic,
        target,
        stream_id: record.stream_id.clone(),
        key: record.message_key.clone(),
        after: record.after_position,
        upto: record.upto_position,
    })
}
