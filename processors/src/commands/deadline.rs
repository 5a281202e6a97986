//! Deadlines that are moved or taken away for themselves, without anything else being decided.

use std::future::Future;

use chrono::TimeDelta;
use event_store::{Command, CommandError, Committed, Deadline, Ledger, Metadata};

/// Leaves a deadline alone for a while: it could not be acted on.
pub fn postpone_deadline(
    ledger: &Ledger,
    kind: &'static str,
    key: String,
    pause: TimeDelta,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    ledger.submit(Command::new(Metadata::default()), move |uow| {
        let due_at = uow.now() + pause;
        uow.set_deadline(Deadline { kind, key: key.clone(), due_at });
        Ok(())
    })
}

/// Takes a deadline away: what it was for is done, or is no more.
pub fn clear_deadline(
    ledger: &Ledger,
    kind: &'static str,
    key: String,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    ledger.submit(Command::new(Metadata::default()), move |uow| {
        uow.clear_deadline(kind, &key);
        Ok(())
    })
}
