//! Deadlines that are taken away for themselves, without anything else being decided.

use std::future::Future;

use event_store::{Command, CommandError, Committed, Ledger, Metadata};

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
