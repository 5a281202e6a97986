//! What taking several messages into one transaction gains: the order processor on new orders, by batch size.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use domain::{Mode, Money, Quantity, ShowId, TicketTypeId, UserId};
use event_store::{Ledger, LedgerConfig};
use messaging::{
    Broker, ConsumerRuntime, InMemoryBroker, OutgoingMessage, QUEUES_PER_TOPIC, RuntimeConfig, Topic, lane_parts,
};
use processors::Policy;
use processors::catalogue::Catalogue;
use processors::commands::{self, Origin, PlaceOrder, PutOnSale};
use processors::handlers::OrderHandler;
use sqlx::PgPool;
use uuid::Uuid;

use crate::database::settle;
use crate::load::Sample;
use crate::{BenchDatabase, Report};

const BATCH_SIZES: [usize; 4] = [1, 32, 128, 512];
const BASELINE: usize = 1;
const ORDERS_PLACED_AT_ONCE: usize = 1_000;
const TICKET_TYPE: i64 = 2_001;
const SHOW: i64 = 1_001;

#[derive(Debug, Clone, Copy)]
pub struct ConsumeBench {
    pub messages: usize,
    pub rounds: usize,
}

impl ConsumeBench {
    pub async fn run(self, server_url: &str) -> anyhow::Result<Report> {
        let database = BenchDatabase::create(server_url).await?;
        let samples = self.all_rounds(&database).await;
        database.drop().await?;
        let mut samples = samples?;
        let title = format!("consume: {} new orders, median of {} rounds", self.messages, self.rounds);
        let mut report = Report::new(title);
        for size in BATCH_SIZES {
            report.add(&name(size), &samples.remove(&size).unwrap_or_default());
        }
        for size in BATCH_SIZES.into_iter().filter(|size| *size != BASELINE) {
            report.compare(&name(size), &name(BASELINE), 1.0);
        }
        report
            .note("The broker is in memory and acknowledges at once: with a real one a small batch costs more still.");
        Ok(report)
    }

    async fn all_rounds(self, database: &BenchDatabase) -> anyhow::Result<HashMap<usize, Vec<Sample>>> {
        let pool = database.pool(16).await?;
        event_store::migrate(&pool).await?;
        let ledger = Ledger::start(pool.clone(), LedgerConfig::default()).await?;
        let shop = Shop::open(pool, ledger).await?;
        let mut samples: HashMap<usize, Vec<Sample>> = HashMap::new();
        for _ in 0..self.rounds {
            for size in BATCH_SIZES {
                samples.entry(size).or_default().push(shop.drain(self.messages, size).await?);
            }
        }
        shop.ledger.close().await;
        Ok(samples)
    }
}

fn name(size: usize) -> String {
    match size {
        1 => "a message a transaction".to_owned(),
        size => format!("up to {size} messages a transaction"),
    }
}

struct Shop {
    pool: PgPool,
    ledger: Ledger,
    catalogue: Catalogue,
    policy: Policy,
}

impl Shop {
    async fn open(pool: PgPool, ledger: Ledger) -> anyhow::Result<Self> {
        let put_on_sale = PutOnSale {
            ticket_type_id: TicketTypeId::new(TICKET_TYPE)?,
            show_id: ShowId::new(SHOW)?,
            name: "Stalls".to_owned(),
            price: Money::parse("149.50")?,
            capacity: 1_000_000,
        };
        commands::put_ticket_type_on_sale(&ledger, Origin::default(), put_on_sale).await?;
        Ok(Self { pool, ledger, catalogue: Catalogue::new(), policy: Policy::default() })
    }

    /// Places so many orders, and times how their messages are worked on.
    async fn drain(&self, messages: usize, batch_size: usize) -> anyhow::Result<Sample> {
        let from = event_store::read::head(&self.pool).await?;
        for first in (0..messages).step_by(ORDERS_PLACED_AT_ONCE) {
            let count = ORDERS_PLACED_AT_ONCE.min(messages - first);
            futures_util::future::try_join_all((0..count).map(|_| self.place())).await?;
        }
        let broker = self.sent_after(from).await?;
        settle(&self.pool).await?;
        let handler = Arc::new(OrderHandler::new(self.ledger.clone(), self.policy.clone()));
        let config = RuntimeConfig { max_batch_messages: batch_size, ..RuntimeConfig::default() };
        let mut consumer = ConsumerRuntime::new(Arc::new(broker), self.pool.clone(), handler, config);
        let started = Instant::now();
        let mut applied = 0;
        while applied < messages {
            applied += consumer.step().await?.applied;
        }
        Ok(Sample { per_second: messages as f64 / started.elapsed().as_secs_f64(), ..Sample::default() })
    }

    async fn place(&self) -> anyhow::Result<()> {
        let request = PlaceOrder {
            user_id: UserId::new(12_345)?,
            show_id: ShowId::new(SHOW)?,
            ticket_type_id: TicketTypeId::new(TICKET_TYPE)?,
            quantity: Quantity::new(1)?,
            mode: Mode::Async,
        };
        commands::place_order(&self.ledger, &self.catalogue, &self.policy, Origin::default(), request).await?;
        Ok(())
    }

    /// What the relay would have sent of the orders placed since then.
    async fn sent_after(&self, position: i64) -> anyhow::Result<InMemoryBroker> {
        let broker = InMemoryBroker::default();
        let names = Topic::ALL.map(Topic::name);
        broker.create_topics(&names, QUEUES_PER_TOPIC).await?;
        let producer = broker.producer().await?;
        let rows: Vec<(i16, String, String, String, Uuid, String)> =
            sqlx::query_as(include_str!("../sql/new_order_messages.sql"))
                .bind(position)
                .bind(Topic::OrderCreate.name())
                .fetch_all(&self.pool)
                .await?;
        for (lane, ordering_key, business_id, event_type, message_id, body) in rows {
            let Some((topic, queue)) = lane_parts(lane) else { continue };
            let properties = Vec::new();
            let message = OutgoingMessage { message_id, business_id, event_type, ordering_key, body, properties };
            producer.send(topic.name(), queue, &[message]).await?;
        }
        Ok(broker)
    }
}
