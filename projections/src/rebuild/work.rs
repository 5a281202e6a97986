//! One rebuild, from where it stands to its end. Every step is a transaction that also notes that it was taken, and that only
//! the holder of the lease can commit, so that any of them may be the last of its process.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Decider;
use sqlx::{Connection, PgPool, Postgres, Transaction};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::compare::{self, Comparison};
use super::record::{self, Rebuild, RebuildState};
use super::{RebuildConfig, Watch, versions};
use crate::checkpoint::{self, LiveVersions};
use crate::read_model::{self, ReadModel, Table};
use crate::{ProjectionError, ledger};

/// Positions applied while the projector waits, at most.
const MAX_JOIN_EVENTS: i64 = 2_000;
/// How much of the rate shown is the last range's.
const RATE_WEIGHT: f64 = 0.2;
/// Between two attempts to swap while queries are under way.
const SWAP_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Work<'a, M> {
    pub pool: &'a PgPool,
    pub config: &'a RebuildConfig,
    pub turns: Arc<Semaphore>,
    /// As the database has it, and claimed.
    pub rebuild: Rebuild,
    pub watch: Watch<'a>,
    /// Looked at between two steps.
    pub stop: &'a CancellationToken,
    /// When the last range was built: from then on the next one's time counts, with the rest between them.
    pub since: Option<Instant>,
    pub model: PhantomData<M>,
}

