//! Who waits for news of which stream. However many wait, one watcher a process follows the ledger's head and reads each
//! new range of positions once; whoever it concerns then looks for themselves.
//!
//! Positions have no gaps, so nothing in a range can be missed. Whoever subscribes and then reads what there is misses
//! nothing either: what is committed later is in a range that comes later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use event_store::read;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;

/// Between two looks at the head when no notification comes.
const HEAD_POLL: Duration = Duration::from_millis(250);

/// Positions read at once.
const RANGE: i64 = 5_000;

/// Between two reads, so that a busy ledger costs a bounded number of them.
const READ_PAUSE: Duration = Duration::from_millis(20);

const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The watcher, and those who wait. Cheap to clone.
#[derive(Clone)]
pub(crate) struct StreamNews(Arc<Shared>);

struct Shared {
    pool: PgPool,
    shutdown: CancellationToken,
    slots: Arc<Semaphore>,
    /// Twice what the slots allow, so that looking for those who have gone is rare.
    max_entries: usize,
    started: Once,
    waiting: Mutex<HashMap<String, watch::Sender<()>>>,
}

/// One that waits for news of one stream; it stops waiting when it is dropped.
pub(crate) struct Subscription {
    news: watch::Receiver<()>,
    shutdown: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl StreamNews {
    /// For at most `max_subscriptions` at a time. Nothing runs before the first of them.
    pub fn new(pool: PgPool, max_subscriptions: usize, shutdown: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            pool,
            shutdown,
            slots: Arc::new(Semaphore::new(max_subscriptions.min(Semaphore::MAX_PERMITS))),
            max_entries: max_subscriptions.saturating_mul(2),
            started: Once::new(),
            waiting: Mutex::default(),
        }))
    }

    /// Waits for news of this stream from now on: read what there is after this call.
    pub fn subscribe(&self, stream_id: String) -> Result<Subscription, Problem> {
        let too_many = |_| Problem::unavailable("too_many_streams", "too many streams of updates are open");
        let slot = self.0.slots.clone().try_acquire_owned().map_err(too_many)?;
        let news = self.0.wait_for(stream_id);
        self.0.started.call_once(|| drop(tokio::spawn(watch_ledger(self.0.clone()))));
        Ok(Subscription { news, shutdown: self.0.shutdown.clone(), _slot: slot })
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
    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        // Every change is one call of the map, so a panic elsewhere cannot have left it half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, stream_id: String) -> watch::Receiver<()> {
        let mut waiting = self.lock();
        // While nothing happens nobody else forgets those who have gone.
        if waiting.len() >= self.max_entries {
            waiting.retain(|_, news| news.receiver_count() > 0);
        }
        waiting.entry(stream_id).or_default().subscribe()
    }

    /// The streams that somebody waits for; those whose last waiter has gone are forgotten.
    fn waited_for(&self) -> Vec<String> {
        let mut waiting = self.lock();
        waiting.retain(|_, news| news.receiver_count() > 0);
        waiting.keys().cloned().collect()
    }

    fn wake(&self, stream_ids: &[String]) {
        let waiting = self.lock();
        for news in stream_ids.iter().filter_map(|stream_id| waiting.get(stream_id)) {
            news.send_replace(());
        }
    }
}

async fn watch_ledger(shared: Arc<Shared>) {
    let (writer, mut head) = watch::channel(0);
    let follow = projections::head::follow(shared.pool.clone(), writer, HEAD_POLL, shared.shutdown.clone());
    tokio::spawn(follow);
    let mut seen = 0;
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            moved = head.wait_for(|head| *head > seen) => if moved.is_err() { return },
        }
        let upto = *head.borrow();
        match look(&shared, seen, upto).await {
            Ok(position) => seen = position,
            Err(error) => {
                tracing::debug!(%error, "news of streams wait for the database");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
        tokio::time::sleep(READ_PAUSE).await;
    }
}

/// Wakes whom the next range concerns; answers up to where everybody knows.
async fn look(shared: &Shared, seen: i64, upto: i64) -> Result<i64, event_store::StoreError> {
    let streams = shared.waited_for();
    if streams.is_empty() {
        // Whoever subscribes after this reads what there is, and that is at least up to here.
        return Ok(upto);
    }
    if seen == 0 {
        // The watcher has just begun: what came before is for everybody to read.
        shared.wake(&streams);
        return Ok(upto);
    }
    let upto = upto.min(seen + RANGE);
    let touched = read::touched_streams(&shared.pool, &streams, seen, upto).await?;
    shared.wake(&touched);
    Ok(upto)
}
