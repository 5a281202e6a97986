//! Looks for sagas that hang, shows how many there are, and raises the alarm once for each.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use domain::{FulfilmentStep, OrderId};
use event_store::lease::{self, Lease};
use metrics::{describe_gauge, gauge};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ProjectionError;
use crate::page::MAX_PAGE_ROWS;
use crate::sagas::{self, SagaFilter, SagaView};

const RUNNING: &str = "ledger_saga_running";
const STUCK: &str = "ledger_saga_stuck";
const SAGA: &str = "fulfilment";
const LEASE_NAME: &str = "saga-watch";
/// Longest pause after a look that took long.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How sagas are watched.
#[derive(Debug, Clone)]
pub struct SagaWatchConfig {
    /// Between two looks; more where a look takes long.
    pub interval: Duration,
    /// Without a step for so long, a saga hangs.
    pub stuck_after: Duration,
    /// Most sagas the alarm is raised for one by one; more than these are only counted.
    pub max_alarms: usize,
    /// Bounds one look.
    pub look_timeout: Duration,
}

impl Default for SagaWatchConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            stuck_after: Duration::from_secs(120),
            max_alarms: 1_000,
            look_timeout: Duration::from_secs(10),
        }
    }
}

/// What one look found.
#[derive(Debug, Clone, PartialEq)]
pub struct SagaReport {
    /// How many are at each step that is not an end.
    pub running: Vec<(String, i64)>,
    /// How many hang; never more than `max_alarms`.
    pub stuck: usize,
    /// Those that hang and did not when last looked at.
    pub newly_stuck: Vec<SagaView>,
}

/// Watches the sagas; one process at a time does, so that the alarm is raised once.
pub struct SagaWatch {
    pool: PgPool,
    config: SagaWatchConfig,
    holder: String,
    lease: Option<Lease>,
    known_stuck: HashSet<OrderId>,
}

impl SagaWatch {
    /// A watch that has not looked yet.
    pub fn new(pool: PgPool, config: SagaWatchConfig) -> Self {
        Self { pool, config, holder: Uuid::now_v7().to_string(), lease: None, known_stuck: HashSet::new() }
    }

    /// Watches until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut is_failing = false;
        while !shutdown.is_cancelled() {
            let started = Instant::now();
            match self.look().await {
                Ok(report) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("sagas are watched again");
                    }
                    show(report.as_ref());
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%error, "sagas can't be watched just now");
                    }
                    show(None);
                }
            }
            // Looking at many must not become part of why they are many.
            let pause = self.config.interval.max((started.elapsed() * 10).min(MAX_PAUSE));
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Some(lease) = self.lease.take() {
            // Only a courtesy to the next holder, who would otherwise wait for the lease to end.
            lease.release(&self.pool).await.ok();
        }
    }

    /// Postgres that hangs is a failure: what is shown must not stay as it was.
    async fn look(&mut self) -> Result<Option<SagaReport>, ProjectionError> {
        let timeout = self.config.look_timeout;
        let looked = tokio::time::timeout(timeout, self.step()).await;
        looked.unwrap_or(Err(ProjectionError::TooSlow("looking for sagas that hang", timeout.as_secs())))
    }

    /// Looks once; `None` where another process does.
    pub async fn step(&mut self) -> Result<Option<SagaReport>, ProjectionError> {
        if !self.hold_lease().await? {
            return Ok(None);
        }
        let running = sagas::count_running(&self.pool).await?;
        let stuck = self.stuck().await?;
        let stuck_now: HashSet<OrderId> = stuck.iter().map(|saga| saga.order_id.clone()).collect();
        let count = stuck.len();
        let newly_stuck = stuck.into_iter().filter(|saga| !self.known_stuck.contains(&saga.order_id)).collect();
        self.known_stuck = stuck_now;
        Ok(Some(SagaReport { running, stuck: count, newly_stuck }))
    }

    async fn stuck(&self) -> Result<Vec<SagaView>, ProjectionError> {
        let filter = SagaFilter::Stuck { after: self.config.stuck_after };
        let mut stuck = Vec::new();
        let mut after = None;
        loop {
            let page = sagas::list(&self.pool, filter, after.as_deref(), MAX_PAGE_ROWS).await?;
            stuck.extend(page.items);
            after = page.next;
            if after.is_none() || stuck.len() >= self.config.max_alarms {
                stuck.truncate(self.config.max_alarms);
                return Ok(stuck);
            }
        }
    }

    async fn hold_lease(&mut self) -> Result<bool, ProjectionError> {
        let ttl = self.config.interval * 3;
        if let Some(lease) = &self.lease
            && lease.renew(&self.pool, ttl).await?
        {
            return Ok(true);
        }
        self.lease = lease::try_acquire(&self.pool, LEASE_NAME, &self.holder, ttl).await?;
        Ok(self.lease.is_some())
    }
}

/// Has the series there from the start; what nobody has counted is NaN, never 0.
pub fn describe_metrics() {
    describe_gauge!(RUNNING, "Fulfilments under way, by step");
    describe_gauge!(STUCK, "Fulfilments without a step for too long, or handed over to a person");
    show(None);
}

fn show(report: Option<&SagaReport>) {
    for step in FulfilmentStep::ALL.into_iter().filter(|step| !step.is_terminal()) {
        let of_step = |report: &SagaReport| {
            let counted = report.running.iter().find(|(name, _)| name == step.as_str());
            counted.map_or(0, |(_, count)| *count) as f64
        };
        gauge!(RUNNING, "saga" => SAGA, "step" => step.as_str()).set(report.map_or(f64::NAN, of_step));
    }
    gauge!(STUCK).set(report.map_or(f64::NAN, |report| report.stuck as f64));
    for saga in report.iter().flat_map(|report| &report.newly_stuck) {
        tracing::warn!(
            order_id = %saga.order_id,
            step = %saga.step,
            since = %saga.step_since,
            handed_over = saga.handed_over,
            "a saga is stuck"
        );
    }
}
