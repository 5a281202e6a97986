//! The broker port of `messaging`, spoken with RocketMQ (Apache's 5.x, or the Rust broker of `embedded-broker`).
//!
//! The client library has habits that would cost messages or minutes. Each is dealt with in one place here, and has a
//! test in `tests/brokers/traps.rs`:
//!
//! | habit of the client | dealt with in |
//! |---|---|
//! | two live clients with one instance name lose sends | [`engine`]: a name is never given twice |
//! | after 5 failures a client refuses for 30 s | [`reconnect`], [`producer`], [`consumer`]: a failed client is replaced |
//! | consumers stay silent 20 s after a broker's return | [`cluster`]: the broker's port is watched, consumers rebuilt |
//! | `"A \|\| B"` subscribes to nothing | [`consumer`]: tags are joined without blanks |
//! | a start without a name server says Ok | [`RocketMqBroker::is_reachable`](messaging::Broker::is_reachable), and every call is bounded |
//! | errors hide their cause | [`failure`]: the chain of sources is read |
//! | `msg_id` differs between sends of one message | never read: only the envelope's `messageId` counts |
//! | pulls that wait at the broker hold up a shutdown, and its queues | [`engine`]: a client is ended by its runtime, which waits for no pull |
//! | twenty pulls at a time, however many queues | [`consumer`]: one pull for each queue |
//! | the route of a new topic is not known at once | [`producer`]: asked again, and the brokers asked whether the topic exists |
//! | a commit returns nothing | [`admin`]: offsets are written by a call that is answered |

// The client's futures nest deeper than the compiler's default allows.
#![recursion_limit = "512"]

mod admin;
mod batch;
mod broker;
mod cluster;
mod config;
mod consumer;
mod engine;
mod failure;
mod producer;
mod reconnect;
mod traffic;

pub use broker::RocketMqBroker;
pub use config::{ConfigError, Credentials, RocketMqConfig};
pub use traffic::register_metrics;
