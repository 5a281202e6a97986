//! "Nothing waits, and yet a message is missing": found by counting.
//!
//! A lane is a queue, so a queue's backlog says up to which row of its lane a group has acknowledged everything. Each of
//! those rows must have left a trace: the consumer's claim, or a dead letter. Where fewer traces than rows are found, the
//! rows without one are named, looked at again a while later, and only then believed to be missing.
//!
//! What is not judged: rows that the group has not passed for certain; rows that wait to be sent, or were given up by a
//! person; consumers that keep no inbox; and what happened so long ago that the traces may have been forgotten. A false
//! alarm would be worse than a late one.

mod judge;
mod kept;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use event_store::verify::Violation;
use messaging::{Broker, Topic};
use outbox_relay::brokers;
use sqlx::{FromRow, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::leading::Leading;
use crate::{Consumer, WatchError, metric};
use judge::{Judge, Traceless};

pub use kept::{Lost, give_up_gone, of_consumer};

const LEASE_NAME: &str = "missing-messages";
/// However rare a look is: another process takes over when this one has been gone so long.
const LEASE_TTL: Duration = Duration::from_secs(30);
/// A cache knows old news by its version: it remembers no message.
const WITHOUT_INBOX: [&str; 1] = ["cache"];
const COUNT_MISSING: &str = "select count(*) from operations.missing_message where confirmed_at is not null";
/// Found messages told one by one; the others are only counted.
const MAX_TOLD: usize = 20;

/// Bounds of the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingConfig {
    /// Between two looks.
    pub interval: Duration,
    /// A message without a trace is missing when it still has none so long after it was first noticed.
    pub confirm_after: Duration,
    /// Traces of younger events are kept for certain: as long as the shortest retention of inbox and dead letters.
    pub traces_kept_for: Duration,
    /// Ledger positions counted with one statement.
    pub max_positions_per_count: i64,
    /// Counts a look makes of each consumer's topic; the rest is left to the next look.
    pub max_counts_per_look: usize,
    /// Messages of a consumer's topic that are remembered because they have no trace. Where there are as many, counting stands
    /// still until some of them are accounted for.
    pub max_remembered: i64,
}

impl Default for MissingConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            confirm_after: Duration::from_secs(30),
            traces_kept_for: messaging::inbox::DEFAULT_RETENTION,
            max_positions_per_count: 20_000,
            max_counts_per_look: 5,
            max_remembered: 10_000,
        }
    }
}

/// What is known of missing messages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Missing {
    /// Everything up to here was counted, for every consumer.
    pub checked_position: i64,
    /// When that was last looked at; none before the first time.
    pub checked_at: Option<DateTime<Utc>>,
    /// How many are missing; none before the first look.
    pub messages: Option<i64>,
    /// The first of them.
    pub found: Vec<MissingMessage>,
}

/// A message that was sent, and left no trace with a consumer that has passed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingMessage {
    pub group: String,
    pub topic: String,
    pub message_id: Uuid,
    /// Position of the event that caused it.
    pub position: i64,
}

#[derive(FromRow)]
struct FoundRow {
    consumer: String,
    topic: String,
    message_id: Uuid,
    position: i64,
}

impl FoundRow {
    /// Under the name that the broker knows.
    fn of_group(self, consumers: &[Consumer]) -> MissingMessage {
        let Self { consumer, topic, message_id, position } = self;
        let known = consumers.iter().find(|known| known.name == consumer);
        MissingMessage { group: known.map_or(consumer, |known| known.group.clone()), topic, message_id, position }
    }
}

#[derive(FromRow)]
struct CheckedRow {
    position: i64,
    checked_at: DateTime<Utc>,
}

/// What the watch has found so far about these consumers.
pub(crate) async fn known(pool: &PgPool, consumers: &[Consumer]) -> Result<Missing, sqlx::Error> {
    let pairs: Vec<(&str, &str)> = judged(consumers)
        .flat_map(|consumer| consumer.topics.iter().map(|topic| (consumer.name, topic.name())))
        .collect();
    let checked: Vec<CheckedRow> = sqlx::query_as(include_str!("sql/checked.sql"))
        .bind(pairs.iter().map(|(consumer, _)| *consumer).collect::<Vec<_>>())
        .bind(pairs.iter().map(|(_, topic)| *topic).collect::<Vec<_>>())
        .fetch_all(pool)
        .await?;
    // Of one that was never looked at nothing is known, so nothing is known of all.
    if checked.is_empty() || checked.len() < pairs.len() {
        return Ok(Missing::default());
    }
    let found: Vec<FoundRow> =
        sqlx::query_as(include_str!("sql/found.sql")).bind(MAX_TOLD as i64).fetch_all(pool).await?;
    Ok(Missing {
        checked_position: checked.iter().map(|row| row.position).min().unwrap_or(0),
        checked_at: checked.iter().map(|row| row.checked_at).min(),
        messages: Some(sqlx::query_scalar(COUNT_MISSING).fetch_one(pool).await?),
        found: found.into_iter().map(|row| row.of_group(consumers)).collect(),
    })
}

pub(crate) fn judged(consumers: &[Consumer]) -> impl Iterator<Item = &Consumer> {
    consumers.iter().filter(|consumer| !WITHOUT_INBOX.contains(&consumer.name))
}

/// What a check of everything came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    pub violations: Vec<Violation>,
    /// Groups and topics of which the broker could not tell how far they are.
    pub not_judged: Vec<String>,
}

