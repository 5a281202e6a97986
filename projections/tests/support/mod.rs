//! A ledger with orders, stock and notifications in it, and a relay of a few lines.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Channel, LockId, Mode, Money, Notification, NotificationCommand, NotificationId, Order, OrderCommand, OrderId,
    OrderStatus, Payment, PaymentCommand, PaymentId, Quantity, ShowId, Stock, StockCommand, TicketTypeId, UserId,
};
use event_store::{Command, Ledger, LedgerConfig, Metadata, UnitOfWork};
use messaging::message::{OrderStatusUpdate, StockSync, UserNotification};
use messaging::{Broker, OutgoingMessage, QUEUES_PER_TOPIC, Topic, lane_parts, outbox_message, property};
use projections::{Checkpoints, Projector, ProjectorConfig, ReadModel, RebuildConfig, Rebuilder};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

pub const TICKET_TYPE: i64 = 7;
pub const TOPICS: [Topic; 3] = [Topic::OrderStatusUpdate, Topic::StockSync, Topic::UserNotification];

pub struct World {
    pub pool: PgPool,
    pub ledger: Ledger,
    numbers: AtomicU64,
}

impl World {
    /// An empty ledger.
    pub async fn new() -> Self {
        let database = tokio::task::spawn_blocking(embedded_postgres::testing::database).await.unwrap();
        let pool = PgPoolOptions::new().max_connections(16).connect(&database.url).await.unwrap();
        event_store::migrate(&pool).await.unwrap();
        let ledger = Ledger::start(pool.clone(), LedgerConfig::default()).await.unwrap();
        Self { pool, ledger, numbers: AtomicU64::new(1) }
    }

    /// A ledger with one ticket type on sale.
    pub async fn selling(capacity: u32) -> Self {
        let world = Self::new().await;
        world.put_on_sale(TICKET_TYPE, capacity).await;
        world
    }

    pub fn projector<M: ReadModel>(&self) -> Projector<M> {
        self.projector_with(ProjectorConfig::default())
    }

    pub fn projector_with<M: ReadModel>(&self, config: ProjectorConfig) -> Projector<M> {
        Projector::new(self.pool.clone(), Checkpoints::new(self.pool.clone()), config)
    }

    pub fn rebuilder(&self) -> Rebuilder {
        Rebuilder::new(self.pool.clone(), RebuildConfig::default())
    }

    pub async fn head(&self) -> i64 {
        event_store::read::head(&self.pool).await.unwrap()
    }

    pub async fn put_on_sale(&self, ticket_type: i64, capacity: u32) {
        let id = TicketTypeId::new(ticket_type).unwrap();
        let put = StockCommand::PutOnSale {
            ticket_type_id: id,
            show_id: ShowId::new(3).unwrap(),
            name: "Stalls".to_owned(),
            price: Money::parse("99.50").unwrap(),
            capacity,
        };
        let stream = id.to_string();
        self.run(Command::new(Metadata::default()).begin::<Stock>(&stream), move |unit| {
            unit.handle::<Stock>(&stream, put.clone()).unwrap();
            publish_stock(unit, &stream);
        })
        .await;
    }

    /// An order of two tickets, not looked at by anybody yet.
    pub async fn place(&self, user: i64) -> OrderId {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let order_id = OrderId::parse(&format!("ORD20241201{number:06}")).unwrap();
        let placed = OrderCommand::Place {
            order_id: order_id.clone(),
            user_id: UserId::new(user).unwrap(),
            show_id: ShowId::new(3).unwrap(),
            ticket_type_id: TicketTypeId::new(TICKET_TYPE).unwrap(),
            quantity: Quantity::new(2).unwrap(),
            total_amount: Money::parse("199.00").unwrap(),
            order_time: time(),
            expire_time: time() + TimeDelta::minutes(15),
            mode: Mode::Async,
        };
        let id = order_id.clone();
        self.run(Command::new(Metadata::default()).begin::<Order>(id.as_str()), move |unit| {
            unit.handle::<Order>(id.as_str(), placed.clone()).unwrap();
            publish_status(unit, &id);
        })
        .await;
        order_id
    }

