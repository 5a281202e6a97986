//! The HTTP interface: commands in, the ledger's and the read models' state out.
//!
//! A handler reads and checks its request, calls one use case or one query, and shapes the answer. What it refuses
//! leaves as a [`Problem`].

mod admin;
mod answer;
pub mod auth;
mod cancellation;
mod contacts;
mod event_stream;
mod extract;
mod fields;
mod health;
mod http_metrics;
mod idempotency;
mod limits;
mod live;
mod moment;
mod notifications;
mod openapi;
mod orders;
mod payment_callback;
mod payments;
mod pin;
mod problem;
mod rate_limit;
mod refusals;
mod request_context;
mod router;
mod server;
mod state;
mod stock;
mod ticket_types;
mod waiters;

pub use admin::lag::LagBody;
pub use idempotency::IDEMPOTENCY_SCOPE_PREFIX;
pub use payment_callback::WEBHOOK_SCOPE_PREFIX;
pub use problem::{Problem, ProblemBody};
pub use rate_limit::RateLimit;
pub use router::router;
pub use server::{run, serve};
pub use state::{ApiConfig, ApiError, ApiParts, ApiState, ConsumerGroup, MetricsText};

/// Puts the metrics of this interface there from the start. The use cases count themselves.
pub fn register_metrics() {
    payment_callback::register_metrics();
    stock::register_metrics();
    router::register_metrics();
}
