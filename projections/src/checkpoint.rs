//! How far the read models are, and waiting until one has reached a position.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use event_store::read;
use sqlx::{PgConnection, PgPool};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{NAMES, ProjectionError};

/// Between two looks at the checkpoints while somebody waits; one look serves everybody in the process.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The positions the read models people see are known to have reached. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct Checkpoints {
    pool: PgPool,
    shared: Arc<Shared>,
}

struct Shared {
    /// Held by the one waiter that polls for all.
    polling: Mutex<()>,
    seen: HashMap<&'static str, watch::Sender<i64>>,
}

impl Checkpoints {
    pub fn new(pool: PgPool) -> Self {
        let seen = NAMES.map(|name| (name, watch::Sender::new(0)));
        Self { pool, shared: Arc::new(Shared { polling: Mutex::new(()), seen: HashMap::from(seen) }) }
    }

    /// Waits until `projection` has applied everything up to `position`; false when `timeout` came first.
    pub async fn wait_for(&self, projection: &str, position: i64, timeout: Duration) -> Result<bool, ProjectionError> {
        let deadline = Instant::now() + timeout;
        let mut seen = self
            .shared
            .seen
            .get(projection)
            .ok_or_else(|| ProjectionError::UnknownProjection(projection.to_owned()))?
            .subscribe();
        loop {
            if *seen.borrow_and_update() >= position {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::select! {
                polled = self.poll_for_all(deadline) => polled?,
                _ = seen.changed() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Tells the waiters of this process what its projector has just committed.
    pub(crate) fn reached(&self, projection: &str, position: i64) {
        if let Some(seen) = self.shared.seen.get(projection) {
            seen.send_if_modified(|known| {
                let newer = position > *known;
                *known = position.max(*known);
                newer
            });
        }
    }

    /// Takes a look's word for it, be it less than was known before the look: somebody may have gone back. Of what the
    /// projector has told since then the look knows nothing.
    fn found(&self, projection: &str, position: i64, known_before: Option<i64>) {
        if let Some(seen) = self.shared.seen.get(projection) {
            seen.send_if_modified(|known| {
                let is_news = position > *known || (position < *known && Some(*known) == known_before);
                if is_news {
                    *known = position;
                }
                is_news
            });
        }
    }

    /// One look, and a pause before the next waiter may take its turn. An unfinished one harms nobody.
    async fn poll_for_all(&self, deadline: Instant) -> Result<(), ProjectionError> {
        let _turn = self.shared.polling.lock().await;
        let known = self.shared.seen.iter().map(|(name, seen)| (*name, *seen.borrow())).collect::<HashMap<_, _>>();
        // The database may be slow or away: the caller's deadline holds all the same.
        let Ok(positions) = timeout_at(deadline, active_checkpoints(&self.pool)).await else {
            return Ok(());
        };
        for (name, position) in positions? {
            self.found(&name, position, known.get(name.as_str()).copied());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        Ok(())
    }
}

/// [`Checkpoints::wait_for`], for a caller that waits once.
pub async fn wait_for(
    pool: &PgPool,
    projection: &str,
    position: i64,
    timeout: Duration,
) -> Result<bool, ProjectionError> {
    Checkpoints::new(pool.clone()).wait_for(projection, position, timeout).await
}

/// The checkpoint of the version of `projection` that queries see.
pub async fn checkpoint(connection: &mut PgConnection, projection: &'static str) -> Result<i64, ProjectionError> {
    let position = sqlx::query_scalar(
        "select c.position from projection.read_model m
         join projection.checkpoint c on c.name = m.name and c.version = m.active_version where m.name = $1",
    )
    .bind(projection)
    .fetch_optional(connection)
    .await?;
    position.ok_or_else(|| ProjectionError::UnknownProjection(projection.to_owned()))
}

/// The versions a projector moves together, locked for this transaction, and where they stand.
pub(crate) struct LiveVersions {
    pub versions: Vec<i32>,
    pub position: i64,
}

impl LiveVersions {
    pub async fn lock(connection: &mut PgConnection, projection: &'static str) -> Result<Self, ProjectionError> {
        let rows: Vec<(i32, i64)> = sqlx::query_as(include_str!("../sql/lock_live_checkpoints.sql"))
            .bind(projection)
            .fetch_all(connection)
            .await?;
        let Some(&(_, position)) = rows.first() else {
            return Err(ProjectionError::UnknownProjection(projection.to_owned()));
        };
        if rows.iter().any(|(_, other)| *other != position) {
            return Err(ProjectionError::Diverged { projection });
        }
        let versions = rows.into_iter().map(|(version, _)| version).collect();
        Ok(Self { versions, position })
    }

    /// The same for who compares with the ledger and mends nothing: refused where they are further than that.
    pub async fn lock_within_ledger(
        connection: &mut PgConnection,
        projection: &'static str,
    ) -> Result<Self, ProjectionError> {
        let locked = Self::lock(connection, projection).await?;
        let (position, head) = (locked.position, read::head(connection).await?);
        if position > head {
            return Err(ProjectionError::BeyondLedger { projection, position, head });
        }
        Ok(locked)
    }

    /// For who mends what was edited by hand: where they stand apart, only the one that is shown stays live; and
    /// none is further than the ledger, where it would pass over what comes.
    pub async fn lock_and_align(
        connection: &mut PgConnection,
        projection: &'static str,
    ) -> Result<Self, ProjectionError> {
        match Self::lock(connection, projection).await {
            Err(ProjectionError::Diverged { .. }) => {
                tracing::warn!(projection, "its live versions are at different positions: only the shown one is kept");
                sqlx::query(include_str!("../sql/rebuild/keep_shown_only.sql"))
                    .bind(projection)
                    .execute(&mut *connection)
                    .await?;
            }
            locked => drop(locked?),
        }
        sqlx::query(include_str!("../sql/rebuild/hold_to_ledger.sql"))
            .bind(projection)
            .bind(read::head(&mut *connection).await?)
            .execute(&mut *connection)
            .await?;
        Self::lock(connection, projection).await
    }

    /// Moves all of them, unless a projector with a newer lease has been here.
    pub async fn advance(
        &self,
        connection: &mut PgConnection,
        projection: &'static str,
        position: i64,
        lease_token: i64,
    ) -> Result<(), ProjectionError> {
        let moved = sqlx::query(include_str!("../sql/move_checkpoints.sql"))
            .bind(projection)
            .bind(self.position)
            .bind(position)
            .bind(lease_token)
            .execute(connection)
            .await?;
        if moved.rows_affected() == self.versions.len() as u64 {
            Ok(())
        } else {
            Err(ProjectionError::Fenced { projection })
        }
    }
}

async fn active_checkpoints(pool: &PgPool) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(include_str!("../sql/active_checkpoints.sql")).fetch_all(pool).await
}
