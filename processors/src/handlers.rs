//! The consumers that decide. Each turns a message into one command whose append also holds the message's id, so that a
//! message delivered again has no second effect.
//!
//! A batch is submitted in order before the first outcome is awaited: its commands are decided in that order and
//! committed together. Messages of one order bear each other's absence (a rollback before its lock is remembered, a
//! deduct before its lock is tried again), so one that fails holds up no other of its batch here; those that come later
//! wait, as with any handler.

mod cache;
mod delivery;
mod inbox;

mod notification;
mod order;
mod payment;
mod replay;
mod stock;

use std::sync::Arc;
use std::time::Duration;

use event_store::Ledger;
use messaging::Handler;

use crate::policy::Policy;
use crate::provider::PaymentProvider;
use crate::senders::{EmailSender, LogOnly, SmsSender};
use crate::stock_cache::StockCache;

pub use cache::CacheHandler;
pub use delivery::{EmailHandler, Patience, SmsHandler};
pub use notification::NotificationHandler;
pub use order::OrderHandler;
pub use payment::PaymentHandler;
pub use replay::QUIET_ON_REPLAY;
pub use stock::StockHandler;

/// The names of all processors: consumer groups, and the values of `order-ledger process --role`.
pub const NAMES: [&str; 7] = ["order", "stock", "payment", "notification", "sms", "email", "cache"];

/// What the processors need besides the ledger.
#[derive(Clone)]
pub struct ProcessorParts {
    pub policy: Policy,
    pub provider: Arc<dyn PaymentProvider>,
    pub sms: Arc<dyn SmsSender>,
    pub email: Arc<dyn EmailSender>,
    /// Kept current by the `cache` processor; none where each process keeps its own.
    pub stock_cache: Option<Arc<dyn StockCache>>,
    /// How many calls to providers outside one processor has under way at a time.
    pub max_concurrent_calls: usize,
    /// How old a text or a mail may get that its provider puts off, before it counts as failed.
    pub give_up_after: Duration,
}

impl ProcessorParts {
    /// The defaults: senders that only log.
    pub fn new(policy: Policy, provider: Arc<dyn PaymentProvider>) -> Self {
        Self {
            policy,
            provider,
            sms: Arc::new(LogOnly),
            email: Arc::new(LogOnly),
            stock_cache: None,
            max_concurrent_calls: 32,
            give_up_after: Duration::from_secs(4 * 3_600),
        }
    }
}

/// The processor of this name; `None` if there is none, or what it works on is not there.
pub fn handler(name: &str, ledger: &Ledger, parts: &ProcessorParts) -> Option<Arc<dyn Handler>> {
    let ledger = ledger.clone();
    let calls = parts.max_concurrent_calls;
    let patience = Patience { max_concurrent_calls: calls, give_up_after: parts.give_up_after };
    Some(match name {
        "order" => Arc::new(OrderHandler::new(ledger, parts.policy.clone())),
        "stock" => Arc::new(StockHandler::new(ledger)),
        "payment" => Arc::new(PaymentHandler::new(ledger, parts.provider.clone(), calls)),
        "notification" => Arc::new(NotificationHandler::new(ledger)),
        "sms" => Arc::new(SmsHandler::new(ledger, parts.sms.clone(), patience)),
        "email" => Arc::new(EmailHandler::new(ledger, parts.email.clone(), patience)),
        "cache" => Arc::new(CacheHandler::new(parts.stock_cache.clone()?)),
        _ => return None,
    })
}

/// All processors, in the order of [`NAMES`].
pub fn handlers(ledger: &Ledger, parts: &ProcessorParts) -> Vec<Arc<dyn Handler>> {
    NAMES.iter().filter_map(|name| handler(name, ledger, parts)).collect()
}
