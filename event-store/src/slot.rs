//! The state of one stream while a batch works on it.

use std::sync::Arc;

use crate::cache::CachedState;
use crate::stream::{StreamKind, StreamState};

pub(crate) struct StreamSlot {
    pub(crate) stream_id: Arc<str>,
    pub(crate) kind: &'static StreamKind,
    pub(crate) state: Box<dyn StreamState>,
    /// Version of `state`.
    pub(crate) version: u64,
    /// Version in the ledger that `state` was built on: what the append expects.
    pub(crate) base_version: u64,
    /// Position of the event at `base_version`; 0 when there is none.
    pub(crate) position: i64,
    /// The state at `base_version`, kept from the first change of the batch on.
    base: Option<Box<dyn StreamState>>,
    /// Read from the ledger for this batch, not taken from the cache.
    pub(crate) fresh: bool,
    /// To be brought up to the ledger before the batch is decided.
    pub(crate) load: bool,
    /// An append showed, or may have shown, that the ledger holds something else than is known here.
    pub(crate) suspect: bool,
    /// Events the batch has appended.
    appended: u64,
    /// The stream holds an event this program cannot read.
    pub(crate) unreadable: Option<String>,
}

impl StreamSlot {
    /// A stream of which nothing is known.
    pub(crate) fn empty(stream_id: Arc<str>, kind: &'static StreamKind) -> Self {
        let nothing = CachedState { state: (kind.empty)(), version: 0, position: 0, suspect: false };
        Self::cached(stream_id, kind, nothing)
    }

    /// A stream this process has not seen: to be loaded, unless it is about to begin.
    pub(crate) fn unknown(stream_id: Arc<str>, kind: &'static StreamKind, begins: bool) -> Self {
        Self { load: !begins, ..Self::empty(stream_id, kind) }
    }

    pub(crate) fn cached(stream_id: Arc<str>, kind: &'static StreamKind, cached: CachedState) -> Self {
        let CachedState { state, version, position, suspect } = cached;
        Self {
            stream_id,
            kind,
            state,
            version,
            base_version: version,
            position,
            base: None,
            fresh: false,
            load: suspect,
            suspect,
            appended: 0,
            unreadable: None,
        }
    }

    pub(crate) fn into_cached(self) -> (Arc<str>, CachedState) {
        let Self { stream_id, state, version, position, suspect, .. } = self;
        (stream_id, CachedState { state, version, position, suspect })
    }

    pub(crate) fn forget_everything(&mut self) {
        self.restore((self.kind.empty)(), 0, 0);
    }

    pub(crate) fn restore(&mut self, state: Box<dyn StreamState>, version: u64, position: i64) {
        self.state = state;
        self.version = version;
        self.base_version = version;
        self.position = position;
    }

    /// Applies an event of the ledger.
    pub(crate) fn catch_up(&mut self, version: u64, position: i64, event: StoredEvent<'_>) {
        let StoredEvent { event_type, schema_version, payload } = event;
        match self.state.apply_stored(event_type, schema_version, payload) {
            Ok(()) => {
                self.version = version;
                self.base_version = version;
                self.position = position;
            }
            Err(reason) => {
                self.unreadable = Some(format!("{event_type} v{schema_version} at position {position}: {reason}"));
            }
        }
    }

    pub(crate) fn keep_base(&mut self) {
        self.base = Some(self.state.clone_box());
    }

    pub(crate) fn has_base(&self) -> bool {
        self.base.is_some()
    }

    pub(crate) fn drop_base(&mut self) {
        self.base = None;
    }

    /// A decision may be answered at once if all it saw is what the ledger held when the batch was loaded.
    pub(crate) fn is_verified(&self) -> bool {
        self.fresh && self.base.is_none()
    }

    /// Back to the state before the batch, which is still a true prefix of the stream.
    pub(crate) fn roll_back(&mut self) {
        if let Some(base) = self.base.take() {
            self.state = base;
            self.version = self.base_version;
        }
    }

    /// The batch's changes are in the ledger now; called with the position of each of its events in turn.
    pub(crate) fn commit(&mut self, position: i64) {
        self.base = None;
        self.base_version = self.version;
        self.position = position;
        self.appended += 1;
    }

    /// Whether the batch brought the stream past a multiple of so many events.
    pub(crate) fn has_grown_past(&self, every: u64) -> bool {
        every > 0 && self.base_version / every > (self.base_version - self.appended) / every
    }
}

/// An event as the ledger holds it, as far as folding needs it.
pub(crate) struct StoredEvent<'a> {
    pub(crate) event_type: &'a str,
    pub(crate) schema_version: i16,
    pub(crate) payload: &'a str,
}
