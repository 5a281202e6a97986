//! A shop on a database of its own, and a pump that carries messages from the outbox to the handlers in whatever order
//! a test wants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::fulfilment::FulfilmentStep;
use domain::order::PlacedOrder;
use domain::payment::PaymentStatus;
use domain::{
    Fulfilment, Mode, Money, Order, OrderId, OrderStatus, Payment, PaymentId, Quantity, ShowId, Stock, TicketTypeId,
    UserId,
};
use event_store::{CommandKey, Ledger, LedgerConfig, Metadata};
use messaging::{Effect, HandleError, Handler, ReceivedMessage, Topic};
use processors::Policy;
use processors::catalogue::Catalogue;
use processors::commands::{
    self, Cancellation, LockLapseKey, NewOrder, Origin, PlaceOrder, PutOnSale, Settlement, StartPayment, UseCaseError,
};
use processors::deadlines::{DeadlineConfig, DeadlineParts, DeadlineReport, DeadlineRunner};
use processors::handlers::{self, ProcessorParts};
use processors::payment_result::{PublicNames, ResultSender, ResultSenderConfig};
use processors::provider::{
    CallbackStatus, PaymentCallback, PaymentProvider, PaymentRequest, ProviderError, ProviderPayment, ProviderRefund,
    ProviderStatus,
};
use processors::senders::{Email, EmailSender, SendFailure, Sent, Sms, SmsSender};
use processors::stock_cache::{CachedStock, InProcessStockCache};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

pub const USER: i64 = 12345;
pub const SHOW: i64 = 1001;
pub const TICKET_TYPE: i64 = 2001;
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub async fn migrated_pool() -> PgPool {
    let database = embedded_postgres::testing::database();
    let pool = PgPoolOptions::new().max_connections(5).connect(&database.url).await.unwrap();
    event_store::migrate(&pool).await.unwrap();
    pool
}

/// One show with one kind of ticket, and everything that sells it.
pub struct Shop {
    pub pool: PgPool,
    pub ledger: Ledger,
    pub policy: Policy,
    pub provider: Arc<RecordingProvider>,
    pub senders: Arc<RecordingSenders>,
    pub parts: ProcessorParts,
    catalogue: Catalogue,
    pub handlers: Vec<Arc<dyn Handler>>,
    deadlines: DeadlineRunner,
    results: ResultSender,
    /// Messages that were taken from the outbox and not delivered yet, in the order they were written.
    waiting: Vec<ReceivedMessage>,
    taken_upto: i64,
}

fn deadline_runner(
    ledger: &Ledger,
    policy: &Policy,
    provider: &Arc<RecordingProvider>,
    results: &ResultSender,
) -> DeadlineRunner {
    DeadlineRunner::new(DeadlineParts {
        ledger: ledger.clone(),
        policy: policy.clone(),
        provider: provider.clone(),
        results: results.clone(),
        config: DeadlineConfig::default(),
    })
}

impl Shop {
    pub async fn open(capacity: u32) -> Self {
        Self::open_with(capacity, Policy::default()).await
    }

    pub async fn open_with(capacity: u32, policy: Policy) -> Self {
        Self::open_telling(capacity, policy, tells_nobody()).await
    }

    /// A shop that tells callbackUrls through this sender.
    pub async fn open_telling(capacity: u32, policy: Policy, results: ResultSender) -> Self {
        let pool = migrated_pool().await;
        let ledger = Ledger::start(pool.clone(), LedgerConfig::default()).await.unwrap();
        let provider = Arc::new(RecordingProvider::default());
        let senders = Arc::new(RecordingSenders::default());
        let mut parts = ProcessorParts::new(policy.clone(), provider.clone());
        parts.sms = senders.clone();
        parts.email = senders.clone();
        parts.stock_cache = Some(Arc::new(InProcessStockCache::new(60_000)));
        let put_on_sale = PutOnSale {
            ticket_type_id: TicketTypeId::new(TICKET_TYPE).unwrap(),
            show_id: ShowId::new(SHOW).unwrap(),
            name: "Stalls".to_owned(),
            price: Money::parse("149.50").unwrap(),
            capacity,
        };
        commands::put_ticket_type_on_sale(&ledger, Origin::default(), put_on_sale).await.unwrap();
        let deadlines = deadline_runner(&ledger, &policy, &provider, &results);
        Self {
            handlers: handlers::handlers(&ledger, &parts),
            catalogue: Catalogue::new(),
            deadlines,
            results,
            waiting: Vec::new(),
            taken_upto: 0,
            pool,
            ledger,
            policy,
            provider,
            senders,
            parts,
        }
    }

