//! The database's clock, carried on between its answers by this machine's steady one, so that decisions of all
//! processes share one time and a wrong wall clock here does no harm.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

pub(crate) struct DatabaseClock {
    last: Mutex<(Instant, DateTime<Utc>)>,
}

impl DatabaseClock {
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        Self { last: Mutex::new((Instant::now(), now)) }
    }

    /// Postgres has just said what time it is.
    pub(crate) fn set(&self, now: DateTime<Utc>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), now);
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        let (heard_at, then) = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        then + TimeDelta::from_std(heard_at.elapsed()).unwrap_or_default()
    }
}
