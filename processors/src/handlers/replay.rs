//! What a replay must not do again.

use messaging::{Effect, ReceivedMessage};

/// The consumers that call others: to them a copy says nothing, so no replay brings what they missed.
pub const QUIET_ON_REPLAY: [&str; 3] = ["payment", "sms", "email"];

/// Whether this consumer is one of them. Its runtime acknowledges copies unread.
pub fn is_quiet(consumer: &str) -> bool {
    QUIET_ON_REPLAY.contains(&consumer)
}

/// A replay rebuilds what shows, and tells nobody outside a second time: no money is asked for, no phone rings, no mail goes
/// out. Nothing is written down either, so that the message itself, should it still be on its way, has its effect.
pub fn quiet(message: &ReceivedMessage) -> Option<Effect> {
    message.replay.then_some(Effect::Duplicate)
}
