//! The stock that this process last heard of: quick to read, and possibly behind the ledger.

use std::collections::HashMap;
use std::sync::RwLock;

use domain::TicketTypeId;
use messaging::message::StockSync;

/// Stock per ticket type, kept current by `stock-sync` messages. It holds one entry per ticket type on sale.
#[derive(Default)]
pub struct StockCache {
    stock: RwLock<HashMap<TicketTypeId, StockSync>>,
}

impl StockCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is known of a ticket type's stock.
    pub fn get(&self, ticket_type_id: TicketTypeId) -> Option<StockSync> {
        self.read().get(&ticket_type_id).cloned()
    }

    /// Takes in news; older or known news changes nothing. Returns whether it was new.
    pub fn offer(&self, news: StockSync) -> bool {
        let mut stock = self.stock.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let known = stock.get(&news.ticket_type_id).map(|known| known.stream_version);
        let is_new = known.is_none_or(|version| version < news.stream_version);
        if is_new {
            stock.insert(news.ticket_type_id, news);
        }
        is_new
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<TicketTypeId, StockSync>> {
        // Every write is one insert, so a panic elsewhere cannot have left it half done.
        self.stock.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use domain::ShowId;

    use super::*;

    fn news(version: u64, available: u32) -> StockSync {
        StockSync {
            ticket_type_id: TicketTypeId::new(2001).unwrap(),
            show_id: ShowId::new(1001).unwrap(),
            capacity: 10,
            available,
            locked: 10 - available,
            sold: 0,
            stream_version: version,
            sync_time: 0,
        }
    }

    #[test]
    fn shuffled_and_repeated_news_leave_the_newest() {
        let cache = StockCache::new();
        let accepted: Vec<bool> =
            [news(2, 8), news(1, 10), news(3, 7), news(3, 7), news(2, 8)].into_iter().map(|n| cache.offer(n)).collect();
        assert_eq!(accepted, [true, false, true, false, false]);
        assert_eq!(cache.get(TicketTypeId::new(2001).unwrap()).unwrap().available, 7);
    }
}
