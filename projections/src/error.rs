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
    /// The live versions of one read model stand at different positions, which no transaction of ours can leave behind.
    #[error("{projection}: its live versions are at different positions: rebuild it")]
    Diverged { projection: &'static str },
    #[error("there is no projection called {0:?}")]
    UnknownProjection(String),
    #[error("the page cursor is not one of this list")]
    BadCursor,
    /// Somebody works on it, or it waits for somebody to.
    #[error(
        "{projection}: a rebuild is running already: version {version} is at position {position} of {target} ({}%)",
        percent(*position, *target)
    )]
    RebuildRuns { projection: String, version: i32, position: i64, target: i64 },
    /// Another process works on this rebuild now: nothing was written.
    #[error("{projection}: another process has taken the rebuild over")]
    RebuildTaken { projection: String },
    #[error("{projection}: there is no version to go back to")]
    NoPreviousVersion { projection: &'static str },
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
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
            }
            _ => false,
        }
    }
}

fn percent(position: i64, target: i64) -> i64 {
    if target > 0 { (position * 100 / target).clamp(0, 100) } else { 0 }
}
