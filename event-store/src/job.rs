//! A submitted command on its way: its declaration, its decision, and whoever waits for the answer.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::command::Command;
use crate::error::CommandError;
use crate::ledger::Committed;
use crate::unit_of_work::{Refusal, UnitOfWork};

/// A command that has been accepted and not yet answered.
pub(crate) struct Queued {
    pub(crate) command: Command,
    pub(crate) job: Box<dyn Job>,
    pub(crate) accepted_at: Instant,
    /// Appends in which one of its streams had moved on.
    pub(crate) conflicts: u32,
    /// It has been tried at least once.
    pub(crate) tried: bool,
    /// Most commands it may share an append with: halved each time Postgres refuses the data of such an append, until
    /// the bad command is alone.
    pub(crate) max_batch: usize,
}

impl Queued {
    pub(crate) fn new(command: Command, job: Box<dyn Job>) -> Self {
        Self { command, job, accepted_at: Instant::now(), conflicts: 0, tried: false, max_batch: usize::MAX }
    }

    pub(crate) fn fail(self, error: CommandError) {
        self.job.answer(Err(error));
    }
}

/// A decision and its waiting caller, whatever the decision returns.
pub(crate) trait Job: Send {
    fn decide(&mut self, unit: &mut UnitOfWork<'_>) -> Result<(), Refusal>;
    fn answer(self: Box<Self>, outcome: Result<Option<i64>, CommandError>);
}

pub(crate) struct TypedJob<T, F> {
    decide: F,
    value: Option<T>,
    caller: oneshot::Sender<Result<Committed<T>, CommandError>>,
}

impl<T, F> TypedJob<T, F> {
    pub(crate) fn new(decide: F, caller: oneshot::Sender<Result<Committed<T>, CommandError>>) -> Self {
        Self { decide, value: None, caller }
    }
}

impl<T, F> Job for TypedJob<T, F>
where
    T: Send,
    F: FnMut(&mut UnitOfWork<'_>) -> Result<T, Refusal> + Send,
{
    fn decide(&mut self, unit: &mut UnitOfWork<'_>) -> Result<(), Refusal> {
        self.value = None;
        // A panic is the caller's; everybody else's commands go on. What it changed in the unit of work is undone.
        match catch_unwind(AssertUnwindSafe(|| (self.decide)(unit))) {
            Ok(value) => {
                self.value = Some(value?);
                Ok(())
            }
            Err(panic) => Err(Refusal::Fault(format!("the decision panicked: {}", panic_message(&*panic)))),
        }
    }

    fn answer(self: Box<Self>, outcome: Result<Option<i64>, CommandError>) {
        let Self { value, caller, .. } = *self;
        let answer = outcome.and_then(|position| match value {
            Some(value) => Ok(Committed { value, position }),
            None => Err(CommandError::Bug("answered without a decision".to_owned())),
        });
        // A caller that has gone away wanted no answer.
        let _ = caller.send(answer);
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