    // What people and the provider do.

    pub async fn place(&self, quantity: u32) -> OrderId {
        self.place_in(Mode::Async, quantity).await.order_id
    }

    pub async fn place_for(&self, user: i64, quantity: u32) -> OrderId {
        self.place_as(user, Mode::Async, quantity).await.order_id
    }

    pub async fn place_in(&self, mode: Mode, quantity: u32) -> NewOrder {
        self.place_as(USER, mode, quantity).await
    }

    async fn place_as(&self, user: i64, mode: Mode, quantity: u32) -> NewOrder {
        let request = PlaceOrder {
            user_id: UserId::new(user).unwrap(),
            show_id: ShowId::new(SHOW).unwrap(),
            ticket_type_id: TicketTypeId::new(TICKET_TYPE).unwrap(),
            quantity: Quantity::new(quantity).unwrap(),
            mode,
        };
        let origin = Origin::new(Metadata { mode: Some(mode), ..Metadata::default() });
        let placed = commands::place_order(&self.ledger, &self.catalogue, &self.policy, origin, request).await.unwrap();
        self.assert_stock_adds_up().await;
        placed.value
    }

    /// An order whose tickets are held.
    pub async fn place_and_lock(&mut self, quantity: u32) -> OrderId {
        let order_id = self.place(quantity).await;
        self.deliver_all().await;
        assert_eq!(self.status(&order_id).await, OrderStatus::AwaitingPayment);
        order_id
    }

    pub async fn pay(&self, order_id: &OrderId) -> Result<PaymentId, UseCaseError> {
        self.pay_telling(order_id, None).await
    }

    /// Pays, and wants this address to be told how it ended.
    pub async fn pay_telling(&self, order_id: &OrderId, address: Option<&str>) -> Result<PaymentId, UseCaseError> {
        let callback_url = address.map(str::to_owned);
        let request = StartPayment { payment_method: "ALIPAY".to_owned(), callback_url };
        let order = self.order(order_id).await;
        let started = commands::start_payment(&self.ledger, &self.policy, Origin::default(), &order, request).await?;
        self.assert_stock_adds_up().await;
        Ok(started.value.payment_id)
    }

    pub async fn call_back(
        &self,
        order_id: &OrderId,
        payment_id: &PaymentId,
        status: CallbackStatus,
    ) -> Result<Settlement, UseCaseError> {
        let callback = self.callback(order_id, payment_id, status).await;
        self.call_back_with(callback, None).await
    }

    pub async fn callback(
        &self,
        order_id: &OrderId,
        payment_id: &PaymentId,
        status: CallbackStatus,
    ) -> PaymentCallback {
        PaymentCallback {
            payment_id: payment_id.clone(),
            order_id: order_id.clone(),
            status,
            amount: self.order(order_id).await.total_amount,
            provider_reference: format!("ref-{payment_id}"),
            paid_time: 1_701_388_800_000,
        }
    }

    pub async fn call_back_with(
        &self,
        callback: PaymentCallback,
        webhook_id: Option<&str>,
    ) -> Result<Settlement, UseCaseError> {
        let mut origin = Origin::default();
        if let Some(webhook_id) = webhook_id {
            let key = CommandKey { scope: "webhook".to_owned(), key: webhook_id.to_owned(), request_hash: None };
            origin = origin.with_key(key);
        }
        let settled = commands::settle_payment(&self.ledger, &self.policy, origin, callback).await?;
        self.assert_stock_adds_up().await;
        Ok(settled.value)
    }

