use std::sync::Arc;

use async_trait::async_trait;
use messaging::{Effect, HandleError, Handler, ReceivedMessage, Topic};

use crate::stock_cache::StockCache;

/// Keeps this process's stock cache current. It writes nothing, and versions tell old news from new, so it needs no
/// inbox.
pub struct CacheHandler {
    cache: Arc<StockCache>,
}

impl CacheHandler {
    /// A handler that fills this cache.
    pub fn new(cache: Arc<StockCache>) -> Self {
        Self { cache }
    }
}

#[async_trait]
impl Handler for CacheHandler {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::StockSync]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        let offer = |message: &ReceivedMessage| {
            let is_new = self.cache.offer(message.decode()?);
            Ok(if is_new { Effect::Applied } else { Effect::Duplicate })
        };
        batch.iter().map(offer).collect()
    }
}