    /// Tickets held for the order.
    pub async fn hold(&self, order_id: &OrderId) {
        let (order_id, lock_id) = (order_id.clone(), lock_of(order_id));
        self.on_order_and_stock(&order_id.clone(), move |unit, stock| {
            let lock = StockCommand::Lock {
                lock_id: lock_id.clone(),
                order_id: order_id.clone(),
                quantity: Quantity::new(2).unwrap(),
                expires_at: time(),
            };
            unit.handle::<Stock>(stock, lock).unwrap();
            publish_stock(unit, stock);
            let hold = OrderCommand::HoldStock { lock_id: lock_id.clone(), lock_expires_at: time() };
            unit.handle::<Order>(order_id.as_str(), hold).unwrap();
            publish_status(unit, &order_id);
        })
        .await;
    }

    /// The held order paid for: requested, captured, deducted, confirmed.
    pub async fn pay(&self, order_id: &OrderId) {
        let (order_id, lock_id, payment_id) = (order_id.clone(), lock_of(order_id), payment_of(order_id));
        self.on_order_and_stock(&order_id.clone(), move |unit, stock| {
            let order = order_id.as_str();
            let start = OrderCommand::StartPayment {
                payment_id: payment_id.clone(),
                payment_method: "CARD".to_owned(),
                lock_id: lock_id.clone(),
            };
            unit.handle::<Order>(order, start).unwrap();
            request_and_capture(unit, &order_id, &payment_id);
            let capture = OrderCommand::CapturePayment {
                payment_id: payment_id.clone(),
                amount: Money::parse("199.00").unwrap(),
                lock_id: Some(lock_id.clone()),
            };
            unit.handle::<Order>(order, capture).unwrap();
            unit.handle::<Stock>(stock, StockCommand::Secure { lock_id: lock_id.clone() }).unwrap();
            unit.handle::<Stock>(stock, StockCommand::Deduct { lock_id: lock_id.clone() }).unwrap();
            publish_stock(unit, stock);
            unit.handle::<Order>(order, OrderCommand::Confirm { lock_id: lock_id.clone() }).unwrap();
            publish_status(unit, &order_id);
        })
        .await;
    }

    /// The user wants it no more; held tickets go back.
    pub async fn cancel(&self, order_id: &OrderId) {
        let (order_id, lock_id) = (order_id.clone(), lock_of(order_id));
        self.on_order_and_stock(&order_id.clone(), move |unit, stock| {
            let release = StockCommand::Release { lock_id: lock_id.clone(), reason: "cancelled".to_owned() };
            unit.handle::<Stock>(stock, release).unwrap();
            publish_stock(unit, stock);
            unit.handle::<Order>(order_id.as_str(), OrderCommand::Cancel { reason: "changed my mind".to_owned() })
                .unwrap();
            publish_status(unit, &order_id);
        })
        .await;
    }

    /// A notification requested, and sent by SMS; the e-mail fails.
    pub async fn notify(&self, order_id: &OrderId, user: i64) -> NotificationId {
        let notification_id = NotificationId::from(Uuid::now_v7());
        let (order_id, id) = (order_id.clone(), notification_id.to_string());
        self.run(Command::new(Metadata::default()).begin::<Notification>(&id.clone()), move |unit| {
            let request = NotificationCommand::Request {
                notification_id,
                user_id: UserId::new(user).unwrap(),
                order_id: order_id.clone(),
                template: "order_confirmed".to_owned(),
                title: "Your tickets".to_owned(),
                body: "Two in the stalls".to_owned(),
            };
            unit.handle::<Notification>(&id, request).unwrap();
            publish_notification(unit, &id, user, &order_id);
            for command in [
                NotificationCommand::Dispatch { channels: vec![Channel::Sms, Channel::Email] },
                NotificationCommand::RecordSent { channel: Channel::Sms, provider_reference: "sms-1".to_owned() },
                NotificationCommand::RecordFailed { channel: Channel::Email, reason: "no such box".to_owned() },
            ] {
                unit.handle::<Notification>(&id, command).unwrap();
            }
        })
        .await;
        notification_id
    }

