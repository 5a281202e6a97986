//! Who waits for whose notifications. However many wait, one watcher a process looks for all of them; whoever it concerns
//! then reads for themselves. The read model's checkpoint is watched, because what is told is read from there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use domain::UserId;
use projections::{ProjectionError, notifications};
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;

/// Between two looks at the checkpoint. Nobody looks while nobody waits.
const POLL: Duration = Duration::from_millis(250);

/// The watcher, and those who wait. Cheap to clone.
#[derive(Clone)]
pub(crate) struct NotificationNews(Arc<Shared>);

struct Shared {
    pool: PgPool,
    shutdown: CancellationToken,
    places: Arc<Semaphore>,
    started: Once,
    waiting: Mutex<HashMap<UserId, watch::Sender<()>>>,
}

/// One that waits for a user's notifications; it stops waiting when it is dropped.
pub(crate) struct Subscription {
    news: watch::Receiver<()>,
    shutdown: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl NotificationNews {
    /// For at most so many at a time. Nothing runs before the first of them.
    pub fn new(pool: PgPool, max_subscriptions: usize, shutdown: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            pool,
            shutdown,
            places: Arc::new(Semaphore::new(max_subscriptions.min(Semaphore::MAX_PERMITS))),
            started: Once::new(),
            waiting: Mutex::default(),
        }))
    }

    /// Waits for this user's notifications from now on: read what there is after this call.
    pub fn subscribe(&self, user_id: UserId) -> Result<Subscription, Problem> {
        let too_many = |_| Problem::unavailable("too_many_streams", "too many streams of updates are open");
        let place = self.0.places.clone().try_acquire_owned().map_err(too_many)?;
        let news = self.0.lock().entry(user_id).or_default().subscribe();
        self.0.started.call_once(|| drop(tokio::spawn(watch_checkpoint(self.0.clone()))));
        Ok(Subscription { news, shutdown: self.0.shutdown.clone(), _place: place })
    }
}

impl Subscription {
    /// What is read from here on is newer than any news so far.
    pub fn mark_seen(&mut self) {
        self.news.mark_unchanged();
    }

    /// Waits for news after [`Self::mark_seen`]; false when the process stops.
    pub async fn changed(&mut self) -> bool {
        tokio::select! {
            () = self.shutdown.cancelled() => false,
            changed = self.news.changed() => changed.is_ok(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, watch::Sender<()>>> {
        // Every change is one call of the map, so a panic elsewhere cannot have left it half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The users that somebody waits for; those whose last waiter has gone are forgotten.
    fn waited_for(&self) -> Vec<UserId> {
        let mut waiting = self.lock();
        waiting.retain(|_, news| news.receiver_count() > 0);
        waiting.keys().copied().collect()
    }

    fn wake(&self, users: &[UserId]) {
        let waiting = self.lock();
        for news in users.iter().filter_map(|user| waiting.get(user)) {
            news.send_replace(());
        }
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
    let users = shared.waited_for();
    if users.is_empty() {
        return Ok(seen);
    }
    let upto = notifications::position(&shared.pool).await?;
    if upto > seen {
        shared.wake(&notifications::users_with_news(&shared.pool, &users, seen, upto).await?);
    }
    Ok(upto)
}
