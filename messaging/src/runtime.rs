//! The one loop that all consumers share: gather, apply, acknowledge.
//!
//! A step polls what several queues have ready, parses it, parks what is blocked, hands the rest to the handler, and
//! commits the offsets up to which everything is either applied or a dead letter. Messages that failed wait in memory,
//! unacknowledged, with the later ones of their waiting key behind them, while other keys go on. A crash at any point brings
//! the unacknowledged ones again, and the handler's inbox knows those that had their effect.

pub(crate) mod apply;
mod backlog;
mod config;
mod connection;
mod offsets;
mod verdict;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, info, warn};

use crate::broker::{Broker, BrokerError, Delivery};
use crate::dead_letter::{self, Arrival, Entry};
use crate::handler::{Effect, HandleError, Handler, consumer_group};
use crate::member::Pulse;
use crate::metric::{self, Outcome};
use crate::received::ReceivedMessage;
use crate::telemetry::Processing;
use crate::topic::Topic;

use backlog::{Backlog, Work};
pub use config::RuntimeConfig;
use connection::Connection;
use offsets::Offsets;
use verdict::{Judged, Verdict, verdicts};

/// Why a step could not be finished. Nothing is lost by it: what was not acknowledged is still here or comes again.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The consumer was let go; the next step builds a new one.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Dead letters could not be read or written.
    #[error("dead letters: {0}")]
    Database(#[from] sqlx::Error),
}

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepReport {
    /// Messages that came from the broker.
    pub polled: usize,
    pub applied: usize,
    pub duplicate: usize,
    /// Failed, and will be tried again.
    pub retried: usize,
    /// Given up.
    pub dead_lettered: usize,
    /// Parked behind a dead letter of their waiting key.
    pub behind: usize,
    /// In memory and unacknowledged when the step ended.
    pub waiting: usize,
}

/// A member of one consumer group, with its handler.
pub struct ConsumerRuntime {
    connection: Connection,
    pool: PgPool,
    handler: Arc<dyn Handler>,
    config: RuntimeConfig,
    group: String,
    shutdown: CancellationToken,
    backlog: Backlog,
    offsets: Offsets,
    pulse: Arc<Pulse>,
}

impl ConsumerRuntime {
    /// A member that connects with its first step.
    pub fn new(
        broker: Arc<dyn Broker>,
        pool: PgPool,
        handler: Arc<dyn Handler>,
        config: RuntimeConfig,
    ) -> ConsumerRuntime {
        let group = consumer_group(&config.consumer_group, handler.name());
        metric::init(&group, handler.topics());
        metric::up(&group, false);
        ConsumerRuntime {
            pulse: Pulse::new(&group, handler.topics()),
            connection: Connection::new(broker, &group, handler.topics(), &config),
            pool,
            handler,
            backlog: Backlog::new(&config),
            config,
            group,
            shutdown: CancellationToken::new(),
            offsets: Offsets::default(),
        }
    }

    /// Steps until shutdown, whatever fails. A batch that was handed to the handler is finished first.
    pub async fn run(mut self, shutdown: CancellationToken) {
        self.shutdown = shutdown;
        let beat = Duration::from_millis(self.config.heartbeat_every_ms);
        let beating = AbortOnDropHandle::new(tokio::spawn(self.pulse.clone().beat(self.pool.clone(), beat)));
        let mut failing = false;
        while !self.shutdown.is_cancelled() {
            let stepped = self.step().await;
            self.pulse.note_connected(self.connection.is_connected());
            match stepped {
                Ok(_) if failing => {
                    info!(group = self.group, "consumer works again");
                    failing = false;
                }
                Ok(_) => {}
                Err(problem) => {
                    if !failing {
                        warn!(group = self.group, error = %problem, "consumer step failed, trying again");
                    }
                    failing = true;
                    self.pause(Duration::from_millis(self.config.reconnect_wait_ms)).await;
                }
            }
        }
        self.disconnect().await;
        drop(beating);
        self.pulse.leave(&self.pool).await;
    }

    /// One round: gather, apply, acknowledge. Waits for messages no longer than the configured poll wait.
    pub async fn step(&mut self) -> Result<StepReport, RuntimeError> {
        let mut report = StepReport::default();
        let worked = self.gather_and_work(&mut report).await;
        if let Err(RuntimeError::Broker(_)) = &worked {
            self.disconnect().await;
        }
        report.waiting = self.backlog.len();
        worked.map(|()| report)
    }

    async fn gather_and_work(&mut self, report: &mut StepReport) -> Result<(), RuntimeError> {
        report.polled = self.gather().await?;
        let ready = self.backlog.take_ready(Instant::now());
        let free = self.park_blocked(ready, report).await?;
        self.apply(free, report).await?;
        self.acknowledge().await
    }

