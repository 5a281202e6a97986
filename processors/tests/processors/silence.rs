//! A provider that does not call back: it is asked, and given up in the end.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::payment::PaymentStatus;
use domain::{Money, OrderId, OrderStatus, Payment, PaymentId};
use processors::Policy;
use processors::commands::{PROVIDER_SILENT, Settlement};
use processors::deadlines::{DeadlineConfig, DeadlineParts, DeadlineRunner};
use processors::provider::CallbackStatus::Succeeded;
use processors::provider::{
    PaymentProvider, PaymentRequest, ProviderError, ProviderPayment, ProviderRefund, ProviderStatus,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::{Shop, tells_nobody};

const QUERY: &str = "payment_query";

async fn paying() -> (Shop, OrderId, PaymentId) {
    paying_with(Policy::default()).await
}

/// Nobody waits for the provider any longer.
async fn paying_impatiently() -> (Shop, OrderId, PaymentId) {
    paying_with(Policy { payment_give_up_after_seconds: 0, ..Policy::default() }).await
}

async fn paying_with(policy: Policy) -> (Shop, OrderId, PaymentId) {
    let mut shop = Shop::open_with(10, policy).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.deliver_all().await;
    (shop, order_id, payment_id)
}

async fn reason(shop: &Shop, payment_id: &PaymentId) -> Option<String> {
    shop.ledger.load::<Payment>(payment_id.as_str()).await.unwrap().state.requested.unwrap().reason
}

async fn seconds_until_asked(shop: &Shop) -> f64 {
    sqlx::query_scalar("SELECT extract(epoch FROM due_at - now())::float8 FROM store.deadline WHERE kind = $1")
        .bind(QUERY)
        .fetch_one(&shop.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_a_silent_provider_says_when_asked_counts_as_its_callback() {
    let (mut shop, order_id, payment_id) = paying().await;
    assert!((25.0..=30.0).contains(&seconds_until_asked(&shop).await));
    shop.provider.say(&payment_id, ProviderStatus::Succeeded);
    shop.let_time_pass(QUERY).await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Paid);
    assert_eq!(shop.deadlines(QUERY).await, 0);

    let head = shop.head().await;
    assert_eq!(shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap(), Settlement::NoEffect);
    assert_eq!(shop.head().await, head, "the callback comes after all and changes nothing");
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
}

#[tokio::test]
async fn a_decline_that_was_never_reported_lets_the_user_pay_again() {
    let (mut shop, order_id, payment_id) = paying().await;
    shop.provider.say(&payment_id, ProviderStatus::Failed);
    shop.let_time_pass(QUERY).await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::AwaitingPayment);
    assert_eq!(shop.deadlines(QUERY).await, 0);
    shop.pay(&order_id).await.unwrap();
}

#[tokio::test]
async fn nobody_asks_about_a_payment_that_was_reported() {
    let (shop, order_id, payment_id) = paying().await;
    assert_eq!(shop.deadlines(QUERY).await, 1);
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    assert_eq!(shop.deadlines(QUERY).await, 0);
}

#[tokio::test]
async fn a_payment_that_is_pending_is_asked_about_again() {
    let (mut shop, order_id, payment_id) = paying().await;
    shop.let_time_pass(QUERY).await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Paying);
    assert!((25.0..=40.0).contains(&seconds_until_asked(&shop).await));
    shop.provider.say(&payment_id, ProviderStatus::Succeeded);
    shop.let_time_pass(QUERY).await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Paid);
}

#[tokio::test]
async fn a_payment_that_never_reached_the_provider_is_started_again_under_its_id() {
    let (mut shop, order_id, payment_id) = paying().await;
    shop.provider.forget(&payment_id);
    shop.let_time_pass(QUERY).await;
    assert_eq!(shop.provider.starts(), [payment_id.clone(), payment_id.clone()]);
    assert_eq!((shop.status(&order_id).await, shop.deadlines(QUERY).await), (OrderStatus::Paying, 1));
}

#[tokio::test]
async fn nothing_is_started_again_for_an_order_that_has_ended() {
    let (mut shop, order_id, payment_id) = paying().await;
    shop.cancel(&order_id).await.unwrap();
    shop.provider.forget(&payment_id);
    shop.let_time_pass(QUERY).await;
    assert_eq!(shop.provider.starts(), std::slice::from_ref(&payment_id));
    assert_eq!(shop.payment_status(&payment_id).await, PaymentStatus::Failed);
    assert_eq!((shop.status(&order_id).await, shop.deadlines(QUERY).await), (OrderStatus::Cancelled, 0));
}

