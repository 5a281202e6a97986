//! Sync orders: the same decisions, each step in the append of the request, and nothing for the broker to carry but news.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::fulfilment::FulfilmentStep;
use domain::{Mode, Money, OrderId, OrderStatus, PaymentId, Quantity, ShowId, TicketTypeId, UserId};
use event_store::{CommandError, CommandKey, Ledger, Metadata};
use messaging::Topic;
use processors::Policy;
use processors::catalogue::Catalogue;
use processors::commands::{
    self, Cancellation, NewOrder, NewPayment, Origin, PlaceOrder, Settlement, StartPayment, UseCaseError,
};
use processors::provider::{
    CallbackStatus, PaymentCallback, PaymentProvider, PaymentRequest, ProviderError, ProviderPayment, ProviderRefund,
    ProviderStatus,
};
use processors::sync_payment::{SyncOutcome, ask_and_wait};

use crate::support::{SHOW, Shop, TICKET_TYPE, USER};

const NEWS: [Topic; 3] = [Topic::OrderStatusUpdate, Topic::StockSync, Topic::UserNotification];

#[tokio::test]
async fn a_sync_order_holds_its_tickets_when_it_is_answered() {
    let mut shop = Shop::open(10).await;
    let before = shop.head().await;
    let order = shop.place_in(Mode::Sync, 2).await;
    assert_eq!(order.status, OrderStatus::AwaitingPayment);
    assert_eq!(shop.status(&order.order_id).await, OrderStatus::AwaitingPayment);
    assert_eq!(shop.saga(&order.order_id).await, Some(FulfilmentStep::AwaitingPayment));
    assert_eq!(shop.levels().await, (8, 2, 0));
    assert_eq!(appends_since(&shop, before).await, 1);
    assert_only_news(&mut shop).await;
}

#[tokio::test]
async fn without_stock_a_sync_order_is_rejected_in_its_own_append() {
    let mut shop = Shop::open(1).await;
    let before = shop.head().await;
    let order = shop.place_in(Mode::Sync, 2).await;
    assert_eq!(order.status, OrderStatus::Rejected);
    assert_eq!(order.reason.as_deref(), Some("insufficient_stock"));
    assert_eq!(shop.saga(&order.order_id).await, Some(FulfilmentStep::LockRefused));
    assert_eq!(shop.levels().await, (1, 0, 0));
    assert_eq!(shop.deadlines("order_expiry").await, 0);
    assert_eq!(appends_since(&shop, before).await, 1);
    assert_only_news(&mut shop).await;
}

#[tokio::test]
async fn buyers_at_the_same_time_get_exactly_what_there_is() {
    let shop = Shop::open(7).await;
    let placing = (0..20).map(|_| shop.place_in(Mode::Sync, 1));
    let orders = futures_util::future::join_all(placing).await;
    let held = orders.iter().filter(|order| order.status == OrderStatus::AwaitingPayment).count();
    let rejected = orders.iter().filter(|order| order.status == OrderStatus::Rejected).count();
    assert_eq!((held, rejected), (7, 13));
    assert_eq!(shop.levels().await, (0, 7, 0));
}

#[tokio::test]
async fn a_repeated_key_is_told_of_the_same_rejection() {
    let shop = Shop::open(0).await;
    let catalogue = Catalogue::new();
    let key = CommandKey { scope: "POST /v1/orders 12345".to_owned(), key: "k1".to_owned(), request_hash: None };
    let request = PlaceOrder {
        user_id: UserId::new(USER).unwrap(),
        show_id: ShowId::new(SHOW).unwrap(),
        ticket_type_id: TicketTypeId::new(TICKET_TYPE).unwrap(),
        quantity: Quantity::new(1).unwrap(),
        mode: Mode::Sync,
    };
    let origin = Origin::new(Metadata::default()).with_key(key);
    let place = || commands::place_order(&shop.ledger, &catalogue, &shop.policy, origin.clone(), request.clone());
    let first = place().await.unwrap();
    assert_eq!(first.value.status, OrderStatus::Rejected);
    let Err(UseCaseError::Command(CommandError::Duplicate(record))) = place().await else { panic!("not a duplicate") };
    let told: NewOrder = serde_json::from_str(&record.response.unwrap()).unwrap();
    assert_eq!(told, first.value);
}

