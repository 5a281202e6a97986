//! How far everything is behind, in one measurement. However many ask and however often, one is made at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt, stream};
use messaging::member::{self, AtWork};
use messaging::{Broker, Topic};
use outbox_relay::lag::OutboxLag;
use outbox_relay::{brokers, consumer_lag};
use projections::critical_time::{self, CriticalTime};
use projections::{ProjectionLag, Rebuild, rebuild};
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::missing::{self, Missing};
use crate::verification::{self, Verification};
use crate::{Consumer, WatchError};

/// A measurement serves everybody who asks before it is so old, from its beginning on. Less than a second, so that who asks
/// once a second gets a new one each time.
const FRESH_FOR: Duration = Duration::from_millis(900);
/// What the broker has not told by then is unknown.
const BROKER_TIMEOUT: Duration = Duration::from_secs(3);
/// What Postgres has not told by then is an error.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);
/// Questions about consumer groups under way at once, so that a measurement takes few connections.
const GROUPS_AT_ONCE: usize = 3;
/// Critical times of so long count.
pub const CRITICAL_TIME_WINDOW: Duration = Duration::from_secs(300);

/// How far everything is behind.
#[derive(Debug, Clone, PartialEq)]
pub struct LagReport {
    /// When the outbox was asked, by this process's clock.
    pub measured_at: DateTime<Utc>,
    pub outbox: OutboxLag,
    /// Each group and topic.
    pub consumers: Vec<ConsumerReport>,
    pub projections: Vec<ProjectionLag>,
    /// The last rebuild of each, where there was one.
    pub rebuilds: Vec<Rebuild>,
    /// From placed to visible.
    pub order_visible: CriticalTime,
    /// From placed to confirmed and visible.
    pub order_confirmed: CriticalTime,
    pub missing: Missing,
    /// The last check of the invariants, whoever made it.
    pub verification: Option<Verification>,
}

/// A consumer group's part of a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerReport {
    /// Its own name, without the prefix that its group has on the broker.
    pub consumer: &'static str,
    pub group: String,
    pub topic: Topic,
    /// Messages the group has not acknowledged, live members or not.
    pub lag_messages: Option<i64>,
    /// Since the event behind the oldest of them was recorded.
    pub lag_ms: Option<i64>,
    /// Whether a member lives and reaches the broker.
    pub is_up: bool,
    pub applied_per_second: f64,
    /// Dead letters and the messages behind them.
    pub dead_letters: i64,
}

impl LagReport {
    /// Of all groups together; unknown as soon as one is.
    pub fn consumer_lag_messages(&self) -> Option<i64> {
        self.consumers.iter().map(|consumer| consumer.lag_messages).sum()
    }

    /// Of the group that is furthest behind; unknown as soon as one is.
    pub fn consumer_lag_ms(&self) -> Option<i64> {
        let all: Option<Vec<i64>> = self.consumers.iter().map(|consumer| consumer.lag_ms).collect();
        all.map(|all| all.into_iter().max().unwrap_or(0))
    }

    /// All messages that wait for somebody to decide, by all consumers.
    pub fn dead_letters(&self) -> i64 {
        self.consumers.iter().map(|consumer| consumer.dead_letters).sum()
    }
}

/// Measures for everybody in the process. Cheap to clone; clones share.
#[derive(Clone)]
pub struct LagMonitor(Arc<Shared>);

struct Shared {
    pool: PgPool,
    /// None: nobody knows of the groups.
    broker: Option<Arc<dyn Broker>>,
    consumers: Vec<Consumer>,
    /// Held by who measures: the others wait for the result.
    last: Mutex<Option<Last>>,
}

struct Last {
    began: Instant,
    ended: Instant,
    measured: Measured,
}

impl Last {
    /// Who asked while it was made waited for it.
    fn serves(&self, asked: Instant) -> bool {
        asked < (self.began + FRESH_FOR).max(self.ended)
    }
}

/// A failure is shared as a success is: a database that is away is asked once a second as well.
type Measured = Result<Arc<LagReport>, Arc<WatchError>>;

impl LagMonitor {
    pub fn new(pool: PgPool, broker: Option<Arc<dyn Broker>>, consumers: Vec<Consumer>) -> Self {
        Self(Arc::new(Shared { pool, broker, consumers, last: Mutex::new(None) }))
    }

    /// The lag as it is now, or was a moment ago.
    pub async fn current(&self) -> Measured {
        let asked = Instant::now();
        let mut last = self.0.last.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.serves(asked)) {
            return last.measured.clone();
        }
        let began = Instant::now();
        let settling = if last.is_none() { brokers::SETTLING } else { Duration::ZERO };
        let measured = self.0.measure(settling).await.map(Arc::new).map_err(Arc::new);
        *last = Some(Last { began, ended: Instant::now(), measured: measured.clone() });
        measured
    }
}

