//! What the handlers share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use event_store::Ledger;
use futures_util::future::BoxFuture;
use messaging::{Broker, Handler, Topic};
use processors::Policy;
use processors::catalogue::Catalogue;
use processors::circuit::CircuitBoard;
use processors::payment_result::AllowedHosts;
use processors::provider::{self, PaymentProvider};
use processors::stock_cache::StockCache;
use projections::Checkpoints;
use rollout::Rollout;
use sqlx::PgPool;
use standardwebhooks::Webhook;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use watch::{Consumer, LagMonitor};

use crate::admin::updates::Pulse;
use crate::auth::TokenKey;
use crate::live::StreamNews;
use crate::notifications::NotificationNews;
use crate::rate_limit::{RateLimit, RateLimiter};

/// Limits and addresses of the HTTP interface. Units are in the names.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Larger bodies are answered 413.
    pub max_body_bytes: usize,
    /// A request that takes longer is answered 503; its command may still be carried out.
    pub request_timeout_ms: u64,
    /// Requests worked on at once; more are answered 503 at once.
    pub max_in_flight_requests: usize,
    /// How long a shutdown waits for the requests under way.
    pub shutdown_grace_ms: u64,
    /// Streams of server-sent events open at once; more are answered 503 at once.
    pub max_update_streams: usize,
    /// How often a silent stream says that it is alive, before a proxy takes it for dead.
    pub update_heartbeat_ms: u64,
    /// Events that a query of the past folds for somebody who is not staff; one that needs more is answered 422.
    pub max_past_events: i64,
    /// Between two samples of the history.
    pub history_interval: Duration,
    /// Without a step for so long, a saga is shown as stuck.
    pub saga_stuck_after_seconds: u64,
    /// None: no limit.
    pub rate_limit: Option<RateLimit>,
    /// Tickets in one order.
    pub max_quantity: u32,
    /// The times and switches of the business.
    pub policy: Policy,
    /// Who may be told how a payment ended; a `callbackUrl` elsewhere is answered 422.
    pub result_callback_hosts: AllowedHosts,
    /// How long the payment of a sync order is waited for before it is answered 202.
    pub sync_payment_wait_ms: u64,
    /// Payments of sync orders that are waited for at once, and no more than half of the requests in flight, so that the
    /// callbacks they wait for come through. Further ones are answered 202 and asked for by their deadline.
    pub max_waiting_payments: usize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1024,
            request_timeout_ms: 15_000,
            max_in_flight_requests: 1_024,
            shutdown_grace_ms: 20_000,
            max_update_streams: 1_000,
            update_heartbeat_ms: 15_000,
            max_past_events: 50_000,
            history_interval: Duration::from_secs(10),
            saga_stuck_after_seconds: 120,
            rate_limit: None,
            max_quantity: 10,
            policy: Policy::default(),
            result_callback_hosts: AllowedHosts::default(),
            sync_payment_wait_ms: 5_000,
            max_waiting_payments: 512,
        }
    }
}

/// The text of `/metrics`; the process that owns the recorder supplies it.
pub type MetricsText = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// What the API works on.
pub struct ApiParts {
    pub ledger: Ledger,
    /// For queries: a pool of their own, so that no list can keep the ledger from its connections.
    pub queries: PgPool,
    pub token_key: TokenKey,
    /// `whsec_…`, shared with the payment provider.
    pub payment_callback_secret: String,
    /// Asked for the payments of sync orders.
    pub provider: Arc<dyn PaymentProvider>,
    /// Says which orders are sync.
    pub rollout: Rollout,
    /// Only asked whether it is there; None where nobody knows.
    pub broker: Option<Arc<dyn Broker>>,
    /// Read by stock queries, and by nothing that decides.
    pub stock_cache: Arc<dyn StockCache>,
    /// All there are, wherever they run: their lag is reported, and dead letters of those with a handler can be redriven.
    pub consumers: Vec<ConsumerGroup>,
    pub metrics_text: MetricsText,
    /// Ends what would go on for ever: streams of updates.
    pub shutdown: CancellationToken,
}

/// A consumer of messages.
#[derive(Clone)]
pub struct ConsumerGroup {
    pub name: &'static str,
    /// What it is called on the broker.
    pub group: String,
    pub topics: &'static [Topic],
    /// Applies redriven dead letters; None where that needs the consumer's own process.
    pub handler: Option<Arc<dyn Handler>>,
}

/// Why the API can't start.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("the payment callback secret is not a base64 `whsec_…` value")]
    CallbackSecret,
    #[error("serving HTTP failed: {0}")]
    Serve(#[from] std::io::Error),
}

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

/// The parts, and what is made of them once.
pub struct Shared {
    pub(crate) config: ApiConfig,
    pub(crate) ledger: Ledger,
    pub(crate) queries: PgPool,
    pub(crate) token_key: TokenKey,
    pub(crate) callback_webhook: Webhook,
    pub(crate) provider: Arc<dyn PaymentProvider>,
    pub(crate) rollout: Rollout,
    pub(crate) provider_circuit: CircuitBoard,
    pub(crate) broker: Option<Arc<dyn Broker>>,
    pub(crate) lag: LagMonitor,
    pub(crate) stock_cache: Arc<dyn StockCache>,
    pub(crate) metrics_text: MetricsText,
    pub(crate) in_flight: Semaphore,
    pub(crate) waiting_payments: Semaphore,
    pub(crate) rate_limiter: Option<RateLimiter>,
    pub(crate) catalogue: Catalogue,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) consumers: Vec<ConsumerGroup>,
    pub(crate) notification_news: NotificationNews,
    pub(crate) news: StreamNews,
    pub(crate) pulse: Pulse,
}

impl ApiState {
    /// Checks what can be wrong before the first request.
    pub fn new(parts: ApiParts, config: ApiConfig) -> Result<Self, ApiError> {
        let callback_webhook = Webhook::new(&parts.payment_callback_secret).map_err(|_| ApiError::CallbackSecret)?;
        Ok(Self(Arc::new(Shared {
            in_flight: Semaphore::new(config.max_in_flight_requests.min(Semaphore::MAX_PERMITS)),
            waiting_payments: Semaphore::new(config.max_waiting_payments.min(config.max_in_flight_requests / 2)),
            rate_limiter: config.rate_limit.map(RateLimiter::new),
            catalogue: Catalogue::new(),
            checkpoints: Checkpoints::new(parts.queries.clone()),
            provider_circuit: CircuitBoard::new(parts.queries.clone(), provider::DEPENDENCY),
            lag: LagMonitor::new(parts.queries.clone(), parts.broker.clone(), watched(&parts.consumers)),
            consumers: parts.consumers,
            notification_news: NotificationNews::new(
                parts.queries.clone(),
                config.max_update_streams,
                parts.shutdown.clone(),
            ),
            news: StreamNews::new(parts.queries.clone(), config.max_update_streams, parts.shutdown.clone()),
            pulse: Pulse::new(config.max_update_streams, parts.shutdown),
            ledger: parts.ledger,
            queries: parts.queries,
            token_key: parts.token_key,
            callback_webhook,
            provider: parts.provider,
            rollout: parts.rollout,
            broker: parts.broker,
            stock_cache: parts.stock_cache,
            metrics_text: parts.metrics_text,
            config,
        })))
    }
}

fn watched(consumers: &[ConsumerGroup]) -> Vec<Consumer> {
    let watched =
        |group: &ConsumerGroup| Consumer { name: group.name, group: group.group.clone(), topics: group.topics };
    consumers.iter().map(watched).collect()
}

impl Deref for ApiState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