impl<M: ReadModel> Work<'_, M> {
    /// Does what remains; `None` when it was stopped before that. What can't be built, or is not what the ledger says, fails
    /// and is thrown away, and so does what somebody took the tables from; other errors leave it as it is, to be gone on with.
    pub async fn run(mut self) -> Result<Option<Rebuild>, ProjectionError> {
        let ended = match self.build_and_show().await {
            Err(error) if error.is_about_data() => self.give_up(error.to_string()).await,
            Err(error) if self.rebuild.dry_run && error.is_about_checkpoints() => self.give_up(error.to_string()).await,
            Err(error) if error.is_about_schema() => {
                self.give_up(format!("its tables are not as they were left, was that by hand? {error}")).await
            }
            ended => ended,
        };
        (self.watch)(&self.rebuild);
        Ok(ended?.then_some(self.rebuild))
    }

    /// False: it was stopped before the end.
    async fn build_and_show(&mut self) -> Result<bool, ProjectionError> {
        match self.build_and_compare().await? {
            Some(comparison) => self.conclude(comparison).await,
            None => Ok(false),
        }
    }

    async fn build_and_compare(&mut self) -> Result<Option<Comparison>, ProjectionError> {
        let mut transaction = self.pool.begin().await?;
        versions::prepare::<M>(&mut transaction, &self.rebuild).await?;
        let is_live = versions::is_live(&mut transaction, M::NAME, self.rebuild.version).await?;
        transaction.commit().await?;
        if !is_live && self.rebuild.state == RebuildState::Running {
            // While it is indexed events come in.
            let built = self.build().await? && self.index().await? && self.build().await?;
            if !built {
                return Ok(None);
            }
            self.join_live().await?;
        }
        self.compare().await
    }

    fn table(&self) -> Table {
        Table::of::<M>(self.rebuild.version)
    }

    /// Applies the ledger until the live versions are near, and never beyond them. False: it was stopped before.
    async fn build(&mut self) -> Result<bool, ProjectionError> {
        loop {
            let live = checkpoint::checkpoint(&mut *self.pool.acquire().await?, M::NAME).await?;
            self.rebuild.target = live;
            (self.watch)(&self.rebuild);
            if live - self.rebuild.position <= self.config.max_range_events.min(MAX_JOIN_EVENTS) {
                return Ok(true);
            }
            self.since = None;
            while self.rebuild.position < live {
                let to = live.min(self.rebuild.position + self.config.max_range_events);
                self.apply_upto(to).await?;
                if self.stop.is_cancelled() {
                    return Ok(false);
                }
            }
        }
    }

    /// Reads, folds and writes a range and how far that is, and rests. The turn lasts until then: others may not work in the
    /// pause. Nothing is read ahead: that would be faster, and take the processor from those who look and order.
    async fn apply_upto(&mut self, to: i64) -> Result<(), ProjectionError> {
        let turns = self.turns.clone();
        // The semaphore is never closed: there is always a turn to come.
        let _turn = turns.acquire().await;
        let started = Instant::now();
        let mut transaction = self.pool.begin().await?;
        // What a crash of Postgres takes of the rows it takes of the position too.
        sqlx::query("set local synchronous_commit = off").execute(&mut *transaction).await?;
        let from = self.rebuild.position;
        let events = ledger::copy_category_range(&mut transaction, M::Aggregate::CATEGORY, from, to).await?;
        read_model::apply_events::<M>(&mut transaction, &self.table(), &events).await?;
        let rate = self.rate(to);
        record::advance(&mut *transaction, &self.rebuild, to, self.rebuild.target, rate).await?;
        transaction.commit().await?;
        // How long they look who watch is no work.
        let busy = started.elapsed();
        self.rebuild.position = to;
        self.rebuild.events_per_second = rate;
        (self.watch)(&self.rebuild);
        self.stop.run_until_cancelled(self.config.pace().rest_after(busy)).await;
        Ok(())
    }

    /// Of the first range it is not known: no rest has been taken yet.
    fn rate(&mut self, to: i64) -> Option<f64> {
        let Some(since) = self.since.replace(Instant::now()) else { return self.rebuild.events_per_second };
        let now = (to - self.rebuild.position) as f64 / since.elapsed().as_secs_f64().max(1e-6);
        let before = self.rebuild.events_per_second.unwrap_or(now);
        Some(before + RATE_WEIGHT * (now - before))
    }

    /// False: it was stopped before the end.
    async fn index(&mut self) -> Result<bool, ProjectionError> {
        let _turn = self.turns.acquire().await;
        // With a connection of its own, which may be dropped at any moment.
        let mut connection = self.pool.acquire().await?.detach();
        let table = self.table();
        let indexing = async {
            let mut transaction = connection.begin().await?;
            versions::index::<M>(&mut transaction, &table).await?;
            transaction.commit().await?;
            Ok::<_, ProjectionError>(())
        };
        self.stop.run_until_cancelled(indexing).await.transpose().map(|done| done.is_some())
    }

    /// Brings the version to the checkpoint of the live ones and makes it one of them. The projector waits meanwhile.
    async fn join_live(&mut self) -> Result<(), ProjectionError> {
        let mut transaction = self.pool.begin().await?;
        let live = LiveVersions::lock(&mut transaction, M::NAME).await?;
        let (from, to) = (self.rebuild.position, live.position);
        read_model::apply_range::<M>(&mut transaction, &self.table(), from, to, ledger::RANGE).await?;
        sqlx::query("update projection.checkpoint set position = $3, live = true where name = $1 and version = $2")
            .bind(M::NAME)
            .bind(self.rebuild.version)
            .bind(to)
            .execute(&mut *transaction)
            .await?;
        record::advance(&mut *transaction, &self.rebuild, to, to, self.rebuild.events_per_second).await?;
        record::verifying(&mut *transaction, &self.rebuild).await?;
        transaction.commit().await?;
        (self.rebuild.position, self.rebuild.target) = (to, to);
        Ok(())
    }

    async fn compare(&mut self) -> Result<Option<Comparison>, ProjectionError> {
        self.rebuild.state = RebuildState::Verifying;
        self.rebuild.events_per_second = None;
        (self.watch)(&self.rebuild);
        let mut connection = self.pool.acquire().await?;
        if !versions::is_live(&mut connection, M::NAME, self.rebuild.version).await? {
            let wrong = Some("the projector can't keep it up to date".to_owned());
            return Ok(Some(Comparison { wrong, ..Comparison::default() }));
        }
        let shown = Table::of::<M>(versions::active_version(&mut connection, M::NAME).await?);
        drop(connection);
        let _turn = self.turns.acquire().await;
        let table = self.table();
        // It works on connections of its own, which may be dropped at any moment.
        let comparing = compare::compare::<M>(self.pool, self.config, &shown, &table);
        self.stop.run_until_cancelled(comparing).await.transpose()
    }

    /// False: it was stopped before the end, here and below.
    async fn conclude(&mut self, comparison: Comparison) -> Result<bool, ProjectionError> {
        if let Some(wrong) = comparison.wrong {
            return self.give_up(format!("what was built is not what the ledger says: {wrong}")).await;
        }
        self.rebuild.state = RebuildState::Done;
        self.rebuild.differences = Some(comparison.differences);
        self.rebuild.examples = comparison.examples;
        if self.rebuild.dry_run { self.throw_away().await } else { self.swap().await }
    }

    async fn give_up(&mut self, problem: String) -> Result<bool, ProjectionError> {
        self.rebuild.state = RebuildState::Failed;
        self.rebuild.problem = Some(problem);
        self.throw_away().await
    }

    async fn throw_away(&mut self) -> Result<bool, ProjectionError> {
        let mut transaction = self.begin().await?;
        match LiveVersions::lock(&mut transaction, M::NAME).await {
            // They are locked all the same.
            Ok(_) | Err(ProjectionError::Diverged { .. }) => {}
            Err(error) => return Err(error),
        }
        versions::drop_version(&mut transaction, M::NAME, self.rebuild.version).await?;
        self.end(transaction).await?;
        Ok(true)
    }

    /// Shows what was built. A query that takes long delays the swap; the swap delays nobody for more than a moment.
    async fn swap(&mut self) -> Result<bool, ProjectionError> {
        let mut attempt = 1;
        while !self.stop.is_cancelled() {
            match self.try_to_swap().await {
                Err(error) if error.is_lock_not_had_in_time() && attempt < self.config.max_swap_attempts => {
                    attempt += 1;
                    self.stop.run_until_cancelled(tokio::time::sleep(SWAP_PAUSE)).await;
                }
                Err(error) => return Err(versions::named_if_withheld(error, M::NAME)),
                Ok(()) => return Ok(true),
            }
        }
        Ok(false)
    }

    async fn try_to_swap(&mut self) -> Result<(), ProjectionError> {
        let mut transaction = self.begin().await?;
        sqlx::query("select set_config('lock_timeout', $1, true)")
            .bind(format!("{}ms", self.config.swap_lock_timeout.as_millis()))
            .execute(&mut *transaction)
            .await?;
        versions::show(&mut transaction, M::NAME, self.rebuild.version).await?;
        self.end(transaction).await
    }

    async fn begin(&self) -> Result<Transaction<'static, Postgres>, ProjectionError> {
        Ok(self.pool.begin().await?)
    }

    async fn end(&mut self, mut transaction: Transaction<'static, Postgres>) -> Result<(), ProjectionError> {
        record::end(&mut *transaction, &self.rebuild).await?;
        transaction.commit().await?;
        if let Some(ended) = record::last(self.pool, M::NAME).await? {
            self.rebuild = ended;
        }
        Ok(())
    }
}
