//! Building states from snapshots and events.

/// A stream's state as of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<A> {
    /// The folded events.
    pub state: A,
    /// How many events that were; 0 when the stream does not exist.
    pub version: u64,
    /// Position of the last of them; 0 when the stream does not exist.
    pub position: i64,
}