    /// A few orders in every state this file can bring about, with their notifications.
    pub async fn some_orders(&self, rounds: i64) -> Vec<OrderId> {
        let mut orders = Vec::new();
        for round in 0..rounds {
            let user = 1 + round % 5;
            let [pending, held, paid, cancelled] =
                [self.place(user).await, self.place(user).await, self.place(user).await, self.place(user).await];
            self.hold(&held).await;
            self.hold(&paid).await;
            self.hold(&cancelled).await;
            self.pay(&paid).await;
            self.cancel(&cancelled).await;
            self.notify(&paid, user).await;
            orders.extend([pending, held, paid, cancelled]);
        }
        orders
    }

    /// An event that no command of ours would write, put at the end of the ledger by hand.
    pub async fn forge(&self, stream_id: &str, version: i64, event_type: &str, payload: &str) -> i64 {
        let mut transaction = self.pool.begin().await.unwrap();
        let position = event_store::read::head(&mut *transaction).await.unwrap() + 1;
        sqlx::query(
            "insert into store.events values ($1, $2, $3, gen_random_uuid(), $4, 1, $5::json, '{}', clock_timestamp(),
             sha256(''))",
        )
        .bind(position)
        .bind(stream_id)
        .bind(version)
        .bind(event_type)
        .bind(payload)
        .execute(&mut *transaction)
        .await
        .unwrap();
        sqlx::query(
            "insert into store.ledger_batch (last_position, first_position, batch_id, hash, refused, recorded_at)
             values ($1, $1, gen_random_uuid(), sha256(''), '{}', clock_timestamp())",
        )
        .bind(position)
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.commit().await.unwrap();
        position
    }

    /// What is in the outbox, as a relay would send it.
    pub async fn outbox(&self) -> Vec<(Topic, u16, OutgoingMessage)> {
        let rows: Vec<OutboxRow> = sqlx::query_as(
            "select o.lane, o.message_id, o.business_id, o.event_type, o.ordering_key, o.body, e.stream_id, e.version,
             e.position from store.outbox o join store.events e using (position) order by o.lane, o.position, o.n",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        rows.into_iter().map(OutboxRow::outgoing).collect()
    }

    pub async fn message_ids(&self, topic: Topic) -> Vec<Uuid> {
        self.outbox().await.into_iter().filter(|sent| sent.0 == topic).map(|sent| sent.2.message_id).collect()
    }

    /// Sends everything in the outbox to the broker.
    pub async fn relay(&self, broker: &dyn Broker) {
        let names = TOPICS.map(|topic| topic.name());
        broker.create_topics(&names, QUEUES_PER_TOPIC).await.unwrap();
        let producer = broker.producer().await.unwrap();
        for (topic, queue, message) in self.outbox().await {
            producer.send(topic.name(), queue, &[message]).await.unwrap();
        }
    }

    async fn on_order_and_stock(
        &self,
        order_id: &OrderId,
        mut work: impl FnMut(&mut UnitOfWork<'_>, &str) + Send + 'static,
    ) {
        let stock = TICKET_TYPE.to_string();
        let payment = payment_of(order_id);
        let command = Command::new(Metadata::default())
            .read::<Order>(order_id.as_str())
            .read::<Stock>(&stock)
            .read::<Payment>(payment.as_str());
        self.run(command, move |unit| work(unit, &stock)).await;
    }

    async fn run(&self, command: Command, mut work: impl FnMut(&mut UnitOfWork<'_>) + Send + 'static) {
        let decide = move |unit: &mut UnitOfWork<'_>| {
            work(unit);
            Ok(())
        };
        self.ledger.execute(command, decide).await.unwrap();
    }
}

#[derive(sqlx::FromRow)]
struct OutboxRow {
    lane: i16,
    message_id: Uuid,
    business_id: String,
    event_type: String,
    ordering_key: String,
    body: String,
    stream_id: String,
    version: i64,
    position: i64,
}

impl OutboxRow {
    fn outgoing(self) -> (Topic, u16, OutgoingMessage) {
        let (topic, queue) = lane_parts(self.lane).unwrap();
        let message = OutgoingMessage {
            message_id: self.message_id,
            business_id: self.business_id,
            event_type: self.event_type,
            ordering_key: self.ordering_key,
            body: self.body,
            properties: vec![
                (property::STREAM_ID, self.stream_id),
                (property::STREAM_VERSION, self.version.to_string()),
                (property::POSITION, self.position.to_string()),
            ],
        };
        (topic, queue, message)
    }
}

/// Waits until it holds; a test that waits for ever fails instead.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(tokio::time::Instant::now() < patience, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn lock_of(order_id: &OrderId) -> LockId {
    LockId::parse(&order_id.as_str().replace("ORD", "LOCK")).unwrap()
}

