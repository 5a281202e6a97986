//! The whole lifecycle on Apache RocketMQ, and its broker killed in the middle.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use support::apache::ApacheRocketMq;
use support::{Client, Instance};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_confirmed_and_the_api_goes_on_while_the_broker_is_away() {
    let Some(apache) = ApacheRocketMq::start_if_available() else { return };
    let instance = Instance::start(&[("LEDGER__ROCKETMQ__NAME_SERVER", &apache.name_server)]);
    let client = instance.client();
    client.put_on_sale(2001, 100).await;

    let first = client.place(1, 2001, 2).await;
    confirm(&client, &first).await;

    apache.kill_broker();
    let mut meanwhile = Vec::new();
    for user in 2..12 {
        meanwhile.push(client.place(user, 2001, 1).await);
    }
    assert_eq!(client.status(&meanwhile[0]).await, "PENDING", "accepted, and waiting for the broker");
    apache.start_broker();

    for order in &meanwhile {
        confirm(&client, order).await;
    }
    let stock = client.stock(2001).await;
    assert_eq!((&stock["sold"], &stock["available"]), (&12.into(), &88.into()), "{stock}");
    instance.assert_settled();
}

async fn confirm(client: &Client, order: &str) {
    client.await_status(order, &["AWAITING_PAYMENT"], SOON).await;
    client.pay(order, "ALIPAY").await;
    client.await_status(order, &["CONFIRMED"], SOON).await;
}
