//! An order from REST through the ledger and RocketMQ into the read models, on the embedded defaults.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use support::Instance;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_is_confirmed_and_told() {
    let instance = Instance::start(&[]);
    let client = instance.client();
    client.put_on_sale(2001, 100).await;

    let order = client.place(12345, 2001, 2).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    let payment = client.pay(&order, "ALIPAY").await;
    assert_eq!(payment.status, 202, "{payment:?}");
    client.await_status(&order, &["CONFIRMED"], SOON).await;

    let stock = client.stock(2001).await;
    assert_eq!((&stock["available"], &stock["locked"], &stock["sold"]), (&98.into(), &0.into(), &2.into()), "{stock}");
    instance.assert_settled();
    let listed = client.get("/v1/orders?userId=12345").await.body;
    assert_eq!(listed["items"][0]["status"], "CONFIRMED", "{listed}");
    let told = client.get("/v1/users/12345/notifications").await.body.to_string();
    assert!(told.contains(&order), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_stock_an_order_is_rejected_and_without_payment_it_expires() {
    let instance = Instance::start(&[("LEDGER__ORDER__EXPIRE_AFTER_SECONDS", "5")]);
    let client = instance.client();
    client.put_on_sale(2001, 2).await;

    let refused = client.place(2, 2001, 3).await;
    client.await_status(&refused, &["REJECTED"], SOON).await;

    let held = client.place(1, 2001, 2).await;
    client.await_status(&held, &["EXPIRED"], SOON).await;
    support::eventually("the expired order's stock to be back on sale", SOON, || {
        let stock = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(client.stock(2001)));
        (stock["available"] == 2 && stock["locked"] == 0).then_some(())
    });
    instance.assert_settled();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_returns_its_stock_and_a_declined_one_may_be_paid_again() {
    let instance = Instance::start(&[]);
    let client = instance.client();
    client.put_on_sale(2001, 2).await;

    let order = client.place(1, 2001, 2).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    client.pay(&order, "SANDBOX_DECLINE").await;
    client.await_status(&order, &["PAYING"], SOON).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;

    let cancelled = client.post(&format!("/v1/orders/{order}/cancel"), None, serde_json::json!({})).await;
    assert!([200, 202].contains(&cancelled.status), "{cancelled:?}");
    client.await_status(&order, &["CANCELLED"], SOON).await;
    let second = client.place(2, 2001, 2).await;
    let status = client.await_status(&second, &["AWAITING_PAYMENT", "REJECTED"], SOON).await;
    // The rollback and the second lock travel on different topics: either may come first.
    if status == "AWAITING_PAYMENT" {
        client.pay(&second, "ALIPAY").await;
        client.await_status(&second, &["CONFIRMED"], SOON).await;
    }
    instance.assert_settled();
}

#[tokio::test(flavor = "multi_thread")]
async fn started_again_on_the_same_data_nothing_is_lost() {
    let mut instance = Instance::start(&[]);
    let client = instance.client();
    client.put_on_sale(2001, 100).await;
    let before = client.place(1, 2001, 1).await;
    client.await_status(&before, &["AWAITING_PAYMENT"], SOON).await;

    instance.stop();
    assert!(!instance.data_dir().join("up.json").exists(), "a stopped instance is not found");
    instance.up();

    let client = instance.client();
    assert_eq!(client.status(&before).await, "AWAITING_PAYMENT");
    client.pay(&before, "ALIPAY").await;
    client.await_status(&before, &["CONFIRMED"], SOON).await;
    instance.assert_settled();
    instance.stop();
}