pub fn payment_of(order_id: &OrderId) -> PaymentId {
    PaymentId::parse(&order_id.as_str().replace("ORD", "PAY")).unwrap()
}

fn time() -> DateTime<Utc> {
    // Finer than Postgres keeps it: rows and folds must agree all the same.
    DateTime::from_timestamp_nanos(1_733_011_200_123_456_789)
}

fn request_and_capture(unit: &mut UnitOfWork<'_>, order_id: &OrderId, payment_id: &PaymentId) {
    let amount = Money::parse("199.00").unwrap();
    let request = PaymentCommand::Request {
        payment_id: payment_id.clone(),
        order_id: order_id.clone(),
        user_id: UserId::new(1).unwrap(),
        payment_method: "CARD".to_owned(),
        amount,
        callback_url: None,
    };
    unit.handle::<Payment>(payment_id.as_str(), request).unwrap();
    let capture = PaymentCommand::Capture { amount, provider_reference: "p-1".to_owned(), paid_time: time() };
    unit.handle::<Payment>(payment_id.as_str(), capture).unwrap();
}

fn publish_status(unit: &mut UnitOfWork<'_>, order_id: &OrderId) {
    let order = unit.state::<Order>(order_id.as_str()).unwrap().placed.clone().unwrap();
    let update = OrderStatusUpdate {
        order_id: order_id.clone(),
        user_id: order.user_id,
        from_status: None::<OrderStatus>,
        to_status: order.status,
        reason: order.reason,
        change_time: time().timestamp_millis(),
    };
    let message = outbox_message(unit.new_id(), unit.now(), &update);
    unit.publish(message).unwrap();
}

fn publish_stock(unit: &mut UnitOfWork<'_>, stream: &str) {
    let stock = unit.state::<Stock>(stream).unwrap().clone();
    let stream_version = unit.version::<Stock>(stream).unwrap();
    let sync = StockSync {
        ticket_type_id: TicketTypeId::parse(stream).unwrap(),
        show_id: ShowId::new(3).unwrap(),
        capacity: stock.capacity,
        available: stock.available,
        locked: stock.locked,
        sold: stock.sold,
        stream_version,
        sync_time: time().timestamp_millis(),
    };
    let message = outbox_message(unit.new_id(), unit.now(), &sync);
    unit.publish(message).unwrap();
}

fn publish_notification(unit: &mut UnitOfWork<'_>, id: &str, user: i64, order_id: &OrderId) {
    let data = UserNotification {
        notification_id: NotificationId::parse(id).unwrap(),
        user_id: UserId::new(user).unwrap(),
        order_id: order_id.clone(),
        template: "order_confirmed".to_owned(),
        title: "Your tickets".to_owned(),
        body: "Two in the stalls".to_owned(),
        channels: vec![Channel::Sms, Channel::Email],
    };
    let message = outbox_message(unit.new_id(), unit.now(), &data);
    unit.publish(message).unwrap();
}
