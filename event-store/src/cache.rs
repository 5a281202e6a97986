//! States this process has folded lately. Events never change, so a cached state is always a true prefix of its stream:
//! it can be behind, never wrong, and catching up means applying what is newer.

use std::collections::HashMap;
use std::sync::Arc;

use crate::stream::StreamState;

pub(crate) struct CachedState {
    pub(crate) state: Box<dyn StreamState>,
    pub(crate) version: u64,
    /// Position of the event at `version`.
    pub(crate) position: i64,
    /// Known or feared not to be what the ledger holds: load before using it.
    pub(crate) suspect: bool,
}

/// Two generations: what is used moves to the young one, and when that is full the old one is forgotten. So the cache
/// holds between half its bound and its bound, and finding the least recently used costs nothing.
pub(crate) struct StateCache {
    young: HashMap<Arc<str>, CachedState>,
    old: HashMap<Arc<str>, CachedState>,
    max_per_generation: usize,
}

impl StateCache {
    pub(crate) fn new(max_streams: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), max_per_generation: (max_streams / 2).max(1) }
    }

    /// Takes the state out; whoever works on it puts it back.
    pub(crate) fn take(&mut self, stream_id: &str) -> Option<CachedState> {
        self.young.remove(stream_id).or_else(|| self.old.remove(stream_id))
    }

    pub(crate) fn put(&mut self, stream_id: Arc<str>, state: CachedState) {
        if self.young.len() >= self.max_per_generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(stream_id, state);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::stream::StreamKind;

    #[test]
    fn keeps_what_is_used_and_forgets_the_rest() {
        let state = || CachedState {
            state: (StreamKind::of::<domain::Order>().empty)(),
            version: 1,
            position: 1,
            suspect: false,
        };
        let mut cache = StateCache::new(4);
        cache.put("hot".into(), state());
        for cold in 0..20 {
            cache.put(format!("cold-{cold}").into(), state());
            let hot = cache.take("hot").expect("used all the time");
            cache.put("hot".into(), hot);
        }
        assert!(cache.take("cold-0").is_none());
        assert!(cache.young.len() + cache.old.len() <= 4);
    }
}