#[tokio::test]
async fn a_captured_sync_payment_confirms_the_order_in_the_same_append() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_in(Mode::Sync, 2).await.order_id;
    let payment_id = shop.pay(&order_id).await.unwrap();
    assert_eq!(shop.status(&order_id).await, OrderStatus::Paying);

    let before = shop.head().await;
    let settled = shop.call_back(&order_id, &payment_id, CallbackStatus::Succeeded).await.unwrap();
    assert_eq!(settled, Settlement::Paid);
    assert_eq!(appends_since(&shop, before).await, 1);
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::Completed));
    assert_eq!(shop.levels().await, (8, 0, 2));
    for kind in ["order_expiry", "lock_lapse", "refund"] {
        assert_eq!(shop.deadlines(kind).await, 0, "{kind}");
    }
    assert_only_news(&mut shop).await;
    assert!(shop.provider.started.lock().unwrap().is_empty(), "nobody but the caller asks for a sync payment");
}

#[tokio::test]
async fn a_cancelled_sync_order_has_given_its_tickets_back_when_it_is_answered() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_in(Mode::Sync, 2).await.order_id;
    assert_eq!(shop.cancel(&order_id).await.unwrap(), Cancellation::Cancelled);
    assert_eq!(shop.levels().await, (10, 0, 0));
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::Compensated));
    assert_eq!((shop.deadlines("order_expiry").await, shop.deadlines("lock_lapse").await), (0, 0));
    assert_eq!(shop.cancel(&order_id).await.unwrap(), Cancellation::CancelledBefore);
    assert_only_news(&mut shop).await;
}

#[tokio::test]
async fn a_sync_order_cancelled_after_its_lock_lapsed_is_compensated_too() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_in(Mode::Sync, 2).await.order_id;
    shop.lapse(&order_id).await;
    assert_eq!(shop.levels().await, (10, 0, 0));
    shop.cancel(&order_id).await.unwrap();
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::Compensated));
    assert_only_news(&mut shop).await;
}

#[tokio::test]
async fn an_expired_sync_order_gives_its_tickets_back_at_once_and_a_late_capture_saves_it() {
    let mut shop = Shop::open(2).await;
    let order_id = shop.place_in(Mode::Sync, 2).await.order_id;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.let_time_pass("order_expiry").await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Expired);
    assert_eq!(shop.levels().await, (2, 0, 0));
    assert_eq!(shop.saga(&order_id).await, Some(FulfilmentStep::Compensated));
    assert_eq!((shop.deadlines("order_expiry").await, shop.deadlines("lock_lapse").await), (0, 0));

    shop.call_back(&order_id, &payment_id, CallbackStatus::Succeeded).await.unwrap();
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    assert_eq!(shop.levels().await, (0, 0, 2));
    assert_only_news(&mut shop).await;
}

#[tokio::test]
async fn a_late_capture_without_stock_left_is_refunded() {
    let mut shop = Shop::open(2).await;
    let late = shop.place_in(Mode::Sync, 2).await.order_id;
    let payment_id = shop.pay(&late).await.unwrap();
    shop.let_time_pass("order_expiry").await;
    shop.place_in(Mode::Sync, 1).await;

    let settled = shop.call_back(&late, &payment_id, CallbackStatus::Succeeded).await.unwrap();
    assert_eq!(settled, Settlement::RefundStarted);
    shop.let_time_pass("refund").await;
    assert_eq!(shop.status(&late).await, OrderStatus::Refunded);
    assert_eq!(shop.provider.refunds(), [payment_id]);
}

#[tokio::test]
async fn a_lapsed_sync_order_is_paid_on_a_new_lock_or_not_at_all() {
    let shop = Shop::open(2).await;
    let order_id = shop.place_in(Mode::Sync, 2).await.order_id;
    shop.lapse(&order_id).await;
    shop.pay(&order_id).await.unwrap();
    assert_eq!(shop.levels().await, (0, 2, 0));

    let shop = Shop::open(2).await;
    let order_id = shop.place_in(Mode::Sync, 2).await.order_id;
    shop.lapse(&order_id).await;
    shop.place_in(Mode::Sync, 1).await;
    let refused = shop.pay(&order_id).await.unwrap_err();
    assert_eq!(refused.code(), Some("stock_no_longer_available"));
}

#[tokio::test]
async fn orders_of_both_modes_share_a_stock() {
    let mut shop = Shop::open(3).await;
    let asynchronous = shop.place(2).await;
    let synchronous = shop.place_in(Mode::Sync, 2).await;
    assert_eq!(synchronous.status, OrderStatus::AwaitingPayment);
    shop.deliver_all().await;
    assert_eq!(shop.status(&asynchronous).await, OrderStatus::Rejected, "the sync order came first to the stock");
    assert_eq!(shop.levels().await, (1, 2, 0));
}

