//! The handle callers use: submit commands, load states, follow the head.

use std::future::Future;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::Decider;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::DatabaseClock;
use crate::command::Command;
use crate::connection::Connector;
use crate::error::{CommandError, StoreError};
use crate::executor::{Executor, ExecutorParts};
use crate::job::{Queued, TypedJob};
use crate::load::{Loaded, load_one};
use crate::side_tasks::{SNAPSHOT_QUEUE, announce_head, write_snapshots};
use crate::span::{self, KeyValue, Span, SpanKind};
use crate::unit_of_work::{Refusal, UnitOfWork};

/// Bounds of the group commit.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// Commands in one append.
    pub max_batch_commands: usize,
    /// Commands that may wait; one more is answered `Overloaded`.
    pub max_queue_commands: usize,
    /// How long a command may wait for its first attempt before it is answered `Overloaded`.
    pub max_wait_ms: u64,
    /// How long an append may wait for another process's append.
    pub lock_timeout_ms: u64,
    /// How long to wait for a connection, a load, or the answer to one send of an append, before the connection is given
    /// up.
    pub append_timeout_ms: u64,
    /// How long an append of unknown outcome is sent again before its commands are answered `Unavailable`.
    pub outcome_timeout_ms: u64,
    /// Attempts of one command against conflicting appends of other processes.
    pub max_attempts: u32,
    /// How long a contended stream is worked on under its lock.
    pub contended_ms: u64,
    /// States kept in memory.
    pub state_cache_streams: usize,
    /// A snapshot is written each time a stream has grown by this many events.
    pub snapshot_every_events: u64,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            max_batch_commands: 512,
            max_queue_commands: 8192,
            max_wait_ms: 2_000,
            lock_timeout_ms: 2_000,
            append_timeout_ms: 5_000,
            outcome_timeout_ms: 15_000,
            max_attempts: 16,
            contended_ms: 1_000,
            state_cache_streams: 50_000,
            snapshot_every_events: 1_000,
        }
    }
}

/// What became of an accepted command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<T> {
    /// What its decision returned.
    pub value: T,
    /// Position of its last event; none when it had no event.
    pub position: Option<i64>,
}

/// The ledger's only writer in this process. Cheap to clone; works until it is closed or the last clone is dropped.
#[derive(Clone)]
pub struct Ledger {
    inbox: mpsc::Sender<Queued>,
    pool: PgPool,
    clock: Arc<DatabaseClock>,
    head: watch::Receiver<i64>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Ledger {
    /// Starts the group commit on connections of its own, made like the pool's.
    pub async fn start(pool: PgPool, config: LedgerConfig) -> Result<Self, StoreError> {
        let (now, head_position): (DateTime<Utc>, i64) =
            sqlx::query_as(include_str!("ledger/start.sql")).fetch_one(&pool).await?;
        metrics::counter!("ledger_events_appended_total").increment(0);
        metrics::counter!("ledger_appends_resent_total").increment(0);
        metrics::counter!("ledger_append_conflicts_total").increment(0);

        let (inbox, queue) = mpsc::channel(config.max_queue_commands.max(1));
        let (head_sender, head) = watch::channel(head_position);
        let (snapshots, snapshot_jobs) = mpsc::channel(SNAPSHOT_QUEUE);
        let clock = Arc::new(DatabaseClock::new(now));
        let closing = CancellationToken::new();
        let executor = Executor::new(ExecutorParts {
            connector: Connector::new(&pool, &config),
            config: Arc::new(config),
            clock: clock.clone(),
            inbox: queue,
            head: head_sender,
            snapshots,
            closing: closing.clone(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(executor.run());
        tasks.spawn(write_snapshots(pool.clone(), snapshot_jobs));
        tasks.spawn(announce_head(pool.clone(), head.clone()));
        tasks.close();
        Ok(Self { inbox, pool, clock, head, closing, tasks })
    }

    /// Finishes the commands that were accepted and stops; commands that come later are answered `Unavailable`.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.wait().await;
    }

    /// The pool for reads.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The time by the database's clock, which is the time decisions see.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Enqueues the command now, so that the order of calls is the order of decisions on a shared stream; the future
    /// resolves when its effects are durable. Dropping the future does not take the command back.
    pub fn submit<T, F>(
        &self,
        command: Command,
        decide: F,
    ) -> impl Future<Output = Result<Committed<T>, CommandError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnMut(&mut UnitOfWork<'_>) -> Result<T, Refusal> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let mut span = append_span(&command);
        let queued = Queued::new(command, Box::new(TypedJob::new(decide, caller)));
        let refused = match self.inbox.try_send(queued) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(_)) => Some(CommandError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                Some(CommandError::Unavailable("the ledger is closed".to_owned()))
            }
        };
        async move {
            let outcome = match refused {
                Some(error) => Err(error),
                None => answer.await.unwrap_or_else(|_| {
                    Err(CommandError::Unavailable("outcome unknown: the append ended without an answer".to_owned()))
                }),
            };
            match &outcome {
                Ok(Committed { position: Some(position), .. }) => span.set("ledger.position", *position),
                Ok(_) | Err(CommandError::Rejected(_) | CommandError::Duplicate(_)) => {}
                Err(error) => span.fail("append_failed", error.to_string()),
            }
            outcome
        }
    }

    /// Submits the command and waits for its outcome.
    pub async fn execute<T, F>(&self, command: Command, decide: F) -> Result<Committed<T>, CommandError>
    where
        T: Send + 'static,
        F: FnMut(&mut UnitOfWork<'_>) -> Result<T, Refusal> + Send + 'static,
    {
        self.submit(command, decide).await
    }

    /// Reads a stream's current state.
    pub async fn load<A: Decider>(&self, id: &str) -> Result<Loaded<A>, StoreError> {
        load_one(&self.pool, id).await
    }

    /// The last position appended by this process.
    pub fn subscribe_head(&self) -> watch::Receiver<i64> {
        self.head.clone()
    }
}

/// From the queue to the durable answer, below whatever asked for it. A trace is never begun here.
fn append_span(command: &Command) -> Span {
    let parent = command.metadata.traceparent.as_deref();
    if parent.is_none() || !span::is_on() {
        return Span::none();
    }
    let attributes = vec![KeyValue::new("db.system.name", "postgresql"), KeyValue::new("db.operation.name", "append")];
    Span::begin("append", SpanKind::Client, parent, [], attributes)
}
