//! Acts on times that have come: orders that expire, locks that lapse, refunds that are owed, providers that are silent,
//! results that somebody waits for.
//!
//! A deadline is a row of the ledger, written with the event that set it and cleared with the one that it causes,
//! so neither a crash nor a broker that is down can lose one. Only the database's clock says what is due.

mod payment_result;
mod silent_payment;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Payment, PaymentRejection, PaymentStatus, Rejection};
use event_store::lease::{self, Lease};
use event_store::{CommandError, Committed, Ledger, StoreError, deadline, read};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, future, stream};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::commands::deadline_kind::{LOCK_LAPSE, ORDER_EXPIRY, PAYMENT_QUERY, PAYMENT_RESULT, REFUND};
use crate::commands::{self, LockLapseKey, OrderExpiryKey, Origin, PaymentKey, RefundRetries, UseCaseError};
use crate::payment_result::{ResultError, ResultSender};
use crate::policy::Policy;
use crate::provider::{PaymentProvider, ProviderError};

pub use silent_payment::register_metrics;

/// How the deadline runner works.
#[derive(Debug, Clone)]
pub struct DeadlineConfig {
    /// How often due deadlines are looked for.
    pub poll_interval_ms: u64,
    /// How many of one kind are acted on in one step; more are acted on in the next, at once.
    pub max_batch: u32,
    /// How long a runner that died keeps others from its work.
    pub lease_ttl_ms: u64,
    /// How many calls to others are under way at a time: refunds, queries and results each.
    pub max_concurrent_calls: usize,
    /// How long a refund or query waits that the provider did not answer.
    pub provider_retry_ms: u32,
    /// How a refund is repeated that the provider refuses.
    pub refund_retries: RefundRetries,
    /// How long a deadline waits that cannot be acted on as it is, so that it keeps no other from its turn.
    pub refused_retry_ms: u32,
}

