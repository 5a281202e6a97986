//! How far consumer groups are behind the broker's queues, in messages and in time.
//!
//! The broker counts the messages. How old the oldest is says the ledger: a lane is a queue, so what a group has not
//! acknowledged of a queue are the last so many messages that were sent from its lane.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use messaging::member::{self, AtWork};
use messaging::{Broker, QUEUES_PER_TOPIC, QueueBacklog, Topic};
use sqlx::PgPool;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{brokers, metric};

/// A broker that does not answer must not hold up what is known of the others.
const BROKER_TIMEOUT: Duration = Duration::from_secs(2);
/// What Postgres has not told by then is unknown.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);
/// What nobody has told by then is unknown until the next round.
const ROUND_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause after a round that took long: a broker that answers again should soon be known to.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// A consumer group, by its name on the broker, and what it subscribes to.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: String,
    pub topics: &'static [Topic],
}

/// How far a group is behind in one topic. What can't be known is none, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerLag {
    /// Messages the group has not acknowledged, whether or not it has a live member.
    pub messages: Option<i64>,
    /// Since the event behind the oldest of them was recorded; 0 when there is none. Messages that were sent twice or
    /// replayed count, and make it older; where the oldest is no longer kept it is the age of the oldest that is.
    pub oldest_age_ms: Option<i64>,
}

/// Measures one topic of a group.
pub async fn measure(pool: &PgPool, broker: &dyn Broker, group: &str, topic: Topic) -> ConsumerLag {
    let asked = timeout(BROKER_TIMEOUT, broker.backlog(group, topic.name())).await;
    let Some(queues) = asked.ok().and_then(Result::ok).flatten() else { return ConsumerLag::default() };
    let messages = queues.iter().map(|queue| queue.messages).sum();
    let oldest_age_ms = match messages {
        0 => Some(0),
        _ => oldest_age_ms(pool, topic, &queues).await.unwrap_or_default(),
    };
    ConsumerLag { messages: Some(messages), oldest_age_ms }
}

async fn oldest_age_ms(pool: &PgPool, topic: Topic, queues: &[QueueBacklog]) -> sqlx::Result<Option<i64>> {
    let behind = || queues.iter().filter(|backlog| backlog.messages > 0 && backlog.queue.queue < QUEUES_PER_TOPIC);
    let lane = |backlog: &QueueBacklog| (topic as u16 * QUEUES_PER_TOPIC + backlog.queue.queue) as i16;
    sqlx::query_scalar(include_str!("sql/oldest_unacknowledged.sql"))
        .bind(behind().map(lane).collect::<Vec<_>>())
        .bind(behind().map(|backlog| backlog.messages).collect::<Vec<_>>())
        .fetch_one(pool)
        .await
}

fn is_up(group: &Group, members: &HashMap<(String, String), AtWork>) -> bool {
    let member = |topic: &Topic| members.get(&(group.name.clone(), topic.name().to_owned()));
    group.topics.iter().any(|topic| member(topic).is_some_and(|at_work| at_work.is_up))
}

/// Shows the lag of every group, and whether it has a live member, as metrics until it is dropped, as often as asked unless
/// measuring itself takes long.
pub async fn report(pool: PgPool, broker: Arc<dyn Broker>, groups: Vec<Group>, every: Duration) {
    loop {
        let started = Instant::now();
        show_members(&pool, &groups).await;
        show_lag(&pool, &*broker, &groups).await;
        // Asking must not become part of what makes the broker slow.
        tokio::time::sleep(every.max((started.elapsed() * 4).min(MAX_PAUSE))).await;
    }
}

async fn show_members(pool: &PgPool, groups: &[Group]) {
    let at_work = timeout(DATABASE_TIMEOUT, member::at_work(pool)).await;
    match &at_work {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "who is at work is not known"),
        Err(_) => tracing::debug!("who is at work was not told in time"),
    }
    let at_work = at_work.ok().and_then(Result::ok);
    for group in groups {
        member::show_up(&group.name, at_work.as_ref().map(|members| is_up(group, members)));
    }
}

async fn show_lag(pool: &PgPool, broker: &dyn Broker, groups: &[Group]) {
    let deadline = Instant::now() + ROUND_TIMEOUT;
    let all_answer = timeout_at(deadline, all_answer(pool, broker)).await.unwrap_or(false);
    for group in groups {
        for topic in group.topics {
            let lag = match all_answer {
                true => timeout_at(deadline, measure(pool, broker, &group.name, *topic)).await.unwrap_or_default(),
                false => ConsumerLag::default(),
            };
            metric::consumer_lag(&group.name, *topic, lag);
        }
    }
}

/// And remembers those that do.
async fn all_answer(pool: &PgPool, broker: &dyn Broker) -> bool {
    if let Err(error) = brokers::note(pool, &broker.statuses().await).await {
        tracing::debug!(%error, "which brokers there are can't be remembered");
    }
    brokers::all_answer(pool, broker, Duration::ZERO).await
}
