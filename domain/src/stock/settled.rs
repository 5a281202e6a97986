use imbl::{OrdMap, Vector};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{LockId, Quantity};

/// How many ended locks a stock remembers, to answer repeats; the oldest are forgotten first.
pub const SETTLED_LOCKS_REMEMBERED: usize = 10_000;

/// What became of a lock that is not live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Became {
    Deducted,
    Released,
    Lapsed,
    /// It was rolled back before it was granted.
    RolledBack,
    /// It was deducted, and its tickets came back.
    Returned,
}

/// A lock that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledLock {
    pub became: Became,
    /// How many tickets it held; `None` if it was never granted.
    pub quantity: Option<Quantity>,
}

/// The locks that ended last, oldest first; never more than [`SETTLED_LOCKS_REMEMBERED`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettledLocks {
    oldest_first: Vector<LockId>,
    by_id: OrdMap<LockId, SettledLock>,
}

impl SettledLocks {
    /// What became of this lock, if it is remembered.
    pub fn get(&self, lock_id: &LockId) -> Option<&SettledLock> {
        self.by_id.get(lock_id)
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether a lock that is not here may have been, and been forgotten.
    pub(super) fn may_have_forgotten(&self) -> bool {
        self.len() >= SETTLED_LOCKS_REMEMBERED
    }

    /// Remembers a lock's end. A lock known already keeps its place in the queue.
    pub(super) fn remember(&mut self, lock_id: LockId, settled: SettledLock) {
        if self.by_id.insert(lock_id.clone(), settled).is_some() {
            return;
        }
        self.oldest_first.push_back(lock_id);
        while self.oldest_first.len() > SETTLED_LOCKS_REMEMBERED {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }
}

/// One list of `[lockId, became, quantity]` in a snapshot: half the size of the queue beside the map.
impl Serialize for SettledLocks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.oldest_first.iter().filter_map(|lock_id| {
            let settled = self.by_id.get(lock_id)?;
            Some((lock_id, settled.became, settled.quantity))
        }))
    }
}

impl<'de> Deserialize<'de> for SettledLocks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Vec::<(LockId, Became, Option<Quantity>)>::deserialize(deserializer)?;
        let mut settled = Self::default();
        for (lock_id, became, quantity) in rows {
            settled.remember(lock_id, SettledLock { became, quantity });
        }
        Ok(settled)
    }
}