    /// Takes what the queues have ready into the backlog.
    async fn gather(&mut self) -> Result<usize, RuntimeError> {
        let mut wait = self.backlog.wait_until_ready(Instant::now(), Duration::from_millis(self.config.poll_wait_ms));
        let mut room = self.backlog.room().min(self.config.max_batch_messages);
        if room == 0 {
            self.pause(wait).await;
            return Ok(0);
        }
        let mut polled = 0;
        let mut gather_until = None;
        while room > 0 && gather_until.is_none_or(|until| Instant::now() < until) {
            let deliveries = tokio::select! {
                polled = self.connection.poll(room, wait) => polled?,
                () = self.shutdown.cancelled() => break,
            };
            if deliveries.is_empty() {
                break;
            }
            polled += deliveries.len();
            room = room.saturating_sub(deliveries.len());
            for delivery in deliveries {
                self.accept(delivery);
            }
            wait = Duration::ZERO;
            gather_until.get_or_insert_with(|| Instant::now() + Duration::from_millis(self.config.gather_ms));
        }
        if polled == 0 {
            self.connection.check_idle().await?;
        }
        Ok(polled)
    }

    fn accept(&mut self, delivery: Delivery) {
        // One that is on its way through already comes again when queues move between members.
        if !self.offsets.track(&delivery.queue, delivery.offset) {
            return;
        }
        if delivery.is_no_news(self.handler.name(), self.handler.is_quiet_on_replay()) {
            // Acknowledged with the rest, and nothing else.
            self.offsets.settle(&delivery.queue, delivery.offset);
            return;
        }
        self.backlog.push(Work::new(delivery));
    }

    /// Makes rows of those whose key has undelivered dead letters, and gives back those whose key is free.
    async fn park_blocked(&mut self, ready: Vec<Work>, report: &mut StepReport) -> Result<Vec<Work>, RuntimeError> {
        let arrivals = match self.park_behind(&ready).await {
            Ok(arrivals) => arrivals,
            Err(problem) => {
                self.backlog.put_back(ready);
                return Err(problem.into());
            }
        };
        let mut free = Vec::with_capacity(ready.len());
        let mut held = Vec::new();
        for (work, arrival) in ready.into_iter().zip(arrivals) {
            match arrival {
                Arrival::Free => free.push(work),
                Arrival::Applied => self.settle_applied(&work, Effect::Duplicate, report),
                Arrival::Parked => {
                    report.behind += 1;
                    self.backlog.clear_back_off(&work);
                    self.settle(&work, Outcome::DeadLettered);
                }
                Arrival::KeyInUse => held.push(work),
            }
        }
        self.backlog.hold(held);
        Ok(free)
    }

