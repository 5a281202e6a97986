//! Messages between the ledger and its consumers.
//!
//! - [`topic`], [`message`], [`envelope`]: what is sent, and on which lane, so that order holds per topic and key.
//! - [`broker`]: the port to a message broker; [`memory`] is the adapter for tests, the `rocketmq` crate the real one, and
//!   [`conformance`] what each of them must pass.
//! - [`handler`], [`runtime`]: how consumers work: gather, apply, acknowledge; retry; give up on one message without
//!   losing the order of its key.
//! - [`listen`]: what every process must hear for itself, such as news for a cache it holds.
//! - [`member`]: who of each group is alive.
//! - [`inbox`], [`dead_letter`]: what of that is remembered in Postgres. [`telemetry`]: its spans in a trace.
//!
//! Delivery is at least once. Effects happen once, because each consumer remembers the `messageId` in the transaction of
//! the effect.

pub mod broker;
pub mod conformance;
pub mod dead_letter;
pub mod envelope;
pub mod handler;
pub mod inbox;
pub mod listen;
pub mod member;
pub mod memory;
pub mod message;
pub mod metric;
pub mod received;
pub mod runtime;
pub mod telemetry;
pub mod topic;

pub use broker::{
    Broker, BrokerError, BrokerStatus, Consumer, Delivery, OutgoingMessage, Producer, QueueBacklog, QueueRef,
    SendError, property,
};
pub use envelope::{Envelope, outbox_message};
pub use handler::{DEFAULT_CONSUMER_GROUP, Effect, HandleError, Handler, consumer_group};
pub use memory::InMemoryBroker;
pub use message::MessageData;
pub use received::{INBOX_SCOPE_PREFIX, Poison, ReceivedMessage};
pub use runtime::{ConsumerRuntime, RuntimeConfig, RuntimeError, StepReport};
pub use topic::{LANES, QUEUES_PER_TOPIC, Topic, lane_of, lane_parts};
