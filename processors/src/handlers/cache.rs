use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;
use domain::TicketTypeId;
use messaging::{Effect, HandleError, Handler, Poison, ReceivedMessage, Topic};

use crate::stock_cache::{CachedStock, StockCache};

/// Keeps a shared stock cache current. Versions tell old news from new, so it needs no inbox.
pub struct CacheHandler {
    cache: Arc<dyn StockCache>,
}

impl CacheHandler {
    /// A handler that fills this cache.
    pub fn new(cache: Arc<dyn StockCache>) -> Self {
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
        let oldest = Utc::now().timestamp_millis().saturating_sub_unsigned(self.cache.ttl_ms());
        let told: Vec<_> = batch.iter().map(|message| told_since(oldest, message)).collect();
        let newest = newest(&told);
        let was_new = match self.cache.offer(&newest).await {
            Ok(was_new) => was_new,
            Err(away) => return told.into_iter().map(|told| waiting(told, &away.to_string())).collect(),
        };
        let new: Vec<&CachedStock> =
            newest.iter().zip(was_new).filter(|(_, was_new)| *was_new).map(|(stock, _)| stock).collect();
        let effect = |stock: &Option<CachedStock>| match stock {
            Some(stock) if new.contains(&stock) => Effect::Applied,
            _ => Effect::Duplicate,
        };
        told.iter().map(|told| told.as_ref().map(effect).map_err(|poison| poison.clone().into())).collect()
    }
}

/// Old news, of a backlog or a replay, would be kept as long as if it had just happened.
fn told_since(oldest_ms: i64, message: &ReceivedMessage) -> Result<Option<CachedStock>, Poison> {
    let told = CachedStock::told_by(message)?;
    Ok(told.filter(|_| message.timestamp >= oldest_ms))
}

/// The last word of a batch on each ticket type: what came before it need not be written.
fn newest(told: &[Result<Option<CachedStock>, Poison>]) -> Vec<CachedStock> {
    let mut newest: HashMap<TicketTypeId, &CachedStock> = HashMap::new();
    for stock in told.iter().flatten().flatten() {
        let known = newest.entry(stock.ticket_type_id).or_insert(stock);
        if known.version < stock.version {
            *known = stock;
        }
    }
    newest.into_values().cloned().collect()
}

fn waiting(told: Result<Option<CachedStock>, Poison>, reason: &str) -> Result<Effect, HandleError> {
    told.map_err(HandleError::from)?;
    Err(HandleError::Transient(reason.to_owned()))
}
