//! Who waits for news of what: a bounded number, each woken when there is some.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;

/// Those who wait, by what they wait for.
pub(crate) struct Waiters<K> {
    shutdown: CancellationToken,
    slots: Arc<Semaphore>,
    /// Twice what the slots allow, so that looking for those who have gone is rare.
    max_entries: usize,
    waiting: Mutex<HashMap<K, watch::Sender<()>>>,
}

/// One that waits; it stops waiting when it is dropped.
pub(crate) struct Subscription {
    news: watch::Receiver<()>,
    shutdown: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl<K: Clone + Eq + Hash> Waiters<K> {
    /// For at most `max_subscriptions` at a time.
    pub fn new(max_subscriptions: usize, shutdown: CancellationToken) -> Self {
        Self {
            shutdown,
            slots: Arc::new(Semaphore::new(max_subscriptions.min(Semaphore::MAX_PERMITS))),
            max_entries: max_subscriptions.saturating_mul(2),
            waiting: Mutex::default(),
        }
    }

    /// Waits for news of this from now on.
    pub fn subscribe(&self, key: K) -> Result<Subscription, Problem> {
        let too_many = |_| Problem::unavailable("too_many_streams", "too many streams of updates are open");
        let slot = self.slots.clone().try_acquire_owned().map_err(too_many)?;
        let mut waiting = self.lock();
        // While nothing happens nobody else forgets those who have gone.
        if waiting.len() >= self.max_entries {
            waiting.retain(|_, news| news.receiver_count() > 0);
        }
        let news = waiting.entry(key).or_default().subscribe();
        Ok(Subscription { news, shutdown: self.shutdown.clone(), _slot: slot })
    }

    /// What somebody waits for; that whose last waiter has gone is forgotten.
    pub fn waited_for(&self) -> Vec<K> {
        let mut waiting = self.lock();
        waiting.retain(|_, news| news.receiver_count() > 0);
        waiting.keys().cloned().collect()
    }

    pub fn wake(&self, keys: &[K]) {
        let waiting = self.lock();
        for news in keys.iter().filter_map(|key| waiting.get(key)) {
            news.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, watch::Sender<()>>> {
        // Every change is one call of the map, so a panic elsewhere cannot have left it half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