#[tokio::test]
async fn the_caller_of_a_sync_payment_waits_for_what_the_provider_says() {
    for (status, outcome, order_status) in [
        (Some(CallbackStatus::Succeeded), SyncOutcome::Paid, OrderStatus::Confirmed),
        (Some(CallbackStatus::Failed), SyncOutcome::Declined, OrderStatus::AwaitingPayment),
        (None, SyncOutcome::Open, OrderStatus::Paying),
    ] {
        let shop = Shop::open(10).await;
        let order_id = shop.place_in(Mode::Sync, 1).await.order_id;
        let payment = start(&shop, &order_id).await;
        let provider = SettlingProvider { ledger: shop.ledger.clone(), status };
        let wait = if status.is_some() { Duration::from_secs(5) } else { Duration::from_millis(100) };
        assert_eq!(ask_and_wait(&shop.ledger, &provider, &payment, wait).await.unwrap(), outcome, "{status:?}");
        assert_eq!(shop.status(&order_id).await, order_status);
        // A repeat is told the same, and asks for no second payment.
        let again = ask_and_wait(&shop.ledger, &provider, &payment, Duration::ZERO).await.unwrap();
        assert_eq!(again, outcome);
    }
}

#[tokio::test]
async fn a_provider_that_is_away_leaves_the_sync_payment_open() {
    let shop = Shop::open(10).await;
    let order_id = shop.place_in(Mode::Sync, 1).await.order_id;
    let payment = start(&shop, &order_id).await;
    shop.provider.is_down.store(true, std::sync::atomic::Ordering::SeqCst);
    let provider: Arc<dyn PaymentProvider> = shop.provider.clone();
    let outcome = ask_and_wait(&shop.ledger, provider.as_ref(), &payment, Duration::from_millis(50)).await.unwrap();
    assert_eq!(outcome, SyncOutcome::Open);
    assert_eq!(shop.status(&order_id).await, OrderStatus::Paying);
}

#[tokio::test]
async fn a_sync_payment_whose_caller_died_is_asked_for_by_its_deadline() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_in(Mode::Sync, 1).await.order_id;
    let payment_id = start(&shop, &order_id).await.payment_id;
    // Committed, and the caller died before it asked the provider.
    shop.provider.forget(&payment_id);
    shop.let_time_pass("payment_query").await;
    assert_eq!(shop.provider.starts(), std::slice::from_ref(&payment_id));

    shop.provider.say(&payment_id, ProviderStatus::Succeeded);
    shop.let_time_pass("payment_query").await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    assert_eq!(shop.levels().await, (9, 0, 1));
    assert_eq!(shop.deadlines("payment_query").await, 0);
    assert_only_news(&mut shop).await;
}

async fn start(shop: &Shop, order_id: &OrderId) -> NewPayment {
    let request = StartPayment { payment_method: "ALIPAY".to_owned(), callback_url: None };
    let order = shop.order(order_id).await;
    let started = commands::start_payment(&shop.ledger, &shop.policy, Origin::default(), &order, request).await;
    started.unwrap().value
}

async fn appends_since(shop: &Shop, position: i64) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM store.ledger_batch WHERE last_position > $1")
        .bind(position)
        .fetch_one(&shop.pool)
        .await
        .unwrap()
}

async fn assert_only_news(shop: &mut Shop) {
    for message in shop.waiting().await.iter() {
        assert!(NEWS.contains(&message.topic), "a sync order sent {}", message.topic);
    }
}

/// Says how the payment ended before it answers the request for it; or never.
struct SettlingProvider {
    ledger: Ledger,
    status: Option<CallbackStatus>,
}

#[async_trait]
impl PaymentProvider for SettlingProvider {
    async fn start(&self, payment: &PaymentRequest) -> Result<ProviderPayment, ProviderError> {
        if let Some(status) = self.status {
            let callback = PaymentCallback {
                payment_id: payment.payment_id.clone(),
                order_id: payment.order_id.clone(),
                status,
                amount: payment.amount,
                provider_reference: "ref".to_owned(),
                paid_time: 1_701_388_800_000,
            };
            commands::settle_payment(&self.ledger, &Policy::default(), Origin::default(), callback).await.unwrap();
        }
        self.query(&payment.payment_id).await
    }

    async fn query(&self, payment_id: &PaymentId) -> Result<ProviderPayment, ProviderError> {
        let provider_reference = "ref".to_owned();
        Ok(ProviderPayment {
            payment_id: payment_id.clone(),
            status: ProviderStatus::Pending,
            provider_reference,
            amount: None,
            paid_time: None,
        })
    }

    async fn refund(&self, _: &PaymentId, _: Money) -> Result<ProviderRefund, ProviderError> {
        unreachable!("nothing is refunded here")
    }
}