/// I1, the consumers' side: every message that was sent was applied by everybody who should, as far as all of them have
/// come. Counts everything that is still there, from the beginning.
pub async fn check_all(
    pool: &PgPool,
    broker: &dyn Broker,
    consumers: &[Consumer],
    config: &MissingConfig,
) -> Result<Checked, WatchError> {
    let Checked { mut violations, mut not_judged } = Checked::default();
    let all_answer = brokers::all_answer(pool, broker, brokers::SETTLING).await;
    for consumer in judged(consumers) {
        for topic in consumer.topics {
            if !all_answer {
                not_judged.push(format!("{} of {topic}", consumer.group));
                continue;
            }
            let judge = Judge { pool, broker, consumer, topic: *topic, config };
            let Some(judged) = judge.everything().await? else {
                not_judged.push(format!("{} of {topic}", consumer.group));
                continue;
            };
            violations.extend(judged.traceless.iter().take(MAX_TOLD).map(|row| violation(consumer, *topic, row)));
            if let Some(more) = judged.traceless.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
                let message = format!("{}: and {more} more of {topic} missing", consumer.group);
                violations.push(Violation { invariant: "I1", message });
            }
        }
    }
    Ok(Checked { violations, not_judged })
}

/// I1 by what the watch remembers.
pub(crate) async fn remembered(pool: &PgPool) -> Result<Vec<Violation>, sqlx::Error> {
    let missing: i64 = sqlx::query_scalar(COUNT_MISSING).fetch_one(pool).await?;
    let message = format!("{missing} messages are missing: `order-ledger lag` names them");
    Ok((missing > 0).then_some(Violation { invariant: "I1", message }).into_iter().collect())
}

fn violation(consumer: &Consumer, topic: Topic, row: &Traceless) -> Violation {
    let Traceless { message_id, position, .. } = row;
    let group = &consumer.group;
    let message =
        format!("message {message_id} of event {position} was sent to {topic}, and {group} passed it without a trace");
    Violation { invariant: "I1", message }
}

/// What one look did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingReport {
    /// Messages counted.
    pub counted: i64,
    /// Believed to be missing from now on.
    pub newly_missing: Vec<MissingMessage>,
    /// All that are missing, by consumer; none where this look could not count all of its topics.
    pub missing: HashMap<&'static str, Option<i64>>,
}

/// Looks for missing messages; one process at a time does.
pub struct MissingWatch {
    pool: PgPool,
    broker: Arc<dyn Broker>,
    consumers: Vec<Consumer>,
    config: MissingConfig,
    leading: Leading,
}

impl MissingWatch {
    pub fn new(pool: PgPool, broker: Arc<dyn Broker>, consumers: Vec<Consumer>, config: MissingConfig) -> Self {
        let leading = Leading::kept(pool.clone(), LEASE_NAME, LEASE_TTL);
        let consumers = judged(&consumers).cloned().collect();
        Self { pool, broker, consumers, config, leading }
    }

    /// Looks until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut is_failing = false;
        while !shutdown.is_cancelled() {
            let started = std::time::Instant::now();
            let looked = tokio::select! {
                () = shutdown.cancelled() => break,
                looked = self.step() => looked,
            };
            match &looked {
                Ok(_) if std::mem::take(&mut is_failing) => tracing::info!("missing messages are looked for again"),
                Ok(_) => {}
                Err(error) if !std::mem::replace(&mut is_failing, true) => {
                    tracing::warn!(%error, "missing messages can't be looked for just now");
                }
                Err(_) => {}
            }
            let is_standby = matches!(looked, Ok(None));
            self.show(looked.ok().flatten().as_ref());
            // Counting must not become part of what there is to count.
            let pause = match is_standby {
                true => self.config.interval.min(LEASE_TTL),
                false => self.config.interval.max(started.elapsed() * 5),
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.leading.resign().await;
    }

    /// Looks once; `None` where another process does.
    pub async fn step(&mut self) -> Result<Option<MissingReport>, WatchError> {
        if !self.leading.is_leader().await? {
            return Ok(None);
        }
        // What waits on a broker that is away would look as if it had been passed.
        let all_answer = brokers::all_answer(&self.pool, self.broker.as_ref(), Duration::ZERO).await;
        let mut report = MissingReport::default();
        for consumer in &self.consumers {
            let mut is_counted = all_answer;
            for topic in consumer.topics.iter().filter(|_| all_answer) {
                let judge = Judge {
                    pool: &self.pool,
                    broker: self.broker.as_ref(),
                    consumer,
                    topic: *topic,
                    config: &self.config,
                };
                let counted = judge.go_on().await?;
                is_counted &= counted.is_some();
                report.counted += counted.unwrap_or(0);
                let newly_missing = judge.look_again().await?;
                let newly_missing: Vec<MissingMessage> =
                    newly_missing.into_iter().map(|row| row.of_group(&self.consumers)).collect();
                // At once: they are on record, so that no later look finds them again.
                tell(&newly_missing);
                report.newly_missing.extend(newly_missing);
            }
            let missing: i64 = sqlx::query_scalar(include_str!("sql/missing_of.sql"))
                .bind(consumer.name)
                .fetch_one(&self.pool)
                .await?;
            report.missing.insert(consumer.name, is_counted.then_some(missing));
        }
        Ok(Some(report))
    }

    fn show(&self, report: Option<&MissingReport>) {
        for consumer in &self.consumers {
            let missing = report.and_then(|report| report.missing.get(consumer.name).copied().flatten());
            metric::missing(&consumer.group, missing);
        }
    }
}

fn tell(newly_missing: &[MissingMessage]) {
    metric::violations("I1", newly_missing.len());
    for message in newly_missing.iter().take(MAX_TOLD) {
        let MissingMessage { group, topic, message_id, position } = message;
        tracing::error!(group, topic, %message_id, position, "a message was sent and passed without a trace");
    }
    if newly_missing.len() > MAX_TOLD {
        tracing::error!(messages = newly_missing.len(), "that many messages are newly missing");
    }
}
