//! The relay: holds the lease, and as its holder begins work and writes down what has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use event_store::lease::{self, Lease};
use messaging::{Broker, QUEUES_PER_TOPIC};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::circuit::{Backoff, CircuitState};
use crate::lanes::Lanes;
use crate::link::Link;
use crate::tenure::{Tenure, WrittenDown};
use crate::{RelayConfig, RelayError, cleanup, cursor, lag, metric, outbox, parked, wake};

/// The name of the lease that the active relay holds.
pub const LEASE_NAME: &str = "outbox-relay";

/// A relay: active when it holds the lease, else a stand-by.
pub struct OutboxRelay {
    pool: PgPool,
    config: RelayConfig,
    holder: String,
    /// Something may be to do: an append, or a broker that answered.
    wake: Arc<Notify>,
    link: Link,
    reported_circuit: Option<CircuitState>,
    reported_at: Instant,
    /// Confirmed since then.
    sent_since_report: usize,
    lease: Option<Lease>,
    renew_at: Instant,
    tenure: Option<Tenure>,
    is_active: Arc<AtomicBool>,
}

/// Whether the relay held the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends.
    Active,
    /// Another one does.
    Standby,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepReport {
    pub role: Role,
    /// Messages that the broker confirmed and whose cursors moved.
    pub sent: usize,
    /// Messages parked.
    pub parked: usize,
    /// Lanes with work under way when the step ended.
    pub in_flight: usize,
    /// Nothing was under way, and nothing could be begun.
    pub is_idle: bool,
}

impl StepReport {
    const STANDBY: StepReport = StepReport { role: Role::Standby, sent: 0, parked: 0, in_flight: 0, is_idle: true };
}

impl OutboxRelay {
    /// A relay that has done nothing yet. `holder` names it in the lease.
    pub fn new(pool: PgPool, broker: Arc<dyn Broker>, config: RelayConfig, holder: impl Into<String>) -> OutboxRelay {
        metric::init();
        let wake = Arc::new(Notify::new());
        OutboxRelay {
            link: Link::new(broker, Arc::clone(&wake), &config),
            pool,
            config,
            holder: holder.into(),
            wake,
            reported_circuit: None,
            reported_at: Instant::now(),
            sent_since_report: 0,
            lease: None,
            renew_at: Instant::now(),
            tenure: None,
            is_active: Arc::default(),
        }
    }