    pub async fn cancel(&self, order_id: &OrderId) -> Result<Cancellation, UseCaseError> {
        let order = self.order(order_id).await;
        let reason = "changed_my_mind".to_owned();
        let cancelled = commands::cancel_order(&self.ledger, &self.policy, Origin::default(), &order, reason).await?;
        Ok(cancelled.value)
    }

    // What the broker does.

    /// The messages that were written and not delivered yet, in order.
    pub async fn waiting(&mut self) -> &mut Vec<ReceivedMessage> {
        let rows: Vec<(i64, String, String, String, String, i64)> = sqlx::query_as(
            "SELECT o.position, o.topic, o.ordering_key, o.body, e.stream_id, e.version
             FROM store.outbox o JOIN store.events e USING (position)
             WHERE o.position > $1 ORDER BY o.position, o.n",
        )
        .bind(self.taken_upto)
        .fetch_all(&self.pool)
        .await
        .unwrap();
        for (position, topic, ordering_key, body, stream_id, version) in rows {
            let properties = HashMap::from([
                ("orderingKey".to_owned(), ordering_key),
                ("streamId".to_owned(), stream_id),
                ("streamVersion".to_owned(), version.to_string()),
                ("position".to_owned(), position.to_string()),
            ]);
            let message = ReceivedMessage::from_parts(&topic, body.as_bytes(), &properties).unwrap();
            self.waiting.push(message);
            self.taken_upto = self.taken_upto.max(position);
        }
        &mut self.waiting
    }

    /// Takes the waiting messages of one topic out of the queue.
    pub async fn take(&mut self, topic: Topic) -> Vec<ReceivedMessage> {
        self.waiting().await.extract_if(.., |message| message.topic == topic).collect()
    }

    /// The only waiting message of a topic.
    pub async fn take_one(&mut self, topic: Topic) -> ReceivedMessage {
        let mut messages = self.take(topic).await;
        assert_eq!(messages.len(), 1, "{topic} has {} messages", messages.len());
        messages.remove(0)
    }

    pub async fn deliver(&self, message: &ReceivedMessage) -> Result<Effect, HandleError> {
        self.deliver_batch(std::slice::from_ref(message)).await.remove(0)
    }

    /// Messages of one topic, as one batch.
    pub async fn deliver_batch(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        let topic = batch[0].topic;
        let handler = self.handlers.iter().find(|handler| handler.topics().contains(&topic)).unwrap();
        let outcomes = handler.handle(batch).await;
        self.assert_stock_adds_up().await;
        outcomes
    }

    /// Delivers until nothing is waiting; nothing may fail.
    pub async fn deliver_all(&mut self) {
        loop {
            let messages = std::mem::take(self.waiting().await);
            if messages.is_empty() {
                return;
            }
            for message in messages {
                let outcome = self.deliver(&message).await;
                assert!(outcome.is_ok(), "{} failed: {outcome:?}", message.topic);
            }
        }
    }

    // What the clock does.

    /// Makes every deadline of a kind due, and acts on it.
    pub async fn let_time_pass(&mut self, kind: &str) {
        self.make_due(kind).await;
        self.act_on_deadlines().await;
    }

