use std::sync::Arc;

use async_trait::async_trait;
use domain::payment::PaymentStatus;
use domain::{Money, OrderStatus, PaymentId};
use event_store::Ledger;
use messaging::{Effect, Topic};
use processors::Policy;
use processors::commands::{self, Origin, Settlement};
use processors::handlers::{self, ProcessorParts};
use processors::provider::CallbackStatus::{Failed, Succeeded};
use processors::provider::{
    PaymentCallback, PaymentProvider, PaymentRequest, ProviderError, ProviderPayment, ProviderRefund, ProviderStatus,
};

use crate::support::{Shop, code, provider_payment};

#[tokio::test]
async fn an_order_is_payable_once_its_tickets_are_held_and_once_at_a_time() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place(1).await;
    assert_eq!(code(&shop.pay(&order_id).await.unwrap_err()), "not_payable_yet");
    shop.deliver_all().await;
    shop.pay(&order_id).await.unwrap();
    assert_eq!(code(&shop.pay(&order_id).await.unwrap_err()), "payment_in_progress");
}

#[tokio::test]
async fn a_declined_payment_leaves_the_order_payable() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let first = shop.pay(&order_id).await.unwrap();
    assert_eq!(shop.call_back(&order_id, &first, Failed).await.unwrap(), Settlement::Failed);
    assert_eq!(shop.status(&order_id).await, OrderStatus::AwaitingPayment);
    let second = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &second, Succeeded).await.unwrap();
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    assert_eq!(shop.levels().await, (9, 0, 1));
}

#[tokio::test]
async fn a_payment_reported_failed_may_still_succeed_but_not_the_other_way_round() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &payment_id, Failed).await.unwrap();
    assert_eq!(shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap(), Settlement::Paid);
    assert_eq!(shop.call_back(&order_id, &payment_id, Failed).await.unwrap(), Settlement::NoEffect);
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
}

#[tokio::test]
async fn a_second_capture_is_refunded_and_the_order_keeps_its_tickets() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let first = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &first, Failed).await.unwrap();
    let second = shop.pay(&order_id).await.unwrap();
    assert_eq!(shop.call_back(&order_id, &second, Succeeded).await.unwrap(), Settlement::Paid);
    assert_eq!(shop.call_back(&order_id, &first, Succeeded).await.unwrap(), Settlement::RefundStarted);
    shop.deliver_all().await;
    shop.act_on_deadlines().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    assert_eq!(shop.provider.refunds(), std::slice::from_ref(&first));
    assert_eq!(shop.payment_status(&first).await, PaymentStatus::Refunded);
    assert_eq!(shop.payment_status(&second).await, PaymentStatus::Succeeded);
    assert_eq!(shop.deadlines("refund").await, 0);
}

#[tokio::test]
async fn a_callback_delivered_again_changes_nothing() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    let callback = shop.callback(&order_id, &payment_id, Succeeded).await;
    assert_eq!(shop.call_back_with(callback.clone(), Some("msg_1")).await.unwrap(), Settlement::Paid);
    let head = shop.head().await;
    for (webhook_id, settlement) in [("msg_1", Settlement::Repeated), ("msg_2", Settlement::NoEffect)] {
        let repeated = shop.call_back_with(callback.clone(), Some(webhook_id)).await.unwrap();
        assert_eq!(repeated, settlement, "{webhook_id}");
    }
    assert_eq!(shop.head().await, head);
}

#[tokio::test]
async fn a_callback_that_does_not_fit_is_refused_and_the_payment_stays_open() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let other_order = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();

    for status in [Succeeded, Failed] {
        let mut wrong_amount = shop.callback(&order_id, &payment_id, status).await;
        wrong_amount.amount = Money::parse("1.00").unwrap();
        assert_eq!(code(&shop.call_back_with(wrong_amount, None).await.unwrap_err()), "wrong_amount", "{status:?}");
    }

    let wrong_order = shop.callback(&other_order, &payment_id, Succeeded).await;
    assert_eq!(code(&shop.call_back_with(wrong_order, None).await.unwrap_err()), "wrong_order");

    let mut unknown = shop.callback(&order_id, &payment_id, Succeeded).await;
    unknown.payment_id = domain::PaymentId::parse("PAY202001010001").unwrap();
    assert_eq!(code(&shop.call_back_with(unknown, None).await.unwrap_err()), "payment_not_found");

    assert_eq!(shop.payment_status(&payment_id).await, PaymentStatus::Requested);
    assert_eq!(shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap(), Settlement::Paid);
}

/// A provider so quick that its callback is there before its answer.
struct Quick {
    ledger: Ledger,
    policy: Policy,
}

#[async_trait]
impl PaymentProvider for Quick {
    async fn start(&self, payment: &PaymentRequest) -> Result<ProviderPayment, ProviderError> {
        let callback = PaymentCallback {
            payment_id: payment.payment_id.clone(),
            order_id: payment.order_id.clone(),
            status: Succeeded,
            amount: payment.amount,
            provider_reference: "quick".to_owned(),
            paid_time: 1_701_388_800_000,
        };
        let settled = commands::settle_payment(&self.ledger, &self.policy, Origin::default(), callback).await.unwrap();
        assert_eq!(settled.value, Settlement::Paid);
        Ok(provider_payment(&payment.payment_id, ProviderStatus::Pending))
    }

    async fn query(&self, payment_id: &PaymentId) -> Result<ProviderPayment, ProviderError> {
        Ok(provider_payment(payment_id, ProviderStatus::Succeeded))
    }

    async fn refund(&self, _: &PaymentId, _: Money) -> Result<ProviderRefund, ProviderError> {
        Err(ProviderError::Unavailable("nothing is owed".to_owned()))
    }
}

#[tokio::test]
async fn a_callback_may_come_before_the_answer_to_the_request() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    let quick = Quick { ledger: shop.ledger.clone(), policy: shop.policy.clone() };
    let parts = ProcessorParts { provider: Arc::new(quick), ..shop.parts.clone() };
    let handler = handlers::handler("payment", &shop.ledger, &parts).unwrap();
    let message = [shop.take_one(Topic::OrderPayment).await];
    assert_eq!(handler.handle(&message).await, [Ok(Effect::Applied)]);
    assert_eq!(handler.handle(&message).await, [Ok(Effect::Duplicate)], "delivered again, nobody is asked again");
    shop.deliver_all().await;
    assert_eq!(shop.payment_status(&payment_id).await, PaymentStatus::Succeeded);
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
}

#[tokio::test]
async fn a_refund_waits_for_a_provider_that_is_away() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.cancel(&order_id).await.unwrap();
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();

    shop.provider.go_away();
    shop.fail_deadlines().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunding);
    assert_eq!(shop.deadlines("refund").await, 1);

    shop.provider.come_back();
    shop.let_time_pass("refund").await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Refunded);
    assert_eq!(shop.provider.refunds(), [payment_id]);
}