impl Default for DeadlineConfig {
    fn default() -> Self {
        Self {
            poll_interval_ms: 200,
            max_batch: 500,
            lease_ttl_ms: 1_500,
            max_concurrent_calls: 32,
            provider_retry_ms: 2_000,
            refund_retries: RefundRetries { max_attempts: 5, first_pause_ms: 2_000, max_pause_ms: 60_000 },
            refused_retry_ms: 60_000,
        }
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeadlineReport {
    /// Another process does this work.
    pub is_standing_by: bool,
    /// Deadlines that were acted on.
    pub done: usize,
    /// Deadlines that stay for a later step.
    pub failed: usize,
}

impl DeadlineReport {
    fn count(&mut self, kind: &'static str, outcome: Result<(), ActError>) {
        match outcome {
            Ok(()) => self.done += 1,
            Err(error) => {
                self.failed += 1;
                tracing::warn!(%error, kind, "a deadline stays for later");
            }
        }
    }
}

/// Why a step could not be taken.
#[derive(Debug, Error)]
pub enum DeadlineError {
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A deadline's key that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no deadline key")]
pub struct BadDeadlineKey(String);

impl BadDeadlineKey {
    pub(crate) fn new(key: &str) -> Self {
        Self(key.to_owned())
    }
}

#[derive(Debug, Error)]
enum ActError {
    #[error(transparent)]
    Key(#[from] BadDeadlineKey),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    UseCase(#[from] UseCaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    RefundRefused(ProviderError),
    #[error(transparent)]
    Result(#[from] ResultError),
}

/// What the runner works with.
pub struct DeadlineParts {
    pub ledger: Ledger,
    pub policy: Policy,
    pub provider: Arc<dyn PaymentProvider>,
    pub results: ResultSender,
    pub config: DeadlineConfig,
}

/// Acts on deadlines; one process at a time does, the others stand by. What waits for others outside goes beside the
/// timers and not before them: a provider that hangs keeps no order from expiring.
pub struct DeadlineRunner {
    actor: Arc<Actor>,
    tasks: Vec<Task>,
}

impl DeadlineRunner {
    /// A runner that is ready to step.
    pub fn new(parts: DeadlineParts) -> Self {
        let actor = Arc::new(Actor(parts));
        let task = |lease_name, kinds| Task::new(lease_name, kinds, actor.clone());
        Self {
            tasks: vec![
                task("deadline-timers", &[ORDER_EXPIRY, LOCK_LAPSE]),
                task("deadline-refunds", &[REFUND]),
                task("deadline-payments", &[PAYMENT_QUERY]),
                task("deadline-results", &[PAYMENT_RESULT]),
            ],
            actor,
        }
    }

    /// Acts once on what is due.
    pub async fn step(&mut self) -> Result<DeadlineReport, DeadlineError> {
        let mut total = DeadlineReport { is_standing_by: true, ..DeadlineReport::default() };
        for task in &mut self.tasks {
            let report = task.step().await?;
            total.is_standing_by &= report.is_standing_by;
            total.done += report.done;
            total.failed += report.failed;
        }
        Ok(total)
    }

    /// Acts on one deadline as a step does on one that is due, whether or not it still is there: so does a runner that was
    /// slow.
    pub async fn act_on(&self, kind: &'static str, key: String, due_at: DateTime<Utc>) -> DeadlineReport {
        let mut report = DeadlineReport::default();
        for outcome in self.actor.act_on_all(kind, vec![(key, due_at)]).await {
            report.count(kind, outcome);
        }
        report
    }

    /// Acts until told to stop.
    pub async fn run(mut self, shutdown: CancellationToken) {
        future::join_all(self.tasks.iter_mut().map(|task| task.run(&shutdown))).await;
    }
}

/// Some kinds of deadlines, behind one lease.
struct Task {
    lease_name: &'static str,
    kinds: &'static [&'static str],
    holder: String,
    lease: Option<Lease>,
    actor: Arc<Actor>,
}

impl Task {
    fn new(lease_name: &'static str, kinds: &'static [&'static str], actor: Arc<Actor>) -> Self {
        Self { lease_name, kinds, holder: Uuid::new_v4().to_string(), lease: None, actor }
    }

    async fn run(&mut self, shutdown: &CancellationToken) {
        let poll_interval = Duration::from_millis(self.actor.0.config.poll_interval_ms);
        let mut is_failing = false;
        while !shutdown.is_cancelled() {
            match self.step().await {
                Ok(report) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!(task = self.lease_name, "deadlines are acted on again");
                    }
                    if report.done > 0 {
                        continue;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%error, task = self.lease_name, "deadlines wait for the database");
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(poll_interval) => {}
            }
        }
        if let Some(lease) = self.lease.take() {
            // Only a courtesy to the next holder, who would otherwise wait for the lease to end.
            lease.release(self.actor.0.ledger.pool()).await.ok();
        }
    }

    async fn step(&mut self) -> Result<DeadlineReport, DeadlineError> {
        if !self.hold_lease().await? {
            return Ok(DeadlineReport { is_standing_by: true, ..DeadlineReport::default() });
        }
        let mut report = DeadlineReport::default();
        for kind in self.kinds {
            let limit = i64::from(self.actor.0.config.max_batch);
            let due = read::due_deadlines(self.actor.0.ledger.pool(), kind, limit).await?;
            for outcome in self.act(kind, due).await {
                report.count(kind, outcome);
            }
        }
        Ok(report)
    }

    /// Keeps the lease meanwhile: those who are called may take longer to answer than it lasts.
    async fn act(&mut self, kind: &'static str, due: Due) -> Vec<Result<(), ActError>> {
        let actor = self.actor.clone();
        // Both are polled all the time: those who act hold the connections that a renewal may have to wait for.
        tokio::select! {
            outcomes = actor.act_on_all(kind, due) => outcomes,
            never = self.keep_lease() => match never {},
        }
    }

    async fn keep_lease(&mut self) -> Infallible {
        let renewal = Duration::from_millis(self.actor.0.config.lease_ttl_ms / 3);
        loop {
            tokio::time::sleep(renewal).await;
            if let Err(error) = self.hold_lease().await {
                tracing::warn!(%error, task = self.lease_name, "the lease may be lost; what was begun is finished");
            }
        }
    }

    /// The lease only spares double work: acting twice on one deadline has one effect.
    async fn hold_lease(&mut self) -> Result<bool, DeadlineError> {
        let pool = self.actor.0.ledger.pool();
        let ttl = Duration::from_millis(self.actor.0.config.lease_ttl_ms);
        if let Some(lease) = &self.lease
            && lease.renew(pool, ttl).await?
        {
            return Ok(true);
        }
        self.lease = lease::try_acquire(pool, self.lease_name, &self.holder, ttl).await?;
        Ok(self.lease.is_some())
    }
}

/// Deadlines of one kind: their keys, and since when they are due.
type Due = Vec<(String, DateTime<Utc>)>;
type Acting = BoxFuture<'static, Result<Committed<()>, CommandError>>;

struct Actor(DeadlineParts);

impl Actor {
    async fn act_on_all(&self, kind: &'static str, due: Due) -> Vec<Result<(), ActError>> {
        if ![ORDER_EXPIRY, LOCK_LAPSE].contains(&kind) {
            let calls: Vec<_> = due
                .into_iter()
                .map(|(key, due_at)| self.finish(kind, key.clone(), due_at, self.call(kind, key, due_at)).boxed())
                .collect();
            return stream::iter(calls).buffer_unordered(self.0.config.max_concurrent_calls).collect().await;
        }
        // All are submitted before the first is awaited, so that they are committed together.
        let acting: Vec<_> =
            due.into_iter().map(|(key, due_at)| (self.submit(kind, &key, due_at), key, due_at)).collect();
        future::join_all(acting.into_iter().map(|(acting, key, due_at)| self.finish(kind, key, due_at, acting))).await
    }

    fn submit(&self, kind: &str, key: &str, due_at: DateTime<Utc>) -> BoxFuture<'static, Result<(), ActError>> {
        let submitted = if kind == ORDER_EXPIRY { self.expire(key) } else { self.lapse(key, due_at) };
        async move { Ok(submitted?.await.map(drop)?) }.boxed()
    }

    fn expire(&self, key: &str) -> Result<Acting, BadDeadlineKey> {
        let key: OrderExpiryKey = key.parse()?;
        let origin = Origin::of_deadline(&key.order_id);
        Ok(commands::expire_order(&self.0.ledger, origin, key).boxed())
    }

    fn lapse(&self, key: &str, due_at: DateTime<Utc>) -> Result<Acting, BadDeadlineKey> {
        let key: LockLapseKey = key.parse()?;
        let origin = Origin::of_deadline(&key.order_id);
        Ok(commands::lapse_lock(&self.0.ledger, origin, key, due_at).boxed())
    }

    async fn call(&self, kind: &str, key: String, due_at: DateTime<Utc>) -> Result<(), ActError> {
        match kind {
            REFUND => self.refund(key).await,
            PAYMENT_QUERY => self.ask_about(key, due_at).await,
            _ => self.tell_result(key, due_at).await,
        }
    }

    /// A repeat after a crash asks the provider again, who knows the payment and gives back once.
    async fn refund(&self, key: String) -> Result<(), ActError> {
        let key: PaymentKey = key.parse()?;
        let ledger = &self.0.ledger;
        let payment = ledger.load::<Payment>(key.payment_id.as_str()).await?.state.requested;
        let payment = payment.ok_or(Rejection::from(PaymentRejection::NotFound)).map_err(CommandError::Rejected)?;
        if payment.status != PaymentStatus::Refunding {
            // Paid back meanwhile, perhaps by hand.
            commands::clear_deadline(ledger, REFUND, key.to_string()).await?;
            return Ok(());
        }
        let origin = Origin::of_deadline(&key.order_id);
        match self.0.provider.refund(&key.payment_id, payment.captured).await {
            Ok(refund) => {
                commands::complete_refund(ledger, origin, key, refund.provider_reference).await?;
                Ok(())
            }
            Err(refused @ ProviderError::Refused { .. }) => {
                let retries = self.0.config.refund_retries;
                commands::record_refund_failure(ledger, origin, key, refused.to_string(), retries).await?;
                Err(ActError::RefundRefused(refused))
            }
            // A provider that is away has not said no: asked for as long as it takes.
            Err(away) => Err(away.into()),
        }
    }

    async fn finish(
        &self,
        kind: &'static str,
        key: String,
        due_at: DateTime<Utc>,
        acting: impl Future<Output = Result<(), ActError>>,
    ) -> Result<(), ActError> {
        let outcome = acting.await;
        if let Err(error) = &outcome
            && let Some(pause_ms) = self.pause_ms(error)
        {
            self.postpone(kind, &key, due_at, TimeDelta::milliseconds(i64::from(pause_ms))).await?;
        }
        outcome
    }

    async fn postpone(&self, kind: &str, key: &str, due_at: DateTime<Utc>, pause: TimeDelta) -> Result<(), ActError> {
        Ok(deadline::postpone(self.0.ledger.pool(), kind, key, due_at, pause).await?)
    }

    /// How long to leave a deadline alone; nothing where the next step may well succeed.
    fn pause_ms(&self, error: &ActError) -> Option<u32> {
        match error {
            ActError::Provider(ProviderError::Unavailable(_) | ProviderError::CircuitOpen) => {
                Some(self.0.config.provider_retry_ms)
            }
            ActError::Command(error) | ActError::UseCase(UseCaseError::Command(error)) => match error {
                CommandError::Rejected(_) | CommandError::Bug(_) | CommandError::Invalid { .. } => {
                    Some(self.0.config.refused_retry_ms)
                }
                _ => None,
            },
            ActError::Provider(ProviderError::Refused { .. }) | ActError::Key(_) => {
                Some(self.0.config.refused_retry_ms)
            }
            // When to ask again was written down with the refusal.
            ActError::RefundRefused(_) => None,
            ActError::UseCase(UseCaseError::Store(error)) | ActError::Store(error) => {
                matches!(error, StoreError::Unreadable { .. }).then_some(self.0.config.refused_retry_ms)
            }
            ActError::Result(_) => None,
            ActError::UseCase(_) => Some(self.0.config.refused_retry_ms),
        }
    }
}
