//! One batch from its commands to their answers: lock what is contended, load, decide, append, settle.

use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep, timeout};

use crate::append::{AppendRequest, append};
use crate::clock::DatabaseClock;
use crate::connection::{AppendConnection, Failure, timed_out};
use crate::contention;
use crate::decide::{Decided, decide_all};
use crate::error::CommandError;
use crate::job::Queued;
use crate::ledger::LedgerConfig;
use crate::load;
use crate::request;
use crate::settle::{Settlement, settle};
use crate::slot::StreamSlot;

/// Commands to carry out together, and exclusive hold of their streams.
pub(crate) struct Batch {
    pub(crate) commands: Vec<Queued>,
    pub(crate) slots: Vec<StreamSlot>,
    /// Streams to be locked against other processes while this batch reads and appends.
    pub(crate) contended: Vec<Arc<str>>,
}

/// What is left when everybody who could be answered was.
pub(crate) struct Finished {
    pub(crate) connection: AppendConnection,
    pub(crate) slots: Vec<StreamSlot>,
    pub(crate) settlement: Settlement,
}

pub(crate) struct BatchRunner {
    pub(crate) connection: AppendConnection,
    pub(crate) config: Arc<LedgerConfig>,
    pub(crate) clock: Arc<DatabaseClock>,
}

impl BatchRunner {
    pub(crate) async fn run(mut self, batch: Batch) -> Finished {
        let Batch { commands, mut slots, contended } = batch;
        let settlement = match self.load(&mut slots, &contended).await {
            Ok(met) => {
                let decided = decide_all(commands, &mut slots, self.clock.now());
                let mut settlement = self.append(decided, &mut slots).await;
                settlement.contended.extend(met.moved);
                settlement.waited_in_vain = met.waited_in_vain;
                settlement
            }
            Err(error) => {
                fail_all(commands, &CommandError::Unavailable(error.to_string()));
                Settlement::default()
            }
        };
        if !contended.is_empty() {
            contention::unlock(&mut self.connection).await;
        }
        Finished { connection: self.connection, slots, settlement }
    }

    /// Loads what is missing, again and again for as long as a command may wait.
    async fn load(&mut self, slots: &mut [StreamSlot], contended: &[Arc<str>]) -> Result<Met, sqlx::Error> {
        const PAUSE: Duration = Duration::from_millis(50);
        let started_at = Instant::now();
        loop {
            let error = match self.try_load(slots, contended).await {
                Ok(met) => return Ok(met),
                Err(error) => error,
            };
            self.connection.give_up();
            if started_at.elapsed() + PAUSE > Duration::from_millis(self.config.max_wait_ms) {
                return Err(error);
            }
            tracing::warn!(%error, "streams could not be loaded; trying again");
            sleep(PAUSE).await;
        }
    }

    async fn try_load(&mut self, slots: &mut [StreamSlot], contended: &[Arc<str>]) -> Result<Met, sqlx::Error> {
        let mut met = Met::default();
        if !contended.is_empty() && !contention::lock(self.connection.get().await?, contended).await? {
            met.waited_in_vain = contended.to_vec();
        }
        let before: Vec<u64> = slots.iter().map(|slot| slot.base_version).collect();
        let behind: Vec<&mut StreamSlot> = slots.iter_mut().filter(|slot| slot.load).collect();
        if behind.is_empty() {
            return Ok(met);
        }
        let time_limit = Duration::from_millis(self.config.append_timeout_ms);
        let connection = self.connection.get().await?;
        timeout(time_limit, load::catch_up(connection, behind)).await.map_err(|_| timed_out("loading streams"))??;
        let moved = slots.iter().zip(before).filter(|(slot, before)| slot.base_version != *before);
        met.moved = moved.map(|(slot, _)| slot.stream_id.clone()).filter(|stream| contended.contains(stream)).collect();
        Ok(met)
    }

    async fn append(&mut self, mut decided: Vec<Decided>, slots: &mut [StreamSlot]) -> Settlement {
        if decided.is_empty() {
            return Settlement::default();
        }
        let plan = request::plan(&mut decided, slots);
        let started_at = Instant::now();
        let outcome = append(&mut self.connection, &plan.request, &self.config).await;
        record(&plan.request, started_at);
        match outcome {
            Ok(verdict) => {
                self.clock.set(verdict.clock);
                settle(&plan, verdict, decided, slots, self.config.max_attempts)
            }
            Err(failure) => give_up(failure, decided, slots),
        }
    }
}

/// Signs of other processes on the contended streams.
#[derive(Default)]
struct Met {
    /// Changed since this process last saw them.
    moved: Vec<Arc<str>>,
    /// Locked by a process that did not give them back in time.
    waited_in_vain: Vec<Arc<str>>,
}

fn record(request: &AppendRequest, started_at: Instant) {
    metrics::histogram!("ledger_append_duration_seconds").record(started_at.elapsed().as_secs_f64());
    metrics::histogram!("ledger_append_batch_events").record(request.events.ids.len() as f64);
}

/// Nothing was appended, or nobody knows: the states go back to what is certain.
fn give_up(failure: Failure, decided: Vec<Decided>, slots: &mut [StreamSlot]) -> Settlement {
    slots.iter_mut().for_each(StreamSlot::roll_back);
    let commands: Vec<Queued> = decided.into_iter().map(|command| command.queued).collect();
    let error = match failure {
        Failure::Data { constraint, message } if commands.len() == 1 => CommandError::Invalid { constraint, message },
        Failure::Data { .. } => return Settlement { redo: halve(commands), ..Default::default() },
        Failure::Defect(message) => CommandError::Bug(message),
        Failure::Refused(message) | Failure::Retry(message) => CommandError::Unavailable(message),
        Failure::Unknown(message) => {
            slots.iter_mut().for_each(|slot| slot.suspect = true);
            CommandError::Unavailable(format!("outcome unknown: {message}"))
        }
    };
    fail_all(commands, &error);
    Settlement::default()
}

/// One bad command must harm no other: each half goes alone, and so on until the bad one is.
fn halve(mut commands: Vec<Queued>) -> Vec<Queued> {
    let max_batch = commands.len().div_ceil(2);
    for command in &mut commands {
        command.max_batch = max_batch;
    }
    commands
}

fn fail_all(commands: Vec<Queued>, error: &CommandError) {
    for command in commands {
        command.fail(error.clone());
    }
}
