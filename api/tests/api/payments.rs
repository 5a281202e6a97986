//! Starting a payment, and what stands in its way.

use serde_json::json;

use crate::support::{TestApi, USER, get, post};

#[tokio::test]
async fn a_payment_is_started_and_can_be_read() {
    let api = TestApi::with_stock().await;
    let order = api.order_awaiting_payment("order").await;
    let pay = post(format!("/v1/orders/{order}/payments")).user(USER).key("pay");
    let started = api.call(pay.json(&json!({"paymentMethod": "ALIPAY"}))).await;
    assert_eq!(started.status, 202, "{started:?}");
    assert_eq!(started.body["status"], "REQUESTED");
    assert!(started.text.contains("\"amount\":598.00"), "{}", started.text);

    let payment = api.call(get(started.header("location")).user(USER)).await;
    assert_eq!(payment.status, 200);
    assert_eq!(payment.body["orderId"], order);
    assert_eq!(payment.body["paymentMethod"], "ALIPAY");
    assert!(payment.text.contains("\"captured\":0.00"), "{}", payment.text);
}

#[tokio::test]
async fn an_order_is_paid_when_its_tickets_are_held_and_by_one_payment_at_a_time() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("order").await;
    let pay = |key: &str| {
        post(format!("/v1/orders/{order}/payments")).user(USER).key(key).json(&json!({"paymentMethod": "ALIPAY"}))
    };
    let early = api.call(pay("one")).await;
    assert_eq!(early.problem(), (409, "not_payable_yet", ""));
    assert_eq!(early.body["orderStatus"], "PENDING");

    api.lock_stock(&order).await;
    assert_eq!(api.call(pay("one")).await.status, 202, "a refused request's key may be used again");
    let second = api.call(pay("two")).await;
    assert_eq!(second.problem(), (409, "payment_in_progress", ""));
    assert_eq!(second.body["orderStatus"], "PAYING");
}

#[tokio::test]
async fn only_the_configured_callback_addresses_are_taken() {
    let hook = "https://shop.example/payment-hook";
    let config = api::ApiConfig { allowed_callback_urls: vec![hook.to_owned()], ..Default::default() };
    let api = TestApi::start_with(config).await;
    api.put_on_sale(42, 10).await;
    let order = api.order_awaiting_payment("order").await;
    let pay = |url: &str| {
        let body = json!({"paymentMethod": "ALIPAY", "callbackUrl": url});
        post(format!("/v1/orders/{order}/payments")).user(USER).key("pay").json(&body)
    };
    let other = api.call(pay("https://shop.example/payment-hook/../admin")).await;
    assert_eq!(other.problem(), (422, "callback_url_not_allowed", "callbackUrl"));
    assert_eq!(api.call(pay(hook)).await.status, 202);
}