#[tokio::test]
async fn a_provider_that_stays_silent_is_given_up_and_the_order_may_be_paid_anew() {
    let (mut shop, order_id, payment_id) = paying_impatiently().await;
    shop.let_time_pass(QUERY).await;
    assert_eq!(shop.payment_status(&payment_id).await, PaymentStatus::Failed);
    assert_eq!(reason(&shop, &payment_id).await.as_deref(), Some(PROVIDER_SILENT));
    assert_eq!((shop.status(&order_id).await, shop.deadlines(QUERY).await), (OrderStatus::AwaitingPayment, 0));

    let late = shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    assert_eq!(late, Settlement::Paid, "a capture that is reported after all is one");
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
}

#[tokio::test]
async fn a_payment_given_up_after_expiry_leaves_the_order_expired() {
    let (mut shop, order_id, payment_id) = paying_impatiently().await;
    shop.let_time_pass("order_expiry").await;
    shop.let_time_pass(QUERY).await;
    shop.deliver_all().await;
    assert_eq!(shop.payment_status(&payment_id).await, PaymentStatus::Failed);
    assert_eq!(shop.status(&order_id).await, OrderStatus::Expired);
    assert_eq!(shop.levels().await, (10, 0, 0));
}

#[tokio::test]
async fn the_last_question_still_finds_a_capture() {
    let (mut shop, order_id, payment_id) = paying_impatiently().await;
    shop.provider.say(&payment_id, ProviderStatus::Succeeded);
    shop.let_time_pass(QUERY).await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Paid);
}

#[tokio::test]
async fn a_provider_that_is_away_is_asked_for_as_long_as_it_takes_because_it_may_have_the_money() {
    let (mut shop, order_id, payment_id) = paying_impatiently().await;
    shop.provider.go_away();
    shop.make_due(QUERY).await;
    shop.fail_deadlines().await;
    assert_eq!((shop.status(&order_id).await, shop.deadlines(QUERY).await), (OrderStatus::Paying, 1));

    shop.provider.come_back();
    shop.provider.say(&payment_id, ProviderStatus::Succeeded);
    shop.let_time_pass(QUERY).await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Paid);
}

#[tokio::test]
async fn another_amount_than_was_asked_for_is_not_taken_for_the_payment() {
    let (mut shop, order_id, payment_id) = paying_impatiently().await;
    shop.provider.say_captured(&payment_id, "1.00");
    shop.make_due(QUERY).await;
    shop.fail_deadlines().await;
    assert_eq!(shop.payment_status(&payment_id).await, PaymentStatus::Requested);
    assert_eq!((shop.status(&order_id).await, shop.deadlines(QUERY).await), (OrderStatus::Paying, 1));
}

#[tokio::test]
async fn a_provider_that_hangs_keeps_no_order_from_expiring() {
    let (mut shop, _, _) = paying().await;
    let unpaid = shop.place_and_lock(1).await;
    shop.make_due(QUERY).await;
    shop.make_due("order_expiry").await;
    let provider = Arc::new(Hanging::default());
    let runner = DeadlineRunner::new(DeadlineParts {
        ledger: shop.ledger.clone(),
        policy: shop.policy.clone(),
        provider: provider.clone(),
        results: tells_nobody(),
        config: DeadlineConfig::default(),
    });
    let running = tokio::spawn(runner.run(CancellationToken::new()));
    provider.asked.notified().await;
    let expired = async {
        let mut polling = tokio::time::interval(Duration::from_millis(10));
        while shop.status(&unpaid).await != OrderStatus::Expired {
            polling.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), expired).await.expect("the order to expire");
    assert_eq!(shop.deadlines(QUERY).await, 1, "the provider has not answered");
    running.abort();
}

/// Takes every call and never answers.
#[derive(Default)]
struct Hanging {
    asked: Notify,
}

#[async_trait]
impl PaymentProvider for Hanging {
    async fn start(&self, _: &PaymentRequest) -> Result<ProviderPayment, ProviderError> {
        std::future::pending().await
    }

    async fn query(&self, _: &PaymentId) -> Result<ProviderPayment, ProviderError> {
        self.asked.notify_one();
        std::future::pending().await
    }

    async fn refund(&self, _: &PaymentId, _: Money) -> Result<ProviderRefund, ProviderError> {
        std::future::pending().await
    }
}