    /// Works until shutdown, whatever fails: then lets sends under way end, and gives the lease back.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let _side_tasks = self.side_tasks();
        let mut backoff = Backoff::new(self.config.backoff_min_ms, self.config.backoff_max_ms);
        let mut is_failing = false;
        while !shutdown.is_cancelled() {
            let pause = match self.step().await {
                Ok(report) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("relay works again");
                    }
                    backoff.reset();
                    self.pause_after(&report)
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%error, "relay step failed, trying again");
                    }
                    Some(backoff.next_wait())
                }
            };
            if let Some(pause) = pause {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = self.wake.notified(), if self.tenure.is_some() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
        self.finish().await;
    }

    fn pause_after(&self, report: &StepReport) -> Option<Duration> {
        match report {
            StepReport { role: Role::Standby, .. } => Some(self.config.lease_renew_every()),
            StepReport { is_idle: true, .. } => Some(self.config.poll_interval()),
            StepReport { .. } => None,
        }
    }

    fn side_tasks(&self) -> [AbortOnDropHandle<()>; 3] {
        let lag_interval = Duration::from_millis(self.config.lag_interval_ms);
        let clean = cleanup::run_while_active(self.pool.clone(), self.config.clone(), Arc::clone(&self.is_active));
        [
            wake::on_append(self.pool.clone(), Arc::clone(&self.wake)),
            AbortOnDropHandle::new(tokio::spawn(lag::report(self.pool.clone(), lag_interval))),
            AbortOnDropHandle::new(tokio::spawn(clean)),
        ]
    }

    /// Does what there is to do: begins work in every idle lane that has some, and writes down what has ended. Waits
    /// only for work under way, and no longer than the poll interval. Cancelling it loses nothing.
    pub async fn step(&mut self) -> Result<StepReport, RelayError> {
        let stepped = self.step_as_holder().await;
        if stepped.is_err() {
            // What is durable may differ from what we remember: the next step reads it again.
            self.tenure = None;
        }
        self.is_active.store(self.tenure.is_some(), Ordering::Relaxed);
        stepped
    }

    async fn step_as_holder(&mut self) -> Result<StepReport, RelayError> {
        if !self.hold_lease().await? {
            return Ok(StepReport::STANDBY);
        }
        let begun = self.begin_work().await?;
        self.await_work().await?;
        let Some(written) = self.write_down().await? else {
            return Ok(StepReport::STANDBY);
        };
        self.sent_since_report += written.sent;
        self.report().await?;
        let in_flight = self.tenure.as_ref().map_or(0, Tenure::in_flight);
        let is_idle = begun == 0 && in_flight == 0 && written.sent == 0 && written.parked == 0;
        Ok(StepReport { role: Role::Active, sent: written.sent, parked: written.parked, in_flight, is_idle })
    }

    /// Whether this relay is the active one. Takes the lease if nobody has it, and then the cursors.
    async fn hold_lease(&mut self) -> Result<bool, RelayError> {
        let now = Instant::now();
        let ttl = self.config.lease_ttl();
        if let Some(lease) = &self.lease {
            if now >= self.renew_at {
                if !lease.renew(&self.pool, ttl).await? {
                    self.lose_lease();
                    return Ok(false);
                }
                self.renew_at = now + self.config.lease_renew_every();
            }
        } else {
            self.lease = lease::try_acquire(&self.pool, LEASE_NAME, &self.holder, ttl).await?;
            self.renew_at = now + self.config.lease_renew_every();
        }
        self.claim_cursors().await
    }

    async fn claim_cursors(&mut self) -> Result<bool, RelayError> {
        let Some(lease) = &self.lease else { return Ok(false) };
        if self.tenure.is_some() {
            return Ok(true);
        }
        let Some(cursors) = cursor::claim(&self.pool, lease).await? else {
            self.lose_lease();
            return Ok(false);
        };
        let lanes = Lanes::new(cursors, parked::blocked_keys(&self.pool).await?);
        tracing::info!(holder = self.holder, token = lease.token, "this relay is the active one");
        self.tenure = Some(Tenure::new(lease.token, lanes, self.config.max_sends_in_flight));
        self.reported_circuit = None;
        Ok(true)
    }

    fn lose_lease(&mut self) {
        tracing::warn!(holder = self.holder, "the lease is lost; this relay stands by");
        self.lease = None;
        self.tenure = None;
        metric::circuit(None);
    }

    /// Begins work in every idle lane that has some, and says in how many.
    async fn begin_work(&mut self) -> Result<usize, RelayError> {
        let Some(tenure) = &mut self.tenure else { return Ok(0) };
        let poll = outbox::poll(&self.pool).await?;
        for lane in poll.decided_lanes {
            tenure.note_decision(lane);
        }
        let Some(producer) = self.link.producer().await else { return Ok(0) };
        if self.link.circuit() == CircuitState::HalfOpen {
            // A broker that has just come back is tried with one batch.
            let trials = if tenure.in_flight() > 0 {
                0
            } else {
                tenure.begin_sends(&self.pool, &producer, &self.config, poll.head, 1).await?
            };
            if tenure.in_flight() == 0 {
                // With nothing to try it with, it counts as back.
                self.link.worked();
            }
            return Ok(trials);
        }
        tenure.begin_decisions(&self.pool, &producer, &self.config);
        Ok(tenure.begin_sends(&self.pool, &producer, &self.config, poll.head, usize::MAX).await?)
    }

    /// Waits until something under way has ended, or there is a reason to look for more.
    async fn await_work(&mut self) -> Result<(), RelayError> {
        let Some(tenure) = self.tenure.as_mut().filter(|tenure| tenure.in_flight() > 0) else { return Ok(()) };
        let until = self.renew_at.min(Instant::now() + self.config.poll_interval());
        tokio::select! {
            ended = tenure.some_work_ended() => ended,
            () = self.wake.notified() => Ok(()),
            () = tokio::time::sleep_until(until.into()) => Ok(()),
        }
    }

    /// Makes durable what has ended. `None`: the lease is lost.
    async fn write_down(&mut self) -> Result<Option<WrittenDown>, RelayError> {
        let Some(tenure) = &mut self.tenure else { return Ok(None) };
        let Some(written) = tenure.write_down(&self.pool, &self.config).await? else {
            self.lose_lease();
            return Ok(None);
        };
        match &written.outage {
            Some(reason) => self.link.failed(reason),
            None if written.sent > 0 => self.link.worked(),
            None => {}
        }
        for topic in &written.missing_topics {
            self.link.create_topic(topic, QUEUES_PER_TOPIC);
        }
        Ok(Some(written))
    }

    /// Tells other processes, and the metrics, the state of the broker's circuit and how fast messages leave: when the circuit
    /// changes, and again every so often, so that they can tell a relay with no news from one that is gone.
    async fn report(&mut self) -> Result<(), RelayError> {
        let circuit = self.link.circuit();
        let is_known = self.reported_circuit == Some(circuit);
        if is_known && self.reported_at.elapsed() < self.config.circuit_report_every() {
            return Ok(());
        }
        metric::circuit(Some(circuit));
        let in_flight_messages = self.tenure.as_ref().map_or(0, Tenure::in_flight_messages);
        // Over a shorter time, or across a change of the holder, a rate would be chance.
        let sent_per_second =
            is_known.then(|| self.sent_since_report as f64 / self.reported_at.elapsed().as_secs_f64());
        sqlx::query(include_str!("sql/report_circuit.sql"))
            .bind(circuit.as_str())
            .bind(&self.holder)
            .bind(sent_per_second)
            .bind(in_flight_messages as i64)
            .execute(&self.pool)
            .await?;
        self.reported_circuit = Some(circuit);
        self.sent_since_report = 0;
        self.reported_at = Instant::now();
        Ok(())
    }

    /// Lets what is under way end, within bounds, and gives the lease back.
    async fn finish(&mut self) {
        let ended = tokio::time::timeout(self.config.shutdown_timeout(), self.finish_work()).await;
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "sends under way at the shutdown will be sent again"),
            Err(_) => tracing::warn!("sends under way at the shutdown did not end, and will be sent again"),
        }
        self.tenure = None;
        if let Some(lease) = self.lease.take() {
            let released = tokio::time::timeout(self.config.shutdown_timeout(), lease.release(&self.pool)).await;
            if !matches!(released, Ok(Ok(()))) {
                tracing::warn!("the lease could not be given back, and will run out");
            }
        }
        self.link.close().await;
    }

    async fn finish_work(&mut self) -> Result<(), RelayError> {
        while let Some(tenure) = self.tenure.as_mut().filter(|tenure| tenure.in_flight() > 0) {
            tenure.some_work_ended().await?;
            self.write_down().await?;
        }
        Ok(())
    }
}
