//! The active relay's work: what is under way in each lane, and what of it is durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use messaging::{Producer, SendError};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::decisions::{self, LaneToSettle, Settled};
use crate::lanes::{Lane, Lanes};
use crate::outbox::{self, Batch, Place};
use crate::parked::ParkedRow;
use crate::send::{self, SendLimits, Sent};
use crate::{RelayConfig, RelayError, cursor};

/// What only the holder of the lease has. Dropping it gives up what is under way.
pub(crate) struct Tenure {
    token: i64,
    lanes: Lanes,
    permits: Arc<Semaphore>,
    work: JoinSet<sqlx::Result<Done>>,
    /// Ended, and not yet written down.
    done: Vec<Done>,
}

/// A lane's work that has ended.
enum Done {
    Sent(Sent),
    Settled(Settled),
}

/// What was written down.
#[derive(Default)]
pub(crate) struct WrittenDown {
    pub sent: usize,
    pub parked: usize,
    /// The broker did not answer; everything under way was given up.
    pub outage: Option<String>,
    /// Topics that the broker said it does not have.
    pub missing_topics: Vec<&'static str>,
}

impl Tenure {
    pub(crate) fn new(token: i64, lanes: Lanes, max_sends_in_flight: usize) -> Tenure {
        let permits = Arc::new(Semaphore::new(max_sends_in_flight));
        Tenure { token, lanes, permits, work: JoinSet::new(), done: Vec::new() }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.work.len()
    }

    /// Messages that were handed to the broker, or wait for their turn to be.
    pub(crate) fn in_flight_messages(&self) -> usize {
        self.lanes.in_flight_messages()
    }

    /// People decided about parked messages of this lane.
    pub(crate) fn note_decision(&mut self, lane: i16) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.has_decisions = true;
        }
    }

    /// Begins to carry out decisions in every idle lane that has some.
    pub(crate) fn begin_decisions(&mut self, pool: &PgPool, producer: &Arc<dyn Producer>, config: &RelayConfig) {
        for lane in self.lanes.begin_decided() {
            let to_settle = LaneToSettle { lane: lane.lane, topic: lane.topic, queue: lane.queue, token: self.token };
            let limits = SendLimits { park_unknown_topic: true, ..limits(lane, config) };
            let (pool, producer) = (pool.clone(), Arc::clone(producer));
            self.work.spawn(async move {
                decisions::settle(&pool, producer.as_ref(), to_settle, limits).await.map(Done::Settled)
            });
        }
    }

    /// Reads every idle lane and begins to send what is there, in at most `max_lanes` of them.
    pub(crate) async fn begin_sends(
        &mut self,
        pool: &PgPool,
        producer: &Arc<dyn Producer>,
        config: &RelayConfig,
        head: i64,
        max_lanes: usize,
    ) -> sqlx::Result<usize> {
        let readable = self.lanes.readable(head);
        if readable.is_empty() {
            return Ok(0);
        }
        let limit = (config.max_read_messages / readable.len()).clamp(1, config.max_batch_messages);
        let batches = outbox::read(pool, &readable, head, limit).await?;
        let mut begun = 0;
        for batch in batches {
            let Some(lane) = self.lanes.get_mut(batch.lane) else { continue };
            if batch.is_empty() {
                lane.drained_through = batch.drained_through.unwrap_or(lane.drained_through);
            } else if begun < max_lanes {
                lane.is_busy = true;
                lane.in_flight_messages = batch.messages.len();
                begun += 1;
                let (queue, limits) = (lane.queue, limits(lane, config));
                self.spawn_send(Arc::clone(producer), queue, batch, limits);
            }
        }
        Ok(begun)
    }

    fn spawn_send(&mut self, producer: Arc<dyn Producer>, queue: u16, batch: Batch, limits: SendLimits) {
        let permits = Arc::clone(&self.permits);
        self.work.spawn(async move {
            // Never closed, so there is always one in the end.
            let _permit = permits.acquire().await;
            Ok(Done::Sent(send::send(producer.as_ref(), queue, batch, limits).await))
        });
    }

    /// Waits until some work has ended, and takes what else has. Waits for ever when there is none.
    pub(crate) async fn some_work_ended(&mut self) -> Result<(), RelayError> {
        match self.work.join_next().await {
            Some(ended) => self.note(ended)?,
            None => std::future::pending().await,
        }
        while let Some(ended) = self.work.try_join_next() {
            self.note(ended)?;
        }
        Ok(())
    }

    fn note(&mut self, ended: Result<sqlx::Result<Done>, JoinError>) -> Result<(), RelayError> {
        match ended {
            Ok(done) => self.done.push(done?),
            Err(error) if error.is_cancelled() => {}
            Err(panic) => return Err(RelayError::Panicked(panic.to_string())),
        }
        Ok(())
    }

    /// Moves the cursors of all lanes whose work has ended. `None`: the lease is lost.
    pub(crate) async fn write_down(
        &mut self,
        pool: &PgPool,
        config: &RelayConfig,
    ) -> Result<Option<WrittenDown>, RelayError> {
        let outage = self.done.iter().find_map(Done::outage);
        if outage.is_some() {
            self.give_up_work().await?;
        }
        let moves: Vec<(i16, Place)> = self.done.iter().filter_map(Done::moved).collect();
        let parked: Vec<ParkedRow> = self.done.iter().flat_map(Done::parked).cloned().collect();
        let is_lost = self.done.iter().any(Done::is_lost);
        if is_lost || !cursor::advance(pool, self.token, &moves, &parked).await? {
            return Ok(None);
        }
        let mut written = WrittenDown { parked: parked.len(), outage, ..WrittenDown::default() };
        for done in std::mem::take(&mut self.done) {
            written.sent += done.messages();
            if let Some(lane) = self.lanes.get_mut(done.lane()) {
                written.missing_topics.extend(lane.end(done, config));
            }
        }
        written.missing_topics.sort_unstable();
        written.missing_topics.dedup();
        if written.outage.is_some() {
            self.lanes.release_all();
        }
        Ok(Some(written))
    }

    /// What had ended by now counts; the rest is sent again from the durable cursors.
    async fn give_up_work(&mut self) -> Result<(), RelayError> {
        self.work.abort_all();
        while let Some(ended) = self.work.join_next().await {
            self.note(ended)?;
        }
        Ok(())
    }
}