    /// What became of each.
    async fn park_behind(&self, ready: &[Work]) -> Result<Vec<Arrival>, sqlx::Error> {
        let mut arrivals = vec![Arrival::Free; ready.len()];
        let keys: Vec<&str> = ready.iter().filter_map(Work::waiting_key).collect();
        if keys.is_empty() {
            return Ok(arrivals);
        }
        let consumer = self.handler.name();
        let blocked = dead_letter::blocked_keys(&self.pool, consumer, &keys).await?;
        let is_blocked = |work: &Work| work.waiting_key().is_some_and(|key| blocked.contains(key));
        let (places, entries): (Vec<usize>, Vec<Entry<'_>>) =
            ready.iter().enumerate().filter(|(_, work)| is_blocked(work)).map(|(n, work)| (n, work.behind())).unzip();
        let of_blocked = dead_letter::park_behind(&self.pool, consumer, &entries).await?;
        for (place, arrival) in places.into_iter().zip(of_blocked) {
            arrivals[place] = arrival;
        }
        Ok(arrivals)
    }

    async fn apply(&mut self, works: Vec<Work>, report: &mut StepReport) -> Result<(), RuntimeError> {
        let started_at = Instant::now();
        let judged = self.judge(works).await;
        let took = started_at.elapsed();
        let topics: HashSet<Topic> = judged.iter().filter_map(|(work, _)| work.topic()).collect();
        for topic in topics {
            metric::processed(&self.group, topic, took);
        }
        self.dispose(judged, report).await
    }

    /// Each message with its result: from the handler, or poison from the parser.
    async fn judge(&mut self, works: Vec<Work>) -> Vec<Judged> {
        let messages: Vec<&ReceivedMessage> = works.iter().filter_map(Work::message).collect();
        let workers = self.config.workers(messages.len());
        let results = match Processing::begin(&self.group, &messages) {
            None => apply::apply_side_by_side(&*self.handler, &messages, workers).await,
            Some(processing) => {
                let results = apply::apply_side_by_side(&*self.handler, &processing.messages(), workers).await;
                processing.end(&results);
                results
            }
        };
        let mut results = results.into_iter();
        let judge_one = |work: Work| {
            let result = match work.poison() {
                Some(poison) => Err(poison.into()),
                None => results.next().unwrap_or(Err(HandleError::Behind)),
            };
            (work, result)
        };
        works.into_iter().map(judge_one).collect()
    }

    /// Settles what was applied, parks what is given up, and keeps the rest for later.
    async fn dispose(&mut self, judged: Vec<Judged>, report: &mut StepReport) -> Result<(), RuntimeError> {
        let mut kept: Vec<(Work, Option<HandleError>)> = Vec::new();
        for (work, verdict) in verdicts(judged, self.config.max_attempts) {
            match verdict {
                Verdict::Settle(effect) => self.settle_applied(&work, effect, report),
                Verdict::GiveUp(problem) => kept.push((work, Some(problem))),
                Verdict::WaitItsTurn => kept.push((work, None)),
                Verdict::TryAgain(problem) => {
                    self.try_again(&work, &problem, report);
                    kept.push((work, None));
                }
            }
        }
        self.park_given_up(kept, report).await
    }

    fn settle_applied(&mut self, work: &Work, effect: Effect, report: &mut StepReport) {
        let outcome = match effect {
            Effect::Applied => {
                report.applied += 1;
                Outcome::Applied
            }
            Effect::Duplicate => {
                report.duplicate += 1;
                Outcome::Duplicate
            }
        };
        self.backlog.clear_back_off(work);
        self.settle(work, outcome);
    }

    fn try_again(&mut self, work: &Work, problem: &HandleError, report: &mut StepReport) {
        report.retried += 1;
        self.count(work, Outcome::Retried);
        let failures = self.backlog.back_off(work);
        let (group, topic, message_id) = (&self.group, work.topic_name(), work.message_id());
        // Once when it begins: a dependency may be away for hours.
        if failures == 1 {
            let trace_id = work.trace_id();
            warn!(group, topic, ?message_id, trace_id, reason = %problem, "message failed, trying again");
        } else {
            debug!(group, topic, ?message_id, failures, reason = %problem, "message failed again");
        }
    }

    async fn park_given_up(
        &mut self,
        kept: Vec<(Work, Option<HandleError>)>,
        report: &mut StepReport,
    ) -> Result<(), RuntimeError> {
        let entries: Vec<Entry<'_>> =
            kept.iter().filter_map(|(work, given_up)| Some(work.given_up(given_up.as_ref()?))).collect();
        let parked = dead_letter::park_dead(&self.pool, self.handler.name(), &entries).await;
        drop(entries);
        let mut waiting = Vec::new();
        for (work, given_up) in kept {
            match (given_up, &parked) {
                (Some(problem), Ok(in_use)) if !work.waiting_key().is_some_and(|key| in_use.contains(key)) => {
                    self.settle_given_up(&work, &problem, report);
                }
                (Some(_), Ok(_)) => {
                    // Somebody works on its key: it is judged again.
                    self.backlog.back_off(&work);
                    waiting.push(work);
                }
                _ => waiting.push(work),
            }
        }
        self.backlog.put_back(waiting);
        parked?;
        Ok(())
    }

    fn settle_given_up(&mut self, work: &Work, problem: &HandleError, report: &mut StepReport) {
        report.dead_lettered += 1;
        error!(group = self.group, topic = work.topic_name(), message_id = ?work.message_id(), trace_id = work.trace_id(), attempts = work.attempts, reason = %problem, "message became a dead letter");
        self.backlog.clear_back_off(work);
        self.settle(work, Outcome::DeadLettered);
    }

    async fn acknowledge(&mut self) -> Result<(), RuntimeError> {
        let next_offsets = self.offsets.committable();
        if !next_offsets.is_empty() {
            self.connection.commit(&next_offsets).await?;
            self.offsets.committed(&next_offsets);
        }
        Ok(())
    }

    fn settle(&mut self, work: &Work, outcome: Outcome) {
        self.offsets.settle(&work.delivery.queue, work.delivery.offset);
        self.count(work, outcome);
    }

    fn count(&self, work: &Work, outcome: Outcome) {
        if let Some(topic) = work.topic() {
            metric::count(&self.group, topic, outcome);
            if matches!(outcome, Outcome::Applied | Outcome::Duplicate) {
                self.pulse.note_applied(topic);
            }
        }
    }

    /// Forgets all that is unacknowledged: it comes again.
    async fn disconnect(&mut self) {
        self.backlog = Backlog::new(&self.config);
        self.offsets = Offsets::default();
        self.connection.close().await;
    }

    async fn pause(&mut self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.shutdown.cancelled() => {}
        }
    }
}
