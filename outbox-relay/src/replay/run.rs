//! A replay at work: reads a page of each lane, sends it, and writes down how far it came.

use std::sync::Arc;
use std::time::Duration;

use event_store::lease::{self, Lease};
use futures_util::future::join_all;
use messaging::{Broker, Producer, SendError};
use sqlx::{PgConnection, PgPool};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::page::{LanePage, PageLimits, read_pages};
use super::store::{self, LaneProgress};
use super::{Plan, ReplayError, ReplayRequest};
use crate::circuit::Backoff;
use crate::outbox::Place;

/// Bounds of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayConfig {
    /// Messages of one lane read and sent at once (500).
    pub max_batch_messages: usize,
    /// A send that is not confirmed by then counts as failed (15,000).
    pub send_timeout_ms: u64,
    /// A replay whose process was silent this long may be resumed by another (5,000). Renewed three times as often.
    pub lease_ttl_ms: u64,
    /// How long it waits for a broker that takes nothing (60,000).
    pub give_up_after_ms: u64,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        ReplayConfig { max_batch_messages: 500, send_timeout_ms: 15_000, lease_ttl_ms: 5_000, give_up_after_ms: 60_000 }
    }
}

/// First and longest pause between two tries to reach the broker.
const BACKOFF_MS: (u64, u64) = (100, 2_000);
/// What is on its way when it is told to stop is mostly confirmed by then, and need not be sent twice.
const STOP_GRACE: Duration = Duration::from_secs(1);
const TOLD_TO_STOP: &str = "told to stop";

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    pub replay_id: i64,
    /// Sent and written down, over all its processes.
    pub sent: i64,
    /// To be sent.
    pub messages: i64,
    /// Sent by this process.
    pub sent_here: i64,
    pub is_done: bool,
}

/// What replays work with.
#[derive(Clone)]
pub struct ReplayParts {
    pub pool: PgPool,
    pub broker: Arc<dyn Broker>,
    pub config: ReplayConfig,
}

/// A replay that this process holds the lease of.
pub struct Replay {
    parts: ReplayParts,
    request: ReplayRequest,
    replay_id: i64,
    lease: Lease,
    renew_at: Instant,
    producer: Option<Box<dyn Producer>>,
    target_queues: u16,
    lanes: Vec<LaneProgress>,
    pace: Pace,
    messages: i64,
    sent: i64,
    sent_here: i64,
}

impl Replay {
    /// Takes the lease and writes the replay down; `record` says in the same transaction who asked for it. Nothing is sent
    /// before the first step.
    pub async fn begin(
        parts: ReplayParts,
        (request, plan): (ReplayRequest, &Plan),
        messages_per_second: Option<u32>,
        requested_by: &str,
        record: impl AsyncFnOnce(&mut PgConnection, i64) -> sqlx::Result<()>,
    ) -> Result<Replay, ReplayError> {
        let target_queues = target_queues(&*parts.broker, &request).await?;
        let lease = acquire(&parts, &request, Duration::ZERO).await?;
        let mut transaction = parts.pool.begin().await?;
        let rate = messages_per_second;
        let replay_id = store::begin(&mut transaction, &request, plan, rate, requested_by, lease.token).await?;
        record(&mut transaction, replay_id).await?;
        transaction.commit().await?;
        Self::open(parts, request, target_queues, lease, replay_id).await
    }

    /// Goes on with a replay whose process has ended; waits until its lease has run out. `messages_per_second` takes the place
    /// of the rate it began with.
    pub async fn resume(
        parts: ReplayParts,
        replay_id: i64,
        messages_per_second: Option<u32>,
    ) -> Result<Replay, ReplayError> {
        let record = store::find(&parts.pool, replay_id).await?.ok_or(ReplayError::Unknown(replay_id))?;
        if record.state != "running" {
            return Err(ReplayError::Ended(replay_id));
        }
        let request = store::request_of(&record)?;
        let target_queues = target_queues(&*parts.broker, &request).await?;
        let patience = parts.config.lease_ttl() + parts.config.renew_every();
        let lease = acquire(&parts, &request, patience).await?;
        store::take_over(&parts.pool, replay_id, lease.token, messages_per_second).await?;
        Self::open(parts, request, target_queues, lease, replay_id).await
    }

    async fn open(
        parts: ReplayParts,
        request: ReplayRequest,
        target_queues: u16,
        lease: Lease,
        replay_id: i64,
    ) -> Result<Replay, ReplayError> {
        let lanes = store::lanes(&parts.pool, replay_id).await?;
        let record = store::find(&parts.pool, replay_id).await?.ok_or(ReplayError::Unknown(replay_id))?;
        Ok(Replay {
            renew_at: Instant::now() + parts.config.renew_every(),
            parts,
            request,
            replay_id,
            lease,
            producer: None,
            target_queues,
            lanes,
            pace: Pace::new(record.messages_per_second.and_then(|rate| u32::try_from(rate).ok())),
            messages: record.messages,
            sent: record.sent_messages,
            sent_here: 0,
        })
    }

