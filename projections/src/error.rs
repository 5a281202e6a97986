use std::borrow::Cow;

use event_store::StoreError;

/// Why a projection, a query of a read model or a check of it could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// One event can't be applied. The projection stops before it, everything up to it stays applied.
    #[error("{projection}: event {position} ({stream_id}, version {version}, {event_type}) can't be applied: {reason}")]
    BadEvent {
        projection: &'static str,
        position: i64,
        stream_id: String,
        version: i64,
        event_type: String,
        reason: String,
    },
    /// Another instance took the projection over: nothing was written.
    #[error("{projection}: another instance has taken over")]
    Fenced { projection: &'static str },
    /// The live versions of one read model stand at different positions, which no transaction of ours can leave behind. A
    /// rebuild keeps the one that is shown, and no other.
    #[error("{projection}: its live versions are at different positions: rebuild it")]
    Diverged { projection: &'static str },
    /// Somebody set its checkpoint by hand. A rebuild takes it back.
    #[error("{projection}: its checkpoint {position} is beyond the ledger, which ends at {head}: rebuild it")]
    BeyondLedger { projection: &'static str, position: i64, head: i64 },
    #[error("there is no projection called {0:?}")]
    UnknownProjection(String),
    #[error("the page cursor is not one of this list")]
    BadCursor,
    /// Somebody works on it, or it waits for somebody to.
    #[error(
        "{projection}: a {} is running already: version {version} is at position {position} of {target} ({}%)",
        if *dry_run { "dry run" } else { "rebuild" },
        percent(*position, *target)
    )]
    RebuildRuns { projection: String, dry_run: bool, version: i32, position: i64, target: i64 },
    /// Another process works on this rebuild now: nothing was written.
    #[error("{projection}: another process has taken the rebuild over")]
    RebuildTaken { projection: String },
    /// Everybody else would queue behind whoever waits for it longer.
    #[error(
        "{projection}: a query that takes long keeps the version that is shown from being replaced: try again when it is over"
    )]
    SwapWithheld { projection: &'static str },
    #[error("{projection}: there is no version to go back to")]
    NoPreviousVersion { projection: &'static str },
    #[error("{0} took longer than {1} s")]
    TooSlow(&'static str, u64),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl ProjectionError {
    /// Something in the data itself (SQLSTATE 22 or 23, or a fold that refuses): waiting won't mend it.
    pub(crate) fn is_about_data(&self) -> bool {
        match self {
            Self::BadEvent { .. } => true,
            _ => self.sqlstate().is_some_and(|code| code.starts_with("22") || code.starts_with("23")),
        }
    }

    /// A table or a column is not there, or is another (SQLSTATE 42): somebody was at the schema by hand, and waiting
    /// won't mend that either.
    pub(crate) fn is_about_schema(&self) -> bool {
        self.sqlstate().is_some_and(|code| code.starts_with("42"))
    }

    /// Checkpoints that only a rebuild mends: whoever mends nothing waits in vain.
    pub(crate) fn is_about_checkpoints(&self) -> bool {
        matches!(self, Self::Diverged { .. } | Self::BeyondLedger { .. })
    }

    pub(crate) fn is_lock_not_had_in_time(&self) -> bool {
        self.sqlstate().is_some_and(|code| code == LOCK_NOT_AVAILABLE)
    }

    fn sqlstate(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code(),
            _ => None,
        }
    }
}

/// SQLSTATE of a lock that was not had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

fn percent(position: i64, target: i64) -> i64 {
    if target > 0 { (position * 100 / target).clamp(0, 100) } else { 0 }
}
