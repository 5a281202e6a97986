//! One consumer's part of one topic: how far it can be judged, and what it left without a trace.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use messaging::{Broker, INBOX_SCOPE_PREFIX, QUEUES_PER_TOPIC, Topic};
use outbox_relay::cleanup;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::{FoundRow, MissingConfig};
use crate::{Consumer, WatchError};

const BROKER_TIMEOUT: Duration = Duration::from_secs(3);
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Judge<'a> {
    pub pool: &'a PgPool,
    pub broker: &'a dyn Broker,
    pub consumer: &'a Consumer,
    pub topic: Topic,
    pub config: &'a MissingConfig,
}

/// A sent message that its consumer has passed and that left no trace.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Traceless {
    pub message_id: Uuid,
    pub lane: i16,
    pub position: i64,
    pub n: i16,
    /// It was parked: it left late or not at all.
    pub was_parked: bool,
}

/// What counting a range came to.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// How far it was counted: all of it, or as far as there was room for what has no trace.
    pub upto: i64,
    /// Messages that were sent in it.
    pub sent: i64,
    pub traceless: Vec<Traceless>,
}

/// Where one look begins and how far it may go.
struct Range {
    after: i64,
    upto: i64,
    /// Nothing at all waits for the group.
    is_drained: bool,
}

/// How far a lane was sent.
#[derive(FromRow)]
struct LaneRow {
    lane: i16,
    /// The last row that the broker confirmed, or that was parked.
    position: i64,
    n: i16,
    /// No row up to here is still to be sent.
    sent_through: i64,
}

/// What a group has not acknowledged of a queue's number.
#[derive(Default)]
struct Behind {
    messages: i64,
    /// How many brokers have a queue of that number.
    brokers: usize,
}

