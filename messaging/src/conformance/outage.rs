//! What must hold when the broker goes and comes back.

use super::Outage;
use super::client::{Client, numbered};

pub(super) async fn what_was_confirmed_survives_an_outage(client: &Client<'_>, outage: &dyn Outage) {
    let (topic, group) = (client.topic("outage").await, client.name("outage-group"));
    client.send(&topic, 0, &numbered(0..10)).await;
    let mut before = client.consumer(&group, &[&topic]).await;
    let received = client.receive(&mut *before, 10).await;
    client.commit(&mut *before, &received).await;
    client.send(&topic, 1, &numbered(10..20)).await;
    let producer = client.producer().await;

    outage.stop_broker().await;
    let while_down = producer.send(&topic, 2, &numbered(90..91)).await;
    assert!(while_down.is_err(), "a batch was confirmed by a broker that is down");
    client.until_unavailable("outage", &mut *before).await;
    assert!(!client.broker.is_reachable().await, "a broker that is down is not reachable");
    before.close().await;
    producer.close().await;

    outage.start_broker().await;
    client.send_anew(&topic, 3, &numbered(20..30)).await;
    let mut after = client.consumer(&group, &[&topic]).await;
    // A broker that was killed may have forgotten the last commits, so that what they covered comes again.
    client.receive_all_of(&mut *after, 10..30).await;
    after.close().await;
}
