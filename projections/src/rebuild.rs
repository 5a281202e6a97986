//! Building a read model anew beside the one people see, and swapping them while orders come in.
//!
//! - [`record`]: what is written down of a rebuild. It is asked for by a row, and carried out by whoever holds its lease.
//! - [`work`]: the steps. The new version is built by ranges of positions; near the live ones it joins them: from then on the
//!   projector applies all of them in one transaction under one checkpoint.
//! - [`compare`]: it is compared before it is shown. [`versions`]: the swap, and the way back.
//!
//! The version shown before stays live until the next rebuild ends. A rebuild writes rows and nothing else: it can't notify
//! anybody. A process that dies leaves a row that says how far it was, and the next one goes on from there.

mod attend;
mod compare;
mod config;
mod record;
mod versions;
mod work;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use event_store::StoreError;
use event_store::lease::{self, Lease};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::read_model::ReadModel;
use crate::{NotificationView, OrderView, ProjectionError, SagaView, StockView, code_version};
use work::Work;

pub use config::RebuildConfig;
pub use record::{Rebuild, RebuildState, last, last_of_all, request, resume_or_request};
pub use versions::rollback;

/// Is told of every step.
pub type Watch<'a> = &'a (dyn Fn(&Rebuild) + Send + Sync);

/// The names of the read models that were built by another fold than this program's.
pub async fn due(pool: &PgPool) -> Result<Vec<String>, ProjectionError> {
    let built: Vec<(String, i32)> =
        sqlx::query_as("select name, code_version from projection.read_model order by name").fetch_all(pool).await?;
    let is_due = |(name, built_by): &(String, i32)| code_version(name).is_some_and(|ours| ours != *built_by);
    Ok(built.into_iter().filter(is_due).map(|(name, _)| name).collect())
}

/// Carries rebuilds out. Cheap to clone; clones take turns with each other.
#[derive(Clone)]
pub struct Rebuilder {
    pool: PgPool,
    config: RebuildConfig,
    turns: Arc<Semaphore>,
}

/// The right to work on the rebuild of one read model, while it is renewed.
#[derive(Debug)]
pub struct Claim {
    name: String,
    lease: Lease,
    /// By our clock, and so rather too early.
    expires_at: Instant,
}

impl Rebuilder {
    pub fn new(pool: PgPool, config: RebuildConfig) -> Self {
        let turns = Arc::new(Semaphore::new(config.max_ranges_at_once.max(1)));
        Self { pool, config, turns }
    }

    /// Takes the rebuilds of a read model for this process; `None` while another one works on one.
    pub async fn claim(&self, name: &str) -> Result<Option<Claim>, ProjectionError> {
        if code_version(name).is_none() {
            return Err(ProjectionError::UnknownProjection(name.to_owned()));
        }
        let holder = Uuid::now_v7().to_string();
        let expires_at = Instant::now() + self.config.lease_ttl;
        let lease = lease::try_acquire(&self.pool, &format!("rebuild-{name}"), &holder, self.config.lease_ttl).await?;
        Ok(lease.map(|lease| Claim { name: name.to_owned(), lease, expires_at }))
    }

    /// Lets another process take it at once.
    pub async fn release(&self, claim: Claim) -> Result<(), ProjectionError> {
        Ok(claim.lease.release(&self.pool).await?)
    }

    /// Does what remains of the unfinished rebuild, until it is over or `shutdown`: then what is answered is still open.
    /// `None`: there is none, or one that only a newer program can go on with.
    ///
    /// Don't drop the future: it stops by itself, between two steps. A transaction that is dropped while it begins would
    /// come back to the pool.
    pub async fn carry_out(
        &self,
        claim: Claim,
        watch: Watch<'_>,
        shutdown: &CancellationToken,
    ) -> Result<Option<Rebuild>, ProjectionError> {
        let stop = shutdown.child_token();
        // Dropped all the same, nobody renews the lease for nobody.
        let _stop_at_the_latest = stop.clone().drop_guard();
        let (ttl, expires_at) = (self.config.lease_ttl, claim.expires_at);
        let keeping = tokio::spawn(keep(self.pool.clone(), claim.lease.clone(), ttl, expires_at, stop.clone()));
        let worked = self.work(&claim, watch, &stop).await;
        stop.cancel();
        // It does not panic, and nobody else has it.
        let kept = keeping.await.unwrap_or(KeptUntil::Stopped);
        let name = claim.name.clone();
        // Failing that, the lease runs out by itself; how the work ended matters more.
        if let Err(error) = self.release(claim).await {
            tracing::debug!(projection = %name, %error, "lease of a rebuild not released");
        }
        match (worked?, kept) {
            (Worked::Nothing, _) => Ok(None),
            (Worked::ToTheEnd(rebuild), _) => Ok(Some(*rebuild)),
            (Worked::UntilStopped, KeptUntil::Taken) => Err(ProjectionError::RebuildTaken { projection: name }),
            (Worked::UntilStopped, KeptUntil::Expired(error)) => Err(error.into()),
            (Worked::UntilStopped, KeptUntil::Stopped) => record::last(&self.pool, &name).await,
        }
    }

