//! Rules for lag.

use super::client::{Client, numbered};

pub(super) async fn lag_is_what_was_not_committed(client: &Client<'_>) {
    let (topic, group) = (client.topic("lag").await, client.name("lag-group"));
    client.send(&topic, 0, &numbered(0..10)).await;
    client.send(&topic, 7, &numbered(10..15)).await;

    let mut consumer = client.consumer(&group, &[&topic]).await;
    let received = client.receive(&mut *consumer, 15).await;
    let handled: Vec<_> = received.iter().filter(|delivery| delivery.queue.queue == 0).cloned().collect();
    client.commit(&mut *consumer, &handled).await;
    let handled_late: Vec<_> =
        received.iter().filter(|delivery| delivery.queue.queue == 7 && delivery.offset < 2).cloned().collect();
    client.commit(&mut *consumer, &handled_late).await;
    client.lag_becomes(&group, &topic, 3).await;
    consumer.close().await;

    // Nobody is there to ask, and messages keep coming.
    client.send(&topic, 0, &numbered(20..24)).await;
    client.lag_becomes(&group, &topic, 7).await;

    let unknown = client.broker.lag(&group, &client.name("never-created")).await;
    assert!(!matches!(unknown, Ok(Some(_))), "the lag on a topic that does not exist is {unknown:?}");
}
