use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::TicketTypeId;

use super::{CacheUnavailable, CachedStock, StockCache};

/// More ticket types than this are answered by the ledger.
const MAX_ENTRIES: usize = 100_000;

/// A cache of this process alone.
pub struct InProcessStockCache {
    ttl: Duration,
    entries: RwLock<HashMap<TicketTypeId, Entry>>,
}

struct Entry {
    stock: CachedStock,
    heard_at: Instant,
}

impl InProcessStockCache {
    /// An empty cache that forgets what it has not heard of for so long.
    pub fn new(ttl_ms: u64) -> Self {
        Self { ttl: Duration::from_millis(ttl_ms), entries: RwLock::default() }
    }

    fn get_at(&self, id: TicketTypeId, now: Instant) -> Option<CachedStock> {
        // Every write is one insert, so a panic elsewhere cannot have left it half done.
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(&id)?;
        (now.saturating_duration_since(entry.heard_at) < self.ttl).then(|| entry.stock.clone())
    }

    fn offer_at(&self, news: &CachedStock, now: Instant) -> bool {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        match entries.get_mut(&news.ticket_type_id) {
            Some(known) if known.stock.version > news.version => false,
            Some(known) => {
                let is_new = known.stock.version < news.version;
                *known = Entry { stock: news.clone(), heard_at: now };
                is_new
            }
            None => {
                if entries.len() >= MAX_ENTRIES {
                    entries.retain(|_, entry| now.saturating_duration_since(entry.heard_at) < self.ttl);
                }
                if entries.len() < MAX_ENTRIES {
                    entries.insert(news.ticket_type_id, Entry { stock: news.clone(), heard_at: now });
                }
                true
            }
        }
    }
}

#[async_trait]
impl StockCache for InProcessStockCache {
    fn ttl_ms(&self) -> u64 {
        u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX)
    }

    async fn get(&self, id: TicketTypeId) -> Result<Option<CachedStock>, CacheUnavailable> {
        Ok(self.get_at(id, Instant::now()))
    }

    async fn offer(&self, news: &[CachedStock]) -> Result<Vec<bool>, CacheUnavailable> {
        let now = Instant::now();
        Ok(news.iter().map(|news| self.offer_at(news, now)).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn id() -> TicketTypeId {
        TicketTypeId::new(2001).unwrap()
    }

    fn news(version: i64, available: i64) -> CachedStock {
        let locked = 10 - available;
        CachedStock { ticket_type_id: id(), capacity: 10, available, locked, sold: 0, version, position: 100 + version }
    }

    #[test]
    fn shuffled_and_repeated_news_leave_the_newest() {
        let (cache, now) = (InProcessStockCache::new(1_000), Instant::now());
        let news = [news(2, 8), news(1, 10), news(3, 7), news(3, 7), news(2, 8)];
        let was_new = news.each_ref().map(|news| cache.offer_at(news, now));
        assert_eq!(was_new, [true, false, true, false, false]);
        assert_eq!(cache.get_at(id(), now).unwrap().available, 7);
    }

    #[test]
    fn what_was_not_heard_of_for_a_while_is_forgotten_but_never_replaced_by_older_news() {
        let (cache, now) = (InProcessStockCache::new(1_000), Instant::now());
        let later = now + Duration::from_millis(1_500);
        cache.offer_at(&news(2, 8), now);
        assert_eq!(cache.get_at(id(), later), None);
        assert!(!cache.offer_at(&news(1, 10), later));
        assert_eq!(cache.get_at(id(), later), None);
        assert!(!cache.offer_at(&news(2, 8), later), "it is the same news");
        assert_eq!(cache.get_at(id(), later).unwrap().version, 2);
    }
}
