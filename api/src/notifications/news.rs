//! Who waits for whose notifications. However many wait, one watcher a process looks for all of them; whoever it concerns
//! then reads for themselves. The read model's checkpoint is watched, because what is told is read from there.

use std::sync::{Arc, Once};
use std::time::Duration;

use domain::UserId;
use projections::{ProjectionError, notifications};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;
use crate::waiters::{Subscription, Waiters};

/// Between two looks at the checkpoint. Nobody looks while nobody waits.
const POLL: Duration = Duration::from_millis(250);

/// The watcher, and those who wait. Cheap to clone.
#[derive(Clone)]
pub(crate) struct NotificationNews(Arc<Shared>);

struct Shared {
    pool: PgPool,
    shutdown: CancellationToken,
    started: Once,
    waiters: Waiters<UserId>,
}

impl NotificationNews {
    /// For at most `max_subscriptions` at a time. Nothing runs before the first of them.
    pub fn new(pool: PgPool, max_subscriptions: usize, shutdown: CancellationToken) -> Self {
        let waiters = Waiters::new(max_subscriptions, shutdown.clone());
        Self(Arc::new(Shared { pool, shutdown, started: Once::new(), waiters }))
    }

    /// Waits for news from now on: read what there is after this call.
    pub fn subscribe(&self, user_id: UserId) -> Result<Subscription, Problem> {
        let subscription = self.0.waiters.subscribe(user_id)?;
        self.0.started.call_once(|| drop(tokio::spawn(watch_checkpoint(self.0.clone()))));
        Ok(subscription)
    }
}

async fn watch_checkpoint(shared: Arc<Shared>) {
    let mut seen = 0;
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
        }
        match look(&shared, seen).await {
            Ok(position) => seen = position,
            Err(error) => tracing::debug!(%error, "news of notifications wait for the database"),
        }
    }
}

/// Wakes whom what was projected since concerns; answers up to where everybody knows.
async fn look(shared: &Shared, seen: i64) -> Result<i64, ProjectionError> {
    let users = shared.waiters.waited_for();
    if users.is_empty() {
        return Ok(seen);
    }
    let upto = notifications::position(&shared.pool).await?;
    if upto > seen {
        shared.waiters.wake(&notifications::users_with_news(&shared.pool, &users, seen, upto).await?);
    }
    Ok(upto)
}