impl Shared {
    /// Brokers that a client has only just heard of may take so long to answer.
    async fn measure(&self, settling: Duration) -> Result<LagReport, WatchError> {
        let deadline = Instant::now() + DATABASE_TIMEOUT;
        let too_slow = |_| WatchError::TooSlow("measuring the lag", DATABASE_TIMEOUT.as_secs());
        let (known, groups) = tokio::join!(timeout_at(deadline, self.known()), self.groups(settling));
        let known = known.map_err(too_slow)??;
        let consumers = self.each_topic().zip(groups).map(|((consumer, topic), lag)| {
            let key = (consumer.group.clone(), topic.name().to_owned());
            let at_work = known.at_work.get(&key).copied().unwrap_or_default();
            let dead_letters = known.dead_letters.get(&(consumer.name.to_owned(), key.1)).copied().unwrap_or(0);
            ConsumerReport {
                consumer: consumer.name,
                group: key.0,
                topic,
                lag_messages: lag.messages,
                lag_ms: lag.oldest_age_ms,
                is_up: at_work.is_up,
                applied_per_second: at_work.applied_per_second,
                dead_letters,
            }
        });
        Ok(LagReport {
            measured_at: known.measured_at,
            consumers: consumers.collect(),
            outbox: known.outbox,
            projections: known.projections,
            rebuilds: known.rebuilds,
            order_visible: known.order_visible,
            order_confirmed: known.order_confirmed,
            missing: known.missing,
            verification: known.verification,
        })
    }

    /// What Postgres knows, asked one after the other: a measurement should not need a pool of its own.
    async fn known(&self) -> Result<Known, WatchError> {
        let pool = &self.pool;
        let mut times = critical_time::recent(pool, CRITICAL_TIME_WINDOW).await?;
        Ok(Known {
            measured_at: Utc::now(),
            outbox: outbox_relay::lag::measure(pool).await?,
            projections: projections::lag(pool).await?,
            rebuilds: rebuild::last_of_all(pool).await?,
            at_work: member::at_work(pool).await?,
            dead_letters: dead_letters(pool).await?,
            order_visible: times.remove(critical_time::ORDER_VISIBLE).unwrap_or_default(),
            order_confirmed: times.remove(critical_time::ORDER_CONFIRMED).unwrap_or_default(),
            missing: missing::known(pool, &self.consumers).await?,
            verification: verification::last(pool).await?,
        })
    }

    fn each_topic(&self) -> impl Iterator<Item = (&Consumer, Topic)> {
        self.consumers.iter().flat_map(|consumer| consumer.topics.iter().map(move |topic| (consumer, *topic)))
    }

    /// The lag of each group and topic, in the order of [`Self::each_topic`].
    async fn groups(&self, settling: Duration) -> Vec<consumer_lag::ConsumerLag> {
        let deadline = Instant::now() + BROKER_TIMEOUT;
        let all_answer = async |broker: &dyn Broker| {
            timeout_at(deadline, brokers::all_answer(&self.pool, broker, settling)).await.unwrap_or(false)
        };
        let broker = match &self.broker {
            Some(broker) if all_answer(broker.as_ref()).await => broker,
            _ => return self.each_topic().map(|_| consumer_lag::ConsumerLag::default()).collect(),
        };
        // Collected first: a closure over borrowed groups inside a stream is not general enough for a handler.
        let questions: Vec<_> = self
            .each_topic()
            .map(|(consumer, topic)| {
                let measuring = consumer_lag::measure(&self.pool, broker.as_ref(), &consumer.group, topic);
                async move { timeout_at(deadline, measuring).await.unwrap_or_default() }.boxed()
            })
            .collect();
        stream::iter(questions).buffered(GROUPS_AT_ONCE).collect().await
    }
}

struct Known {
    measured_at: DateTime<Utc>,
    outbox: OutboxLag,
    projections: Vec<ProjectionLag>,
    rebuilds: Vec<Rebuild>,
    /// By group and topic.
    at_work: HashMap<(String, String), AtWork>,
    /// By consumer and topic.
    dead_letters: HashMap<(String, String), i64>,
    order_visible: CriticalTime,
    order_confirmed: CriticalTime,
    missing: Missing,
    verification: Option<Verification>,
}

async fn dead_letters(pool: &PgPool) -> Result<HashMap<(String, String), i64>, sqlx::Error> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(include_str!("sql/dead_letters.sql")).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(consumer, topic, count)| ((consumer, topic), count)).collect())
}
