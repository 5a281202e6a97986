//! Keeps one read model: takes the messages into the inbox and folds the ledger up to them, in one transaction.

use std::marker::PhantomData;

use event_store::lease::{self, Lease};
use event_store::read;
use messaging::{Effect, inbox};
use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use crate::checkpoint::LiveVersions;
use crate::critical_time::CriticalTimes;
use crate::read_model::{self, ReadModel, Table};
use crate::{Checkpoints, ProjectionError, ProjectorConfig, ledger};

/// The projector of one read model. Only the one that holds the lease works; any number may stand by.
pub struct Projector<M> {
    pool: PgPool,
    checkpoints: Checkpoints,
    config: ProjectorConfig,
    /// Told of each commit.
    critical_times: Option<CriticalTimes>,
    /// Who holds the lease: this projector, not its process.
    holder: String,
    held: Option<HeldLease>,
    position: i64,
    model: PhantomData<M>,
}

struct HeldLease {
    lease: Lease,
    renew_at: Instant,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Another instance holds the lease. The messages given are not taken.
    StandingBy,
    Applied(Applied),
}

/// The way a step went, and what became of each message given, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    pub from: i64,
    pub to: i64,
    /// Events of this read model's streams in `(from, to]`.
    pub events: usize,
    pub effects: Vec<Effect>,
}

impl<M: ReadModel> Projector<M> {
    pub fn new(pool: PgPool, checkpoints: Checkpoints, config: ProjectorConfig) -> Self {
        Self {
            pool,
            checkpoints,
            config,
            critical_times: None,
            holder: Uuid::now_v7().to_string(),
            held: None,
            position: 0,
            model: PhantomData,
        }
    }

    /// The same, and how long its rows' events took to become visible is measured.
    pub fn with_critical_times(mut self, critical_times: CriticalTimes) -> Self {
        self.critical_times = Some(critical_times);
        self
    }

    /// Takes these messages and applies the ledger up to its head, which is never before the event of a message.
    /// The inbox, the rows and the checkpoint are one transaction; only a long way to the head is cut into several,
    /// and then the messages are taken with the last.
    pub async fn step(&mut self, message_ids: &[Uuid]) -> Result<Step, ProjectionError> {
        let Some(mut token) = self.hold_lease().await? else {
            return Ok(Step::StandingBy);
        };
        let target = read::head(&self.pool).await?;
        let mut applied = self.advance(target, message_ids, token).await?;
        while applied.to < target {
            match self.hold_lease().await? {
                Some(renewed) => token = renewed,
                None => return Ok(Step::StandingBy),
            }
            let next = self.advance(target, message_ids, token).await?;
            applied.to = next.to;
            applied.events += next.events;
            applied.effects = next.effects;
        }
        Ok(Step::Applied(applied))
    }

    /// The last position this projector knows to be applied.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Whether a step would find something to apply, or a lease to renew.
    pub(crate) fn has_work(&self, head: i64) -> bool {
        head > self.position || self.held.as_ref().is_none_or(|held| Instant::now() >= held.renew_at)
    }

    /// Lets another instance take over at once.
    pub async fn release(&mut self) {
        if let Some(held) = self.held.take() {
            // Failing that, the lease runs out by itself.
            if let Err(error) = held.lease.release(&self.pool).await {
                tracing::debug!(projection = M::NAME, %error, "lease not released");
            }
        }
    }

    /// The fencing token, while the lease is ours.
    async fn hold_lease(&mut self) -> Result<Option<i64>, ProjectionError> {
        let ttl = self.config.lease_ttl;
        if let Some(held) = &mut self.held {
            if Instant::now() < held.renew_at {
                return Ok(Some(held.lease.token));
            }
            let renew_at = Instant::now() + ttl / 3;
            if held.lease.renew(&self.pool, ttl).await? {
                held.renew_at = renew_at;
                return Ok(Some(held.lease.token));
            }
            self.held = None;
        }
        let renew_at = Instant::now() + ttl / 3;
        let name = format!("projection-{}", M::NAME);
        let Some(lease) = lease::try_acquire(&self.pool, &name, &self.holder, ttl).await? else {
            return Ok(None);
        };
        let token = lease.token;
        self.held = Some(HeldLease { lease, renew_at });
        Ok(Some(token))
    }

    /// One transaction towards `target`. Where the data stops it, everything before the bad event is applied and the
    /// error names the event.
    async fn advance(&mut self, target: i64, message_ids: &[Uuid], token: i64) -> Result<Applied, ProjectionError> {
        let outcome = match self.transact(target, message_ids, token).await {
            Err(error) if error.is_about_data() => Err(self.apply_up_to_bad_event(error, target, token).await),
            outcome => outcome,
        };
        if let Err(ProjectionError::Fenced { .. }) = &outcome {
            self.held = None;
        }
        outcome
    }