fn limits(lane: &Lane, config: &RelayConfig) -> SendLimits {
    SendLimits {
        max_bytes: config.max_send_bytes,
        timeout: config.send_timeout(),
        park_unknown_topic: lane.unknown_topic_failures >= config.unknown_topic_attempts,
    }
}

impl Lane {
    /// Takes note of what became of its work. Names its topic when the broker does not know it.
    fn end(&mut self, done: Done, config: &RelayConfig) -> Option<&'static str> {
        self.is_busy = false;
        self.in_flight_messages = 0;
        if done.messages() > 0 {
            self.unknown_topic_failures = 0;
        }
        let failure = match done {
            Done::Sent(sent) => {
                self.sent = sent.through.unwrap_or(self.sent);
                self.drained_through = sent.drained_through.unwrap_or(self.drained_through);
                self.blocked.extend(sent.parked.into_iter().map(|row| row.ordering_key));
                sent.failure
            }
            Done::Settled(settled) => {
                self.has_decisions = settled.failure.is_some();
                if let (Some(blocked), false) = (settled.blocked, self.has_decisions) {
                    self.blocked = blocked;
                }
                settled.failure
            }
        };
        let Some(SendError::UnknownTopic(_)) = failure else { return None };
        self.unknown_topic_failures = self.unknown_topic_failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + Duration::from_millis(config.backoff_max_ms));
        Some(self.topic.name())
    }
}

impl Done {
    fn lane(&self) -> i16 {
        match self {
            Done::Sent(sent) => sent.lane,
            Done::Settled(settled) => settled.lane,
        }
    }

    fn messages(&self) -> usize {
        match self {
            Done::Sent(sent) => sent.messages,
            Done::Settled(settled) => settled.messages,
        }
    }

    fn moved(&self) -> Option<(i16, Place)> {
        match self {
            Done::Sent(sent) => Some((sent.lane, sent.through?)),
            Done::Settled(_) => None,
        }
    }

    fn parked(&self) -> &[ParkedRow] {
        match self {
            Done::Sent(sent) => &sent.parked,
            Done::Settled(_) => &[],
        }
    }

    fn is_lost(&self) -> bool {
        matches!(self, Done::Settled(Settled { blocked: None, .. }))
    }

    fn outage(&self) -> Option<String> {
        let failure = match self {
            Done::Sent(sent) => sent.failure.as_ref(),
            Done::Settled(settled) => settled.failure.as_ref(),
        };
        match failure {
            Some(SendError::Unavailable(reason)) => Some(reason.clone()),
            _ => None,
        }
    }
}
