//! A running API on a database of its own, and short ways to ask it things.

mod answer;
mod event_stream;
mod processing;
mod provider;
mod request;

use std::sync::Arc;
use std::time::Duration;

use api::auth::{Role, TokenKey, mint_token};
use api::{ApiConfig, ApiParts, ApiState, ConsumerGroup};
use axum::Router;
use axum::response::Response;
use domain::{Mode, UserId};
use event_store::{Ledger, LedgerConfig};
use futures_util::FutureExt;
use processors::stock_cache::{InProcessStockCache, StockCache};
use rollout::{InstanceMode, Rollout, RolloutConfig, RolloutPolicy};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub use answer::Answer;
pub use event_stream::EventStream;
pub use provider::{Settling, TestProvider};
pub use request::{Call, delete, get, post, put};

pub const CALLBACK_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub const SHOW: i64 = 7;
pub const TICKET_TYPE: i64 = 42;
pub const USER: i64 = 12345;
pub const OTHER_USER: i64 = 99;

pub struct TestApi {
    pub pool: PgPool,
    pub ledger: Ledger,
    pub state: ApiState,
    pub rollout: Rollout,
    pub provider: Arc<TestProvider>,
    pub shutdown: CancellationToken,
    router: Router,
    key: TokenKey,
    _database: embedded_postgres::testing::TestDatabase,
}

impl TestApi {
    pub async fn start() -> Self {
        Self::start_with(ApiConfig::default()).await
    }

    pub async fn start_with(config: ApiConfig) -> Self {
        Self::start_as(config, InstanceMode::Policy).await
    }

    /// As an instance that is configured to take orders in one mode.
    pub async fn start_as(config: ApiConfig, instance: InstanceMode) -> Self {
        Self::start_on(config, instance, Arc::new(InProcessStockCache::new(60_000)), Vec::new()).await
    }

    /// With consumers that the API knows of.
    pub async fn start_with_consumers(config: ApiConfig, consumers: Vec<ConsumerGroup>) -> Self {
        Self::start_on(config, InstanceMode::Policy, Arc::new(InProcessStockCache::new(60_000)), consumers).await
    }

    pub async fn start_with_cache(stock_cache: Arc<dyn StockCache>) -> Self {
        Self::start_on(ApiConfig::default(), InstanceMode::Policy, stock_cache, Vec::new()).await
    }

    async fn start_on(
        config: ApiConfig,
        instance: InstanceMode,
        stock_cache: Arc<dyn StockCache>,
        consumers: Vec<ConsumerGroup>,
    ) -> Self {
        let database = embedded_postgres::testing::database();
        let pool = PgPoolOptions::new().max_connections(5).connect(&database.url).await.unwrap();
        event_store::migrate(&pool).await.unwrap();
        let ledger = Ledger::start(pool.clone(), LedgerConfig::default()).await.unwrap();
        let key = TokenKey::from_secret(&[7; 32]).unwrap();
        let provider = Arc::new(TestProvider::new(ledger.clone()));
        let rollout_config = RolloutConfig { instance, ..RolloutConfig::default() };
        let (rollout, watcher) = rollout::start(pool.clone(), rollout_config).await.unwrap();
        let shutdown = CancellationToken::new();
        // It ends with the test's runtime.
        tokio::spawn(watcher.run(shutdown.clone()));
        let parts = ApiParts {
            ledger: ledger.clone(),
            queries: pool.clone(),
            token_key: key.clone(),
            payment_callback_secret: CALLBACK_SECRET.to_owned(),
            provider: provider.clone(),
            rollout: rollout.clone(),
            broker: None,
            stock_cache,
            consumers,
            metrics_text: Arc::new(|| async { "ledger_commands_total 0\n".to_owned() }.boxed()),
            shutdown: shutdown.clone(),
        };
        let state = ApiState::new(parts, config).unwrap();
        let router = api::router(state.clone());
        Self { router, pool, ledger, state, shutdown, rollout, provider, key, _database: database }
    }

    /// The same with one ticket type on sale: 100 tickets at 299.00.
    pub async fn with_stock() -> Self {
        let api = Self::start().await;
        api.put_on_sale(TICKET_TYPE, 100).await;
        api
    }

    pub async fn put_on_sale(&self, ticket_type: i64, capacity: i64) {
        let body =
            json!({"showId": SHOW, "ticketTypeId": ticket_type, "name": "Stalls", "price": 299, "capacity": capacity});
        let answer = self.call(post("/v1/ticket-types").admin().json(&body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    pub fn token(&self, user: i64, roles: &[Role], groups: &[String]) -> String {
        self.token_for(user, roles, groups, Duration::from_secs(60))
    }

    pub fn token_for(&self, user: i64, roles: &[Role], groups: &[String], life: Duration) -> String {
        mint_token(&self.key, UserId::new(user).unwrap(), roles, groups, life).unwrap()
    }

    pub async fn call(&self, call: Call) -> Answer {
        Answer::read(self.respond(call).await).await
    }

    /// The answer before its body, which may go on for long.
    pub async fn respond(&self, call: Call) -> Response {
        let request = call.into_request(|user, roles, groups| self.token(user, roles, groups));
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Places an order of `quantity` tickets for [`USER`] and returns its id.
    pub async fn place_order(&self, key: &str) -> String {
        let answer = self.call(post("/v1/orders").user(USER).key(key).json(&order_body())).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.body["orderId"].as_str().unwrap().to_owned()
    }

    /// Changes the policy, and waits until this process follows it.
    pub async fn follow(&self, policy: Value) {
        let wanted: RolloutPolicy = serde_json::from_value(policy).unwrap();
        rollout::store::put(&self.pool, "test", &wanted, None).await.unwrap();
        while self.rollout.in_force().policy != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Has every new order decided in its request.
    pub async fn everybody_sync(&self) {
        self.follow(json!({"mode": Mode::Sync})).await;
    }

    /// How many events the ledger holds: refused requests must not change it.
    pub async fn events(&self) -> i64 {
        event_store::read::head(&self.pool).await.unwrap()
    }
}

/// Two tickets for [`USER`].
pub fn order_body() -> Value {
    json!({"userId": USER, "showId": SHOW, "ticketTypeId": TICKET_TYPE, "quantity": 2})
}