    /// A version that nobody is shown never holds up the one that is: where it can't be applied, it is given up.
    async fn transact(&mut self, target: i64, message_ids: &[Uuid], token: i64) -> Result<Applied, ProjectionError> {
        loop {
            let mut stopped_by = None;
            match (self.try_transact(target, message_ids, token, &mut stopped_by).await, stopped_by) {
                (Err(error), Some(version)) if error.is_about_data() || error.is_about_schema() => {
                    if !self.give_up_unshown(version, &error).await? {
                        return Err(error);
                    }
                }
                (outcome, _) => return outcome,
            }
        }
    }

    async fn try_transact(
        &mut self,
        target: i64,
        message_ids: &[Uuid],
        token: i64,
        stopped_by: &mut Option<i32>,
    ) -> Result<Applied, ProjectionError> {
        let mut transaction = self.pool.begin().await?;
        let live = LiveVersions::lock(&mut transaction, M::NAME).await?;
        let from = live.position;
        let to = target.min(from + self.config.max_events_per_transaction).max(from);
        let mut applied = Applied { from, to, ..Applied::default() };
        for (n, version) in live.versions.iter().enumerate() {
            let table = Table::of::<M>(*version);
            let batch = self.config.max_events_per_batch;
            *stopped_by = Some(*version);
            let events = read_model::apply_range::<M>(&mut transaction, &table, from, to, batch).await?;
            if n == 0 {
                applied.events = events;
            }
        }
        *stopped_by = None;
        if to >= target && !message_ids.is_empty() {
            let claimed = inbox::claim(&mut transaction, M::CONSUMER, message_ids).await?;
            applied.effects =
                claimed.into_iter().map(|first| if first { Effect::Applied } else { Effect::Duplicate }).collect();
        }
        if to > from {
            live.advance(&mut transaction, M::NAME, to, token).await?;
        }
        transaction.commit().await?;
        self.position = to;
        self.checkpoints.reached(M::NAME, to);
        if let Some(critical_times) = self.critical_times.as_ref().filter(|_| applied.events > 0) {
            critical_times.committed(from, to);
        }
        metrics::counter!("ledger_projection_events_total", "projection" => M::NAME).increment(applied.events as u64);
        Ok(applied)
    }

    /// Keeps a version no longer, unless it is the one that is shown. It is no way back then, and not shown by a rebuild.
    async fn give_up_unshown(&self, version: i32, error: &ProjectionError) -> Result<bool, ProjectionError> {
        let mut transaction = self.pool.begin().await?;
        LiveVersions::lock(&mut transaction, M::NAME).await?;
        let given_up = sqlx::query(include_str!("../sql/give_up_unshown.sql"))
            .bind(M::NAME)
            .bind(version)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let given_up = given_up.rows_affected() == 1;
        if given_up {
            tracing::warn!(projection = M::NAME, version, %error, "a version that is not shown is no longer kept");
        }
        Ok(given_up)
    }

    /// Halves what failed until one event is left, keeping the halves that can be applied.
    async fn apply_up_to_bad_event(&mut self, mut error: ProjectionError, target: i64, token: i64) -> ProjectionError {
        let mut good = match self.checkpoint().await {
            Ok(position) => position,
            Err(error) => return error,
        };
        let mut bad = target.min(good + self.config.max_events_per_transaction);
        loop {
            // A fold that refuses says where; the database only says that it does.
            let middle = match &error {
                ProjectionError::BadEvent { position, .. } => {
                    bad = *position;
                    bad - 1
                }
                _ => good + (bad - good) / 2,
            };
            if middle <= good {
                break;
            }
            match self.transact(middle, &[], token).await {
                Ok(applied) => good = applied.to,
                Err(narrower) if narrower.is_about_data() => {
                    error = narrower;
                    bad = middle;
                }
                Err(other) => return other,
            }
        }
        match error {
            ProjectionError::BadEvent { .. } => error,
            error => self.name_event(bad, error).await,
        }
    }

    async fn checkpoint(&self) -> Result<i64, ProjectionError> {
        let mut transaction = self.pool.begin().await?;
        Ok(LiveVersions::lock(&mut transaction, M::NAME).await?.position)
    }

    async fn name_event(&self, position: i64, error: ProjectionError) -> ProjectionError {
        match ledger::at(&self.pool, position).await {
            Ok(Some(event)) => read_model::bad_event::<M>(&event, error.to_string()),
            Ok(None) => error,
            Err(error) => error.into(),
        }
    }
}
