//! Rules for what the broker itself gave up.

use super::client::{Client, numbered, sorted_numbers};
use crate::dead_letter::given_up::given_up_topic;

pub(super) async fn what_was_given_up_for_a_group_can_be_read_like_any_topic(client: &Client<'_>) {
    let (group, reader) = (client.name("given-up-group"), client.name("given-up-reader"));
    let topic = given_up_topic(&group);
    let absent = client.broker.lag(&reader, &topic).await;
    assert!(!matches!(absent, Ok(Some(_))), "nothing was given up yet, and the lag is {absent:?}");

    // The broker would make it with its first message.
    client.eventually("make the topic", || async { client.broker.create_topics(&[&topic], 1).await }).await;
    client.send(&topic, 0, &numbered(0..5)).await;
    client.lag_becomes(&reader, &topic, 5).await;

    let mut consumer = client.consumer(&reader, &[&topic]).await;
    let received = client.receive(&mut *consumer, 5).await;
    assert_eq!(sorted_numbers(&received), [0, 1, 2, 3, 4]);
    assert_eq!(received[0].queue.topic, topic);
    client.commit(&mut *consumer, &received).await;
    consumer.close().await;
    client.lag_becomes(&reader, &topic, 0).await;
}