    /// Where it is.
    pub fn progress(&self) -> Progress {
        Progress {
            replay_id: self.replay_id,
            sent: self.sent,
            messages: self.messages,
            sent_here: self.sent_here,
            is_done: self.lanes.iter().all(|lane| lane.reached >= lane.end),
        }
    }

    /// Steps until all is sent or `shutdown` comes, at its rate, and says where it is after each step. What stops it for good
    /// is written down; after anything else it can be resumed.
    pub async fn run(
        mut self,
        shutdown: &CancellationToken,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Progress, ReplayError> {
        let worked = self.work(shutdown, &mut on_progress).await;
        let ended = match &worked {
            Ok(progress) if progress.is_done => Some(("done", None)),
            Ok(_) => None,
            Err(problem @ (ReplayError::Refused(_) | ReplayError::Overtaken { .. })) => {
                Some(("failed", Some(problem.to_string())))
            }
            Err(_) => None,
        };
        if let Some((state, problem)) = ended {
            store::end(&self.parts.pool, self.replay_id, self.lease.token, state, problem.as_deref()).await?;
        }
        if let Some(producer) = self.producer.take() {
            producer.close().await;
        }
        // Failing that, it runs out.
        let _ = self.lease.release(&self.parts.pool).await;
        worked
    }

    async fn work(
        &mut self,
        shutdown: &CancellationToken,
        on_progress: &mut impl FnMut(Progress),
    ) -> Result<Progress, ReplayError> {
        on_progress(self.progress());
        while !self.progress().is_done && !shutdown.is_cancelled() {
            let stepped = self.step(shutdown).await;
            on_progress(self.progress());
            stepped?;
            self.wait_for_rate(shutdown).await?;
        }
        let progress = self.progress();
        if progress.is_done && progress.sent < progress.messages {
            return Err(ReplayError::Overtaken { missing: progress.messages - progress.sent });
        }
        Ok(progress)
    }

    /// Sends the next messages of some lanes and writes down how far they came: also what was confirmed before the broker
    /// refused one, or before `shutdown` came.
    pub async fn step(&mut self, shutdown: &CancellationToken) -> Result<(), ReplayError> {
        self.keep_lease().await?;
        let mut pages = self.next_pages().await?;
        let sent = self.send_all(&mut pages, shutdown).await;
        pages.retain(|page| page.is_confirmed);
        let moved = self.advance(&pages).await;
        sent.and(moved)
    }

    async fn advance(&mut self, pages: &[LanePage]) -> Result<(), ReplayError> {
        let moves: Vec<(i16, Place, i64)> =
            pages.iter().map(|page| (page.lane, page.reached, page.messages.len() as i64)).collect();
        if !store::advance(&self.parts.pool, self.replay_id, self.lease.token, &moves).await? {
            return Err(ReplayError::LeaseLost);
        }
        for (lane, reached, sent) in moves {
            self.sent += sent;
            self.sent_here += sent;
            if let Some(known) = self.lanes.iter_mut().find(|known| known.lane == lane) {
                known.reached = reached;
            }
        }
        self.pace.note_step(pages.iter().map(|page| page.messages.len()).sum(), Instant::now());
        Ok(())
    }

    /// The next page of as many unfinished lanes as the rate has room for; each gets its turn.
    async fn next_pages(&mut self) -> Result<Vec<LanePage>, ReplayError> {
        let budget = self.pace.step_messages();
        let mut lanes: Vec<LaneProgress> = self.lanes.iter().filter(|lane| lane.reached < lane.end).copied().collect();
        lanes.truncate(budget);
        let most = self.parts.config.max_batch_messages;
        let share = (budget / lanes.len().max(1)).clamp(1, most);
        // Few of the rows that are looked at are sent then.
        let is_filtered = self.request.stream_id.is_some() || self.request.key.is_some();
        let limits = PageLimits { rows: if is_filtered { most } else { share }, messages: share };
        let last = lanes.last().map(|lane| lane.lane);
        if let Some(at) = self.lanes.iter().position(|lane| Some(lane.lane) == last) {
            self.lanes.rotate_left(at + 1);
        }
        read_pages(&self.parts.pool, &self.request, &lanes, limits).await
    }

    /// Sends the pages side by side, each in its order, until all are confirmed or `shutdown` comes. While the broker is away
    /// it is tried again, for a bounded time: a lane begins its page anew then, which doubles what was stored of it.
    async fn send_all(&mut self, pages: &mut [LanePage], shutdown: &CancellationToken) -> Result<(), ReplayError> {
        let since = Instant::now();
        let mut backoff = Backoff::new(BACKOFF_MS.0, BACKOFF_MS.1);
        while pages.iter().any(|page| !page.is_confirmed) && !shutdown.is_cancelled() {
            let Some(problem) = self.send_some(pages, shutdown).await? else { continue };
            if let Some(producer) = self.producer.take() {
                producer.close().await;
            }
            let waited_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            if waited_ms > self.parts.config.give_up_after_ms {
                return Err(ReplayError::BrokerAway { waited_ms, last: problem });
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(backoff.next_wait()) => {}
            }
            self.keep_lease().await?;
        }
        Ok(())
    }

    /// Sends what is not confirmed and marks what is; says why not all was.
    async fn send_some(
        &mut self,
        pages: &mut [LanePage],
        shutdown: &CancellationToken,
    ) -> Result<Option<String>, ReplayError> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => tokio::select! {
                made = self.parts.broker.producer() => match made {
                    Ok(producer) => producer,
                    Err(problem) => return Ok(Some(problem.to_string())),
                },
                lost = self.lose_lease() => return Err(lost),
                () = shutdown.cancelled() => return Ok(Some(TOLD_TO_STOP.to_owned())),
            },
        };
        let timeout = Duration::from_millis(self.parts.config.send_timeout_ms);
        let (to_topic, queues) = (self.request.to_topic(), self.target_queues);
        let sends = pages.iter_mut().filter(|page| !page.is_confirmed).map(|page| {
            let producer = &producer;
            async move {
                let answer = tokio::select! {
                    answer = producer.send(to_topic, page.queue % queues, &page.messages) => answer,
                    () = tokio::time::sleep(timeout) => Err(SendError::Unavailable(format!("no answer within {timeout:?}"))),
                    () = stopped(shutdown) => Err(SendError::Unavailable(TOLD_TO_STOP.to_owned())),
                };
                page.is_confirmed = answer.is_ok();
                answer.err()
            }
        });
        let problems = tokio::select! {
            problems = join_all(sends) => Ok(problems),
            lost = self.lose_lease() => Err(lost),
        };
        self.producer = Some(producer);
        let mut unavailable = None;
        for problem in problems?.into_iter().flatten() {
            match problem {
                SendError::Unavailable(reason) => unavailable = Some(reason),
                refusal => return Err(ReplayError::Refused(refusal)),
            }
        }
        Ok(unavailable)
    }

    /// Renews the lease for as long as it is waited for; returns when that can't be done.
    async fn lose_lease(&self) -> ReplayError {
        loop {
            tokio::time::sleep(self.parts.config.renew_every()).await;
            match self.lease.renew(&self.parts.pool, self.parts.config.lease_ttl()).await {
                Ok(true) => {}
                Ok(false) => return ReplayError::LeaseLost,
                Err(error) => return error.into(),
            }
        }
    }

    async fn keep_lease(&mut self) -> Result<(), ReplayError> {
        if Instant::now() < self.renew_at {
            return Ok(());
        }
        if !self.lease.renew(&self.parts.pool, self.parts.config.lease_ttl()).await? {
            return Err(ReplayError::LeaseLost);
        }
        self.renew_at = Instant::now() + self.parts.config.renew_every();
        Ok(())
    }

    /// Waits until the rate allows more, and keeps the lease meanwhile.
    async fn wait_for_rate(&mut self, shutdown: &CancellationToken) -> Result<(), ReplayError> {
        let due = self.pace.next_at;
        while Instant::now() < due && !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep_until(due.min(self.renew_at)) => {}
            }
            self.keep_lease().await?;
        }
        Ok(())
    }
}

/// Returns a moment after it is told to stop.
async fn stopped(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(STOP_GRACE).await;
}

impl ReplayConfig {
    fn lease_ttl(&self) -> Duration {
        Duration::from_millis(self.lease_ttl_ms)
    }

    fn renew_every(&self) -> Duration {
        self.lease_ttl() / 3
    }
}

async fn target_queues(broker: &dyn Broker, request: &ReplayRequest) -> Result<u16, ReplayError> {
    let topic = request.to_topic();
    let queues = broker.topic_queues(topic).await?;
    queues.filter(|queues| *queues > 0).ok_or_else(|| ReplayError::NoSuchTopic(topic.to_owned()))
}

async fn acquire(parts: &ReplayParts, request: &ReplayRequest, patience: Duration) -> Result<Lease, ReplayError> {
    let holder = format!("replay-{}", uuid::Uuid::new_v4().simple());
    let give_up_at = Instant::now() + patience;
    let (name, ttl) = (request.lease_name(), parts.config.lease_ttl());
    loop {
        if let Some(lease) = lease::try_acquire(&parts.pool, &name, &holder, ttl).await? {
            return Ok(lease);
        }
        if Instant::now() >= give_up_at {
            return Err(ReplayError::Running(request.topic.name().to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