    pub async fn make_due(&self, kind: &str) {
        sqlx::query("UPDATE store.deadline SET due_at = now() - interval '1 second' WHERE kind = $1")
            .bind(kind)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Lets an order's lock lapse, as its deadline would.
    pub async fn lapse(&self, order_id: &OrderId) {
        let order = self.order(order_id).await;
        let lock_id = order.lock_id.unwrap();
        let due_at = self.stock().await.locks[&lock_id].expires_at;
        let key = LockLapseKey { ticket_type_id: order.ticket_type_id, order_id: order_id.clone(), lock_id };
        commands::lapse_lock(&self.ledger, Origin::default(), key, due_at).await.unwrap();
        self.assert_stock_adds_up().await;
    }

    pub async fn act_on_deadlines(&mut self) -> usize {
        let report = self.deadlines.step().await.unwrap();
        assert_eq!((report.failed, report.is_standing_by), (0, false));
        self.assert_stock_adds_up().await;
        report.done
    }

    /// Acts on a deadline as a slow runner does: it may have been moved or taken away since it was read.
    pub async fn act_late(&self, kind: &'static str, key: String, due_at: DateTime<Utc>) -> DeadlineReport {
        self.deadlines.act_on(kind, key, due_at).await
    }

    pub async fn fail_deadlines(&mut self) {
        let report = self.deadlines.step().await.unwrap();
        assert_eq!((report.done, report.failed), (0, 1));
    }

    /// The kinds of the deadlines that are set, of whatever they are.
    pub async fn deadline_kinds(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT kind FROM store.deadline ORDER BY kind").fetch_all(&self.pool).await.unwrap()
    }

    pub async fn deadlines(&self, kind: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM store.deadline WHERE kind = $1")
            .bind(kind)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// The process dies, and another takes its place: what it had in memory is gone.
    pub async fn restart(&mut self) {
        self.ledger.close().await;
        self.ledger = Ledger::start(self.pool.clone(), LedgerConfig::default()).await.unwrap();
        // The lease of the dead one ends by itself; a test need not wait for it.
        sqlx::query("UPDATE store.lease SET expires_at = '-infinity'").execute(&self.pool).await.unwrap();
        self.handlers = handlers::handlers(&self.ledger, &self.parts);
        self.deadlines = deadline_runner(&self.ledger, &self.policy, &self.provider, &self.results);
    }

    // What can be seen.

    pub async fn order(&self, order_id: &OrderId) -> PlacedOrder {
        self.ledger.load::<Order>(order_id.as_str()).await.unwrap().state.placed.unwrap()
    }

    pub async fn status(&self, order_id: &OrderId) -> OrderStatus {
        self.order(order_id).await.status
    }

    pub async fn saga(&self, order_id: &OrderId) -> Option<FulfilmentStep> {
        self.ledger.load::<Fulfilment>(order_id.as_str()).await.unwrap().state.step()
    }

    pub async fn payment_status(&self, payment_id: &PaymentId) -> PaymentStatus {
        self.ledger.load::<Payment>(payment_id.as_str()).await.unwrap().state.status().unwrap()
    }

    pub async fn stock(&self) -> Stock {
        self.ledger.load::<Stock>(&TICKET_TYPE.to_string()).await.unwrap().state
    }

    pub async fn cached_stock(&self) -> CachedStock {
        let cache = self.parts.stock_cache.as_ref().unwrap();
        cache.get(TicketTypeId::new(TICKET_TYPE).unwrap()).await.unwrap().unwrap()
    }

    /// Available, locked, sold.
    pub async fn levels(&self) -> (u32, u32, u32) {
        let stock = self.stock().await;
        (stock.available, stock.locked, stock.sold)
    }

    pub async fn assert_stock_adds_up(&self) {
        let stock = self.stock().await;
        assert_eq!(stock.available + stock.locked + stock.sold, stock.capacity);
        assert_eq!(stock.locked, stock.locks.values().map(|lock| lock.quantity.get()).sum::<u32>());
    }

    pub async fn head(&self) -> i64 {
        event_store::read::head(&self.pool).await.unwrap()
    }
}

/// A provider that remembers what it was asked.
#[derive(Default)]
pub struct RecordingProvider {
    pub started: Mutex<Vec<PaymentId>>,
    pub refunded: Mutex<Vec<PaymentId>>,
    /// What it says of payments when asked; of others, that they are pending. `None`: it does not know them.
    pub says: Mutex<HashMap<PaymentId, Option<ProviderPayment>>>,
    pub is_down: std::sync::atomic::AtomicBool,
    pub refuses_refunds: std::sync::atomic::AtomicBool,
}

impl RecordingProvider {
    pub fn refunds(&self) -> Vec<PaymentId> {
        self.refunded.lock().unwrap().clone()
    }

    pub fn starts(&self) -> Vec<PaymentId> {
        self.started.lock().unwrap().clone()
    }

    /// From now on it says this of the payment, without having called back.
    pub fn say(&self, payment_id: &PaymentId, status: ProviderStatus) {
        self.says.lock().unwrap().insert(payment_id.clone(), Some(provider_payment(payment_id, status)));
    }

    /// Says that another amount was taken than was asked for.
    pub fn say_captured(&self, payment_id: &PaymentId, amount: &str) {
        let amount = Some(Money::parse(amount).unwrap());
        let payment = ProviderPayment { amount, ..provider_payment(payment_id, ProviderStatus::Succeeded) };
        self.says.lock().unwrap().insert(payment_id.clone(), Some(payment));
    }

    /// Our call to start the payment has never reached it.
    pub fn forget(&self, payment_id: &PaymentId) {
        self.says.lock().unwrap().insert(payment_id.clone(), None);
    }

    pub fn go_away(&self) {
        self.is_down.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    pub fn come_back(&self) {
        self.is_down.store(false, std::sync::atomic::Ordering::SeqCst);
    }

    fn reachable(&self) -> Result<(), ProviderError> {
        if self.is_down.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(ProviderError::Unavailable("out for lunch".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl PaymentProvider for RecordingProvider {
    async fn start(&self, payment: &PaymentRequest) -> Result<ProviderPayment, ProviderError> {
        self.reachable()?;
        self.started.lock().unwrap().push(payment.payment_id.clone());
        Ok(provider_payment(&payment.payment_id, ProviderStatus::Pending))
    }

    async fn query(&self, payment_id: &PaymentId) -> Result<ProviderPayment, ProviderError> {
        self.reachable()?;
        match self.says.lock().unwrap().get(payment_id) {
            Some(Some(payment)) => Ok(payment.clone()),
            Some(None) => Err(ProviderError::Refused { status: 404, message: "no such payment".to_owned() }),
            None => Ok(provider_payment(payment_id, ProviderStatus::Pending)),
        }
    }

    async fn refund(&self, payment_id: &PaymentId, amount: Money) -> Result<ProviderRefund, ProviderError> {
        self.reachable()?;
        if self.refuses_refunds.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(ProviderError::Refused { status: 422, message: "account closed".to_owned() });
        }
        self.refunded.lock().unwrap().push(payment_id.clone());
        Ok(ProviderRefund {
            payment_id: payment_id.clone(),
            amount,
            provider_reference: format!("refund-{payment_id}"),
        })
    }
}

pub fn provider_payment(payment_id: &PaymentId, status: ProviderStatus) -> ProviderPayment {
    ProviderPayment {
        payment_id: payment_id.clone(),
        status,
        provider_reference: format!("ref-{payment_id}"),
        amount: None,
        paid_time: None,
    }
}

/// Senders that remember what they sent.
#[derive(Default)]
pub struct RecordingSenders {
    pub sms: Mutex<Vec<(String, String)>>,
    pub email: Mutex<Vec<(String, String)>>,
}

#[async_trait]
impl SmsSender for RecordingSenders {
    async fn send(&self, sms: &Sms) -> Result<Sent, SendFailure> {
        self.sms.lock().unwrap().push((sms.phone.clone(), sms.body.clone()));
        Ok(Sent { provider_reference: sms.idempotency_key.clone() })
    }
}

#[async_trait]
impl EmailSender for RecordingSenders {
    async fn send(&self, email: &Email) -> Result<Sent, SendFailure> {
        self.email.lock().unwrap().push((email.email.clone(), email.subject.clone()));
        Ok(Sent { provider_reference: email.idempotency_key.clone() })
    }
}

pub fn code(error: &UseCaseError) -> &'static str {
    error.code().unwrap_or_else(|| panic!("not a refusal: {error}"))
}

/// A sender that may call nobody.
pub fn tells_nobody() -> ResultSender {
    install_crypto();
    ResultSender::new(ResultSenderConfig::new(SECRET), Arc::new(PublicNames)).unwrap()
}

pub fn install_crypto() {
    // Another test of this process may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
}
