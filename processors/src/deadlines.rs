//! Acts on times that have come: orders that expire, locks that lapse, refunds that are owed.
//!
//! A deadline is a row of the ledger, written with the event that set it and cleared with the one that it causes,
//! so neither a crash nor a broker that is down can lose one. Only the database's clock says what is due.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Payment, PaymentRejection, Rejection};
use event_store::lease::{self, Lease};
use event_store::{CommandError, Committed, Ledger, StoreError, read};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, future, stream};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::commands::deadline_kind::{LOCK_LAPSE, ORDER_EXPIRY, REFUND};
use crate::commands::{self, LockLapseKey, OrderExpiryKey, Origin, RefundKey, RefundRetries};
use crate::provider::{PaymentProvider, ProviderError};

/// How the deadline runner works.
#[derive(Debug, Clone)]
pub struct DeadlineConfig {
    /// How often due deadlines are looked for.
    pub poll_interval_ms: u64,
    /// How many of one kind are acted on in one step; more are acted on in the next, at once.
    pub max_batch: u32,
    /// How long a runner that died keeps others from its work.
    pub lease_ttl_ms: u64,
    /// How many refunds are asked of the provider at a time.
    pub max_concurrent_refunds: usize,
    /// How long a refund waits that the provider did not answer.
    pub refund_retry_ms: u32,
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
            max_concurrent_refunds: 16,
            refund_retry_ms: 2_000,
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
    Store(#[from] StoreError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

/// Acts on deadlines; one process at a time does, the others stand by.
pub struct DeadlineRunner {
    timers: Task,
    refunds: Task,
}

impl DeadlineRunner {
    /// A runner that is ready to step.
    pub fn new(ledger: Ledger, provider: Arc<dyn PaymentProvider>, config: DeadlineConfig) -> Self {
        let actor = Arc::new(Actor { ledger, provider, config });
        Self { timers: Task::new("deadline-timers", actor.clone()), refunds: Task::new("deadline-refunds", actor) }
    }

    /// Acts once on what is due.
    pub async fn step(&mut self) -> Result<DeadlineReport, DeadlineError> {
        let timers = self.step_timers().await?;
        let refunds = self.step_refunds().await?;
        Ok(DeadlineReport {
            is_standing_by: timers.is_standing_by && refunds.is_standing_by,
            done: timers.done + refunds.done,
            failed: timers.failed + refunds.failed,
        })
    }

    /// Acts on one deadline as a step does on one that is due, whether or not it still is there: so does a runner that was
    /// slow.
    pub async fn act_on(&self, kind: &'static str, key: String, due_at: DateTime<Utc>) -> DeadlineReport {
        let mut report = DeadlineReport::default();
        for outcome in self.timers.actor.act_on_all(kind, vec![(key, due_at)]).await {
            report.count(kind, outcome);
        }
        report
    }

    /// Acts until told to stop. Refunds wait for the payment provider, so they go beside the timers and not before them.
    pub async fn run(mut self, shutdown: CancellationToken) {
        tokio::join!(self.timers.run(&[ORDER_EXPIRY, LOCK_LAPSE], &shutdown), self.refunds.run(&[REFUND], &shutdown));
    }

    async fn step_timers(&mut self) -> Result<DeadlineReport, DeadlineError> {
        self.timers.step(&[ORDER_EXPIRY, LOCK_LAPSE]).await
    }

    async fn step_refunds(&mut self) -> Result<DeadlineReport, DeadlineError> {
        self.refunds.step(&[REFUND]).await
    }
}

/// Some kinds of deadlines, behind one lease.
struct Task {
    lease_name: &'static str,
    holder: String,
    lease: Option<Lease>,
    actor: Arc<Actor>,
}

impl Task {
    fn new(lease_name: &'static str, actor: Arc<Actor>) -> Self {
        Self { lease_name, holder: Uuid::new_v4().to_string(), lease: None, actor }
    }

    async fn run(&mut self, kinds: &[&'static str], shutdown: &CancellationToken) {
        let poll_interval = Duration::from_millis(self.actor.config.poll_interval_ms);
        while !shutdown.is_cancelled() {
            match self.step(kinds).await {
                Ok(report) if report.done > 0 => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, task = self.lease_name, "deadlines wait for the database"),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(poll_interval) => {}
            }
        }
        if let Some(lease) = self.lease.take() {
            // Only a courtesy to the next holder, who would otherwise wait for the lease to end.
            lease.release(self.actor.ledger.pool()).await.ok();
        }
    }

    async fn step(&mut self, kinds: &[&'static str]) -> Result<DeadlineReport, DeadlineError> {
        if !self.hold_lease().await? {
            return Ok(DeadlineReport { is_standing_by: true, ..DeadlineReport::default() });
        }
        let mut report = DeadlineReport::default();
        for kind in kinds {
            let limit = i64::from(self.actor.config.max_batch);
            let due = read::due_deadlines(self.actor.ledger.pool(), kind, limit).await?;
            for outcome in self.actor.act_on_all(kind, due).await {
                report.count(kind, outcome);
            }
        }
        Ok(report)
    }

    /// The lease only spares double work: acting twice on one deadline has one effect.
    async fn hold_lease(&mut self) -> Result<bool, DeadlineError> {
        let pool = self.actor.ledger.pool();
        let ttl = Duration::from_millis(self.actor.config.lease_ttl_ms);
        if let Some(lease) = &self.lease
            && lease.renew(pool, ttl).await?
        {
            return Ok(true);
        }
        self.lease = lease::try_acquire(pool, self.lease_name, &self.holder, ttl).await?;
        Ok(self.lease.is_some())
    }
}

struct Actor {
    ledger: Ledger,
    provider: Arc<dyn PaymentProvider>,
    config: DeadlineConfig,
}

type Acting = BoxFuture<'static, Result<Committed<()>, CommandError>>;

impl Actor {
    async fn act_on_all(&self, kind: &'static str, due: Vec<(String, DateTime<Utc>)>) -> Vec<Result<(), ActError>> {
        if kind == REFUND {
            let refunds = due.into_iter().map(|(key, _)| self.settle(kind, key.clone(), self.refund(key).boxed()));
            return stream::iter(refunds).buffer_unordered(self.config.max_concurrent_refunds).collect().await;
        }
        // All are submitted before the first is awaited, so that they are committed together.
        let acting: Vec<_> = due.into_iter().map(|(key, due_at)| (self.submit(kind, &key, due_at), key)).collect();
        future::join_all(acting.into_iter().map(|(acting, key)| self.settle(kind, key, acting))).await
    }

    fn submit(&self, kind: &str, key: &str, due_at: DateTime<Utc>) -> BoxFuture<'static, Result<(), ActError>> {
        let submitted = if kind == ORDER_EXPIRY { self.expire(key) } else { self.lapse(key, due_at) };
        async move { Ok(submitted?.await.map(drop)?) }.boxed()
    }

    fn expire(&self, key: &str) -> Result<Acting, BadDeadlineKey> {
        let key: OrderExpiryKey = key.parse()?;
        let origin = Origin::of_deadline(&key.order_id);
        Ok(commands::expire_order(&self.ledger, origin, key).boxed())
    }

    fn lapse(&self, key: &str, due_at: DateTime<Utc>) -> Result<Acting, BadDeadlineKey> {
        let key: LockLapseKey = key.parse()?;
        let origin = Origin::of_deadline(&key.order_id);
        Ok(commands::lapse_lock(&self.ledger, origin, key, due_at).boxed())
    }

    /// A repeat after a crash asks the provider again, who knows the payment and gives back once.
    async fn refund(&self, key: String) -> Result<(), ActError> {
        let key: RefundKey = key.parse()?;
        let payment = self.ledger.load::<Payment>(key.payment_id.as_str()).await?.state.requested;
        let captured =
            payment.ok_or(Rejection::from(PaymentRejection::NotFound)).map_err(CommandError::Rejected)?.captured;
        let origin = Origin::of_deadline(&key.order_id);
        match self.provider.refund(&key.payment_id, captured).await {
            Ok(refund) => {
                commands::complete_refund(&self.ledger, origin, key, refund.provider_reference).await?;
                Ok(())
            }
            Err(refused @ ProviderError::Refused { .. }) => {
                let retries = self.config.refund_retries;
                commands::record_refund_failure(&self.ledger, origin, key, refused.to_string(), retries).await?;
                Err(refused.into())
            }
            // A provider that is away has not said no: asked for as long as it takes.
            Err(away) => Err(away.into()),
        }
    }

    async fn settle(
        &self,
        kind: &'static str,
        key: String,
        acting: impl Future<Output = Result<(), ActError>>,
    ) -> Result<(), ActError> {
        let outcome = acting.await;
        if let Err(error) = &outcome
            && let Some(pause_ms) = self.pause_ms(error)
        {
            let pause = TimeDelta::milliseconds(i64::from(pause_ms));
            commands::postpone_deadline(&self.ledger, kind, key, pause).await?;
        }
        outcome
    }

    /// How long to leave a deadline alone; nothing where the next step may well succeed.
    fn pause_ms(&self, error: &ActError) -> Option<u32> {
        match error {
            ActError::Provider(ProviderError::Unavailable(_)) => Some(self.config.refund_retry_ms),
            // When to ask again was written down with the refusal.
            ActError::Provider(ProviderError::Refused { .. }) => None,
            ActError::Key(_)
            | ActError::Command(CommandError::Rejected(_) | CommandError::Bug(_) | CommandError::Invalid { .. }) => {
                Some(self.config.refused_retry_ms)
            }
            ActError::Command(_) | ActError::Store(_) => None,
        }
    }
}
