//! Starting a payment, and what stands in its way.

use std::time::Duration;

use domain::OrderStatus;
use processors::circuit::CircuitBoard;
use processors::payment_result::AllowedHosts;
use processors::provider::DEPENDENCY;
use serde_json::json;

use crate::support::{Answer, TICKET_TYPE, TestApi, USER, get, post};

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
async fn results_are_told_at_https_addresses_on_configured_hosts_only() {
    let result_callback_hosts = AllowedHosts::parse(&["shop.example"]).unwrap();
    let api = TestApi::start_with(api::ApiConfig { result_callback_hosts, ..Default::default() }).await;
    api.put_on_sale(TICKET_TYPE, 10).await;
    let order = api.order_awaiting_payment("order").await;
    let pay = |url: &str| {
        let body = json!({"paymentMethod": "ALIPAY", "callbackUrl": url});
        post(format!("/v1/orders/{order}/payments")).user(USER).key("pay").json(&body)
    };
    let events = api.events().await;
    for elsewhere in [
        "http://shop.example/hook",
        "https://other.example/hook",
        "https://shop.example@other.example/hook",
        "https://shop.example:8443/hook",
        "https://127.0.0.1/hook",
        "shop.example",
        "",
    ] {
        let answer = api.call(pay(elsewhere)).await;
        assert_eq!(answer.problem(), (422, "callback_url_not_allowed", "callbackUrl"), "{elsewhere}");
    }
    assert_eq!(api.events().await, events);
    let paid = api.call(pay("https://shop.example/hook")).await;
    assert_eq!(paid.status, 202, "{paid:?}");
    let sent: String = sqlx::query_scalar("SELECT body FROM store.outbox WHERE topic = 'order-payment'")
        .fetch_one(&api.pool)
        .await
        .unwrap();
    assert!(sent.contains("\"callbackUrl\":\"https://shop.example/hook\""), "{sent}");
}

#[tokio::test]
async fn unless_hosts_are_configured_nobody_is_told() {
    let api = TestApi::with_stock().await;
    let order = api.order_awaiting_payment("order").await;
    let body = json!({"paymentMethod": "ALIPAY", "callbackUrl": "https://shop.example/hook"});
    let answer = api.call(post(format!("/v1/orders/{order}/payments")).user(USER).key("pay").json(&body)).await;
    assert_eq!(answer.problem(), (422, "callback_url_not_allowed", "callbackUrl"));
}

#[tokio::test]
async fn while_the_provider_is_left_alone_paying_is_refused_before_anything_is_written() {
    let api = TestApi::with_stock().await;
    let (paid, unpaid) = (api.order_awaiting_payment("one").await, api.order_awaiting_payment("two").await);
    let pay = |order: &str, key: &str| {
        let body = json!({"paymentMethod": "ALIPAY"});
        post(format!("/v1/orders/{order}/payments")).user(USER).key(key).json(&body)
    };
    let first = api.call(pay(&paid, "first")).await;
    let events = api.events().await;
    let board = CircuitBoard::new(api.pool.clone(), DEPENDENCY);
    board.opened(Duration::from_secs(600)).await.unwrap();
    // A second payment of one order is refused in any case, and differently once the news has arrived.
    await_status(503, || api.call(pay(&paid, "probe"))).await;

    let refused = api.call(pay(&unpaid, "second")).await;
    assert_eq!(refused.problem(), (503, "payment_provider_unavailable", ""));
    let retry_after: u64 = refused.header("retry-after").parse().unwrap();
    assert!((590..=600).contains(&retry_after), "{retry_after}");
    assert_eq!(api.events().await, events);
    assert_eq!(api.placed_order(&unpaid).await.status, OrderStatus::AwaitingPayment);

    let repeated = api.call(pay(&paid, "first")).await;
    assert_eq!((repeated.status, &repeated.text), (202, &first.text), "what was accepted is answered as before");
    let other = json!({"paymentMethod": "WECHAT"});
    let reused = post(format!("/v1/orders/{paid}/payments")).user(USER).key("first").json(&other);
    assert_eq!(api.call(reused).await.problem(), (422, "idempotency_key_reused", "Idempotency-Key"));

    board.closed().await.unwrap();
    await_status(202, || api.call(pay(&unpaid, "second"))).await;
}

/// Calls until the answer has this status: news take up to a second to arrive.
async fn await_status<Answering: Future<Output = Answer>>(status: u16, call: impl Fn() -> Answering) {
    let mut polling = tokio::time::interval(Duration::from_millis(10));
    let arriving = async {
        while call().await.status != status {
            polling.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), arriving).await.expect("the news to arrive");
}
