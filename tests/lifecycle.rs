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
    let instance = Instance::start(&[("LEDGER__ORDER__EXPIRE_AFTER_SECONDS", "12")]);
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
    let declined = client.pay(&order, "SANDBOX_DECLINE").await;
    let payment = format!("/v1/payments/{}", declined.body["paymentId"].as_str().unwrap());
    support::eventually("the payment to be declined", SOON, || {
        let asked = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(client.get(&payment)));
        (asked.body["status"] == "FAILED").then_some(())
    });
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
async fn an_order_that_hangs_is_found_and_brought_to_its_end_by_the_command_line() {
    let instance = Instance::start(&[("LEDGER__SAGA__STUCK_AFTER_SECONDS", "2")]);
    let client = instance.client();
    client.put_on_sale(2001, 5).await;
    let order = client.place(1, 2001, 2).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    let letter = block(&instance, &order);
    client.pay(&order, "ALIPAY").await;
    client.await_status(&order, &["PAID"], SOON).await;

    let stuck = support::eventually("the order to hang", SOON, || {
        let listed = json_of(&instance.run(&["sagas", "--status", "stuck", "--json"]));
        let hangs = |saga: &&serde_json::Value| saga["orderId"] == order.as_str() && saga["step"] == "DEDUCTING_STOCK";
        listed["items"].as_array()?.iter().find(hangs).cloned()
    });
    assert_eq!(stuck["status"], "running", "{stuck}");
    let again = instance.run(&["sagas", "resolve", &order, "--retry"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stdout).contains("a dead letter failed again"), "{again:?}");

    let discarded = instance.run(&["dead-letters", "discard", &letter.to_string(), "--reason", "no order of ours"]);
    assert!(discarded.status.success(), "{discarded:?}");
    client.await_status(&order, &["CONFIRMED"], SOON).await;
    let completed = json_of(&instance.run(&["sagas", "--status", "completed", "--json"]));
    assert_eq!(completed["items"][0]["orderId"], order, "{completed}");

    assert_eq!(instance.run(&["sagas", "--status", "lost"]).status.code(), Some(2));
    let nobodys = instance.run(&["sagas", "resolve", "ORD20261123000000000000000001", "--retry"]);
    assert_eq!(nobodys.status.code(), Some(1), "{nobodys:?}");
    instance.assert_settled();
}

/// A dead letter that the order's next message to stock has to wait behind; answers its id.
fn block(instance: &Instance, order: &str) -> i64 {
    let url = instance.info()["database_url"].as_str().unwrap().to_owned();
    let key = order.to_owned();
    let insert = include_str!("console/blocking_letter.sql");
    let task = move || {
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        client.query_one(insert, &[&key]).unwrap().get(0)
    };
    // The client is a blocking one.
    std::thread::spawn(task).join().unwrap()
}

fn json_of(output: &std::process::Output) -> serde_json::Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
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

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_stays_silent_is_given_up_and_the_order_may_be_paid_anew() {
    let instance = Instance::start(&[
        ("LEDGER__PAYMENT__QUERY_AFTER_SECONDS", "1"),
        ("LEDGER__PAYMENT__GIVE_UP_AFTER_SECONDS", "2"),
    ]);
    let client = instance.client();
    client.put_on_sale(2001, 100).await;

    let order = client.place(12345, 2001, 1).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    let silent = client.pay(&order, "SANDBOX_SILENT").await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    let given_up = client.get(&format!("/v1/payments/{}", silent.body["paymentId"].as_str().unwrap())).await.body;
    assert_eq!((&given_up["status"], &given_up["reason"]), (&"FAILED".into(), &"provider_silent".into()), "{given_up}");

    client.pay(&order, "ALIPAY").await;
    client.await_status(&order, &["CONFIRMED"], SOON).await;
    instance.assert_settled();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_provider_away_a_payment_waits_and_the_next_ones_are_refused_at_once() {
    let nobody_there = format!("http://127.0.0.1:{}", support::free_port());
    let instance = Instance::start(&[
        ("LEDGER__PAYMENT__PROVIDER_URL", &nobody_there),
        ("LEDGER__PAYMENT__PROVIDER_API_KEY", "key-of-the-provider"),
        ("LEDGER__PAYMENT__CIRCUIT_FAILURE_THRESHOLD", "2"),
        ("LEDGER__PAYMENT__CIRCUIT_OPEN_MS", "60000"),
    ]);
    let client = instance.client();
    client.put_on_sale(2001, 100).await;
    let (first, second) = (client.place(1, 2001, 1).await, client.place(2, 2001, 1).await);
    for order in [&first, &second] {
        client.await_status(order, &["AWAITING_PAYMENT"], SOON).await;
    }

    assert_eq!(client.pay(&first, "ALIPAY").await.status, 202);
    let mut probing = tokio::time::interval(Duration::from_millis(50));
    let refused = async {
        // While nobody knows yet, a second payment of the same order is a conflict.
        while client.try_to_pay(&first, "ALIPAY").await.status != 503 {
            probing.tick().await;
        }
    };
    tokio::time::timeout(SOON, refused).await.expect("the circuit to open");
    assert_eq!(client.try_to_pay(&second, "ALIPAY").await.body["code"], "payment_provider_unavailable");
    assert_eq!(client.status(&first).await, "PAYING");
    assert_eq!(client.status(&second).await, "AWAITING_PAYMENT");
}
