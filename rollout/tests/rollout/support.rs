//! A database with a ledger, one kind of ticket on sale, and processes that follow the rollout.

use std::future::Future;
use std::time::Duration;

use domain::{Mode, Money, OrderId, Quantity, ShowId, TicketTypeId, UserId};
use event_store::{Ledger, LedgerConfig};
use processors::Policy;
use processors::audit::{self, RecordedAction};
use processors::catalogue::Catalogue;
use processors::commands::{self, Origin, PlaceOrder, PutOnSale};
use rollout::{Rollout, RolloutConfig, RolloutPolicy, Thresholds, Watcher};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

pub struct Shop {
    pub pool: PgPool,
    ledger: Ledger,
    _database: embedded_postgres::testing::TestDatabase,
}

impl Shop {
    pub async fn open(capacity: u32) -> Self {
        let database = embedded_postgres::testing::database();
        let pool = PgPoolOptions::new().max_connections(8).connect(&database.url).await.unwrap();
        event_store::migrate(&pool).await.unwrap();
        let ledger = Ledger::start(pool.clone(), LedgerConfig::default()).await.unwrap();
        let put_on_sale = PutOnSale {
            ticket_type_id: TicketTypeId::new(1).unwrap(),
            show_id: ShowId::new(1).unwrap(),
            name: "Stalls".to_owned(),
            price: Money::parse("149.50").unwrap(),
            capacity,
        };
        commands::put_ticket_type_on_sale(&ledger, Origin::default(), put_on_sale).await.unwrap();
        Self { pool, ledger, _database: database }
    }

    pub async fn place(&self, mode: Mode) -> OrderId {
        let request = PlaceOrder {
            user_id: UserId::new(12_345).unwrap(),
            show_id: ShowId::new(1).unwrap(),
            ticket_type_id: TicketTypeId::new(1).unwrap(),
            quantity: Quantity::new(1).unwrap(),
            mode,
        };
        let (catalogue, policy) = (Catalogue::new(), Policy::default());
        let placed = commands::place_order(&self.ledger, &catalogue, &policy, Origin::default(), request).await;
        placed.unwrap().value.order_id
    }

    /// Another process on the same database.
    pub async fn process(&self) -> (Rollout, Watcher) {
        self.process_with(|_| {}).await
    }

    pub async fn process_with(&self, change: impl FnOnce(&mut Thresholds)) -> (Rollout, Watcher) {
        let mut config = RolloutConfig::default();
        config.thresholds.recover_after_ms = 300;
        change(&mut config.thresholds);
        rollout::start(self.pool.clone(), config).await.unwrap()
    }

    /// As the relay reports it.
    pub async fn report_circuit(&self, state: &str) {
        sqlx::query(
            "INSERT INTO relay.circuit (dependency, state, changed_at, reported_by) \
             VALUES ('broker', $1, clock_timestamp(), 'test') \
             ON CONFLICT (dependency) DO UPDATE SET state = excluded.state, reported_at = clock_timestamp()",
        )
        .bind(state)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Oldest first.
    pub async fn actions(&self) -> Vec<RecordedAction> {
        let mut actions = audit::list(&self.pool, None, 100).await.unwrap();
        actions.reverse();
        actions
    }

    pub async fn action_names(&self) -> Vec<String> {
        self.actions().await.into_iter().map(|action| action.action).collect()
    }
}

pub fn policy(json: &str) -> RolloutPolicy {
    serde_json::from_str(json).unwrap()
}

/// How an order of anybody without groups is taken.
pub fn mode_of(rollout: &Rollout) -> Mode {
    rollout.assign(None, UserId::new(12_345).unwrap(), &[]).mode
}

/// Waits for a condition, no longer than this.
pub async fn within<F: Future<Output = bool>>(limit: Duration, mut condition: impl FnMut() -> F) {
    let until = tokio::time::Instant::now() + limit;
    while !condition().await {
        assert!(tokio::time::Instant::now() < until, "not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