    /// Requests a rebuild, or finds the one that was left behind, and carries it out.
    pub async fn rebuild(&self, name: &str, dry_run: bool, requested_by: &str) -> Result<Rebuild, ProjectionError> {
        let Some(claim) = self.claim(name).await? else {
            let running = record::last(&self.pool, name).await?;
            return Err(running.map_or(sqlx::Error::RowNotFound.into(), |rebuild| rebuild.runs()));
        };
        if let Err(error) = self.request(name, dry_run, requested_by).await {
            self.release(claim).await?;
            return Err(error);
        }
        let outcome = self.carry_out(claim, &|_| {}, &CancellationToken::new()).await?;
        outcome.ok_or_else(|| ProjectionError::RebuildTaken { projection: name.to_owned() })
    }

    async fn request(&self, name: &str, dry_run: bool, requested_by: &str) -> Result<(), ProjectionError> {
        let mut transaction = self.pool.begin().await?;
        resume_or_request(&mut transaction, name, dry_run, requested_by).await?;
        Ok(transaction.commit().await?)
    }

    async fn work(&self, claim: &Claim, watch: Watch<'_>, stop: &CancellationToken) -> Result<Worked, ProjectionError> {
        let Some(open) = record::last(&self.pool, &claim.name).await?.filter(Rebuild::is_open) else {
            return Ok(Worked::Nothing);
        };
        match claim.name.as_str() {
            OrderView::NAME => self.work_on::<OrderView>(open, claim, watch, stop).await,
            StockView::NAME => self.work_on::<StockView>(open, claim, watch, stop).await,
            NotificationView::NAME => self.work_on::<NotificationView>(open, claim, watch, stop).await,
            SagaView::NAME => self.work_on::<SagaView>(open, claim, watch, stop).await,
            other => Err(ProjectionError::UnknownProjection(other.to_owned())),
        }
    }

    async fn work_on<M: ReadModel>(
        &self,
        open: Rebuild,
        claim: &Claim,
        watch: Watch<'_>,
        stop: &CancellationToken,
    ) -> Result<Worked, ProjectionError> {
        if !record::claim(&self.pool, open.id, claim.lease.token, M::CODE_VERSION).await? {
            return Ok(Worked::Nothing);
        }
        let Some(rebuild) = record::last(&self.pool, M::NAME).await? else { return Ok(Worked::Nothing) };
        let work = Work::<M> {
            pool: &self.pool,
            config: &self.config,
            turns: self.turns.clone(),
            rebuild,
            watch,
            stop,
            since: None,
            model: PhantomData,
        };
        let ended = work.run().await?;
        Ok(ended.map_or(Worked::UntilStopped, |rebuild| Worked::ToTheEnd(Box::new(rebuild))))
    }
}

/// How far somebody came.
enum Worked {
    /// There was nothing to do.
    Nothing,
    ToTheEnd(Box<Rebuild>),
    UntilStopped,
}

/// How long a lease was kept.
enum KeptUntil {
    Stopped,
    /// Another process has it, or may have it.
    Taken,
    /// It could not be renewed in time.
    Expired(StoreError),
}

/// Renews a lease until `stop`, and stops the work when it is lost. An attempt that fails is no loss yet: while the lease
/// lasts it is tried again.
async fn keep(
    pool: PgPool,
    lease: Lease,
    ttl: Duration,
    mut expires_at: Instant,
    stop: CancellationToken,
) -> KeptUntil {
    let mut pause = ttl / 3;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let renewed_until = Instant::now() + ttl;
        let kept = match timeout_at(expires_at, lease.renew(&pool, ttl)).await {
            Ok(Ok(true)) => {
                (pause, expires_at) = (ttl / 3, renewed_until);
                continue;
            }
            Ok(Ok(false)) => KeptUntil::Taken,
            Ok(Err(error)) if Instant::now() >= expires_at => KeptUntil::Expired(error),
            Ok(Err(error)) => {
                tracing::warn!(lease = %lease.name, %error, "lease not renewed yet");
                pause = ttl / 20;
                continue;
            }
            Err(_) => KeptUntil::Expired(StoreError::Database(sqlx::Error::PoolTimedOut)),
        };
        stop.cancel();
        return kept;
    }
    KeptUntil::Stopped
}