impl Judge<'_> {
    /// Goes on where the last look ended, remembers where this one does, and what it noticed. Answers how many messages
    /// it counted; none when the broker can't tell how far the group is.
    pub(super) async fn go_on(&self) -> Result<Option<i64>, WatchError> {
        let Some(range) = self.range(self.checked().await?).await? else { return Ok(None) };
        let limit = self.config.max_positions_per_count * self.config.max_counts_per_look as i64;
        let upto = range.upto.min(range.after + limit);
        let room = self.config.max_remembered - self.remembered().await?;
        let judged = self.count(range.after, upto, room).await?;
        let rows = judged.traceless.iter();
        let mut transaction = self.pool.begin().await?;
        sqlx::query(include_str!("../sql/notice.sql"))
            .bind(self.consumer.name)
            .bind(self.topic.name())
            .bind(rows.clone().map(|row| row.message_id).collect::<Vec<_>>())
            .bind(rows.clone().map(|row| row.lane).collect::<Vec<_>>())
            .bind(rows.clone().map(|row| row.position).collect::<Vec<_>>())
            .bind(rows.map(|row| row.n).collect::<Vec<_>>())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(include_str!("../sql/note_checked.sql"))
            .bind(self.consumer.name)
            .bind(self.topic.name())
            .bind(judged.upto)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some(judged.sent))
    }

    /// Everything that is still there, remembering nothing; none when the broker can't tell how far the group is. What has no
    /// trace is looked at twice.
    pub(super) async fn everything(&self) -> Result<Option<Judged>, WatchError> {
        let Some(first) = self.range(0).await? else { return Ok(None) };
        let mut judged = self.count(first.after, first.upto, self.config.max_remembered).await?;
        judged.traceless.retain(|row| !row.was_parked);
        let (Some(from), Some(last)) = (judged.traceless.first(), judged.traceless.last()) else {
            return Ok(Some(judged));
        };
        let (after, upto) = (from.position - 1, last.position);
        // A broker that is coming up may tell less than waits on it.
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        let Some(second) = self.range(0).await? else { return Ok(None) };
        let again = self.traceless(after, upto.min(second.upto), self.config.max_remembered).await?;
        let again: HashSet<Uuid> = again.iter().map(|row| row.message_id).collect();
        judged.traceless.retain(|row| again.contains(&row.message_id));
        Ok(Some(judged))
    }

    /// Forgets those noticed that have a trace now, and answers those that have had none for too long. Whether the group has
    /// passed them is asked again: a broker that was coming up may have told less than waits on it.
    pub(super) async fn look_again(&self) -> Result<Vec<FoundRow>, WatchError> {
        if self.remembered().await? == 0 {
            return Ok(Vec::new());
        }
        let Some(range) = self.range(0).await? else { return Ok(Vec::new()) };
        Ok(sqlx::query_as(include_str!("../sql/look_again.sql"))
            .bind(self.consumer.name)
            .bind(self.topic.name())
            .bind(self.scope())
            .bind(self.config.confirm_after.as_secs_f64())
            // One that was parked and released came late, behind others: it is only judged where nothing waits at all.
            .bind(range.is_drained)
            .bind(range.upto)
            .fetch_all(self.pool)
            .await?)
    }

    async fn remembered(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(include_str!("../sql/remembered.sql"))
            .bind(self.consumer.name)
            .bind(self.topic.name())
            .fetch_one(self.pool)
            .await
    }

    async fn checked(&self) -> Result<i64, WatchError> {
        let checked = sqlx::query_scalar(include_str!("../sql/checked_upto.sql"))
            .bind(self.consumer.name)
            .bind(self.topic.name())
            .fetch_optional(self.pool)
            .await?;
        Ok(checked.unwrap_or(0))
    }

    /// What lies between `after` and where every lane was passed; none while that is not known.
    ///
    /// The order matters: first what the broker confirmed, then what the group has not acknowledged, and only then (by the
    /// caller) the traces. So what counts as acknowledged was sent before it was asked for, and left its trace before that.
    async fn range(&self, after: i64) -> Result<Option<Range>, WatchError> {
        let lanes: Vec<LaneRow> = sqlx::query_as(include_str!("../sql/sent_lanes.sql"))
            .bind(self.lanes().collect::<Vec<_>>())
            .fetch_all(self.pool)
            .await?;
        let Some(backlog) = self.backlog().await else { return Ok(None) };
        let mut upto = i64::MAX;
        for lane in &lanes {
            upto = upto.min(match backlog.get(&lane.lane) {
                Some(Behind { messages: 0, .. }) => lane.sent_through,
                Some(Behind { messages, brokers: 1 }) => self.before_unacknowledged(lane, *messages).await?,
                // Of a queue that the broker does not list nothing is known, and of one that several brokers have it is not
                // known which of the lane's messages are on which.
                None | Some(_) => 0,
            });
        }
        let is_drained = backlog.values().all(|behind| behind.messages == 0);
        let kept_for = self.config.traces_kept_for.as_secs();
        let after = after.max(cleanup::recorded_before(self.pool, kept_for).await?);
        Ok(Some(Range { after, upto: upto.max(after), is_drained }))
    }

    /// The position before the row of a lane that has so many behind it, itself among them: all before it were acknowledged.
    /// Messages that were sent twice or replayed make it an earlier row, so that fewer are judged.
    async fn before_unacknowledged(&self, lane: &LaneRow, messages: i64) -> Result<i64, WatchError> {
        let first: Option<i64> = sqlx::query_scalar(include_str!("../sql/first_unacknowledged.sql"))
            .bind(lane.lane)
            .bind(lane.position)
            .bind(lane.n)
            .bind(messages)
            .fetch_optional(self.pool)
            .await?;
        // More are behind than there are rows: nothing of this lane was passed for certain.
        Ok(first.map_or(0, |first| first - 1))
    }

    /// What the group has not acknowledged, by lane; none when the broker can't tell.
    async fn backlog(&self) -> Option<HashMap<i16, Behind>> {
        let asked = self.broker.backlog(&self.consumer.group, self.topic.name());
        let queues = tokio::time::timeout(BROKER_TIMEOUT, asked).await.ok()?.ok()??;
        let mut backlog: HashMap<i16, Behind> = HashMap::new();
        for queue in queues.iter().filter(|backlog| backlog.queue.queue < QUEUES_PER_TOPIC) {
            let behind = backlog.entry(self.lane(queue.queue.queue)).or_default();
            behind.messages += queue.messages;
            behind.brokers += 1;
        }
        Some(backlog)
    }

    fn lanes(&self) -> impl Iterator<Item = i16> {
        (0..QUEUES_PER_TOPIC).map(|queue| self.lane(queue))
    }

    fn lane(&self, queue: u16) -> i16 {
        (self.topic as u16 * QUEUES_PER_TOPIC + queue) as i16
    }

    /// Counts range by range, and names the messages only where the counts differ: at most so many.
    async fn count(&self, after: i64, upto: i64, max_traceless: i64) -> Result<Judged, WatchError> {
        let mut judged = Judged { upto: after, ..Judged::default() };
        while judged.upto < upto {
            let from = judged.upto;
            let to = upto.min(from + self.config.max_positions_per_count);
            let (sent, traced): (i64, i64) = sqlx::query_as(include_str!("../sql/count_traces.sql"))
                .bind(self.lanes().collect::<Vec<_>>())
                .bind(from)
                .bind(to)
                .bind(self.scope())
                .bind(self.consumer.name)
                .fetch_one(self.pool)
                .await?;
            judged.sent += sent;
            judged.upto = to;
            if traced < sent {
                let room = usize::try_from(max_traceless).unwrap_or(0).saturating_sub(judged.traceless.len());
                let mut traceless = self.traceless(from, to, room as i64 + 1).await?;
                if let Some(first_without_room) = traceless.get(room).map(|row| row.position) {
                    traceless.retain(|row| row.position < first_without_room);
                    judged.traceless.extend(traceless);
                    judged.upto = first_without_room - 1;
                    break;
                }
                judged.traceless.extend(traceless);
            }
        }
        Ok(judged)
    }

    async fn traceless(&self, after: i64, upto: i64, limit: i64) -> Result<Vec<Traceless>, sqlx::Error> {
        sqlx::query_as(include_str!("../sql/traceless.sql"))
            .bind(self.lanes().collect::<Vec<_>>())
            .bind(after)
            .bind(upto)
            .bind(self.scope())
            .bind(self.consumer.name)
            .bind(limit)
            .fetch_all(self.pool)
            .await
    }

    /// Where a processor keeps its claims; projections have a table of their own.
    fn scope(&self) -> String {
        format!("{INBOX_SCOPE_PREFIX}{}", self.consumer.name)
    }
}
