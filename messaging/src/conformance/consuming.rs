//! Rules for consumers.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::QUEUES;
use super::client::{Client, message, numbered, numbers_by_queue, sorted_numbers};
use crate::broker::property;

pub(super) async fn what_was_sent_arrives_unchanged(client: &Client<'_>) {
    let topic = client.topic("unchanged").await;
    let mut sent = message(r#"{"name":"演出 – Zürich 🎫","amount":299.00}"#);
    sent.ordering_key = "键-1".into();
    client.send(&topic, 5, std::slice::from_ref(&sent)).await;

    let mut consumer = client.consumer(&client.name("unchanged-group"), &[&topic]).await;
    let received = client.receive(&mut *consumer, 1).await.remove(0);
    consumer.close().await;

    assert_eq!(received.queue.topic, topic);
    assert_eq!(received.queue.queue, 5);
    assert_eq!(received.offset, 0);
    assert_eq!(String::from_utf8(received.body).as_deref(), Ok(sent.body.as_str()));
    assert_eq!(received.tags, sent.event_type);
    let keys: Vec<&str> = received.keys.split_whitespace().collect();
    assert_eq!(keys, [sent.message_id.to_string().as_str(), sent.business_id.as_str()]);
    let got = |name: &str| received.properties.get(name).map(String::as_str);
    assert_eq!(got(property::ORDERING_KEY), Some("键-1"));
    assert_eq!(got(property::STREAM_ID), Some("order-ORD202312250001"));
    assert_eq!(got(property::POSITION), Some("7"));
    assert_eq!(got(property::REPLAY), None, "what was not sent does not arrive");
}

pub(super) async fn each_queue_keeps_its_order(client: &Client<'_>) {
    let topic = client.topic("order").await;
    let mut expected: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    for batch in 0..10 {
        for queue in 0..QUEUES {
            let numbers = batch * 20..(batch + 1) * 20;
            client.send(&topic, queue, &numbered(numbers.clone())).await;
            expected.entry(queue).or_default().extend(numbers);
        }
    }
    let mut consumer = client.consumer(&client.name("order-group"), &[&topic]).await;
    let received = client.receive(&mut *consumer, 10 * 20 * usize::from(QUEUES)).await;
    consumer.close().await;
    assert_eq!(numbers_by_queue(&received), expected);
    let offsets_in_row = received.iter().filter(|delivery| delivery.queue.queue == 0).map(|delivery| delivery.offset);
    assert!(offsets_in_row.eq(0..200), "offsets count the queue's messages");
}

pub(super) async fn one_consumer_reads_several_topics(client: &Client<'_>) {
    let topics = [client.topic("several-a").await, client.topic("several-b").await, client.topic("several-c").await];
    for topic in &topics {
        client.send(topic, 1, &numbered(0..5)).await;
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut consumer = client.consumer(&client.name("several-group"), &names).await;
    let received = client.receive(&mut *consumer, 15).await;
    consumer.close().await;
    let from: HashSet<&str> = received.iter().map(|delivery| delivery.queue.topic.as_str()).collect();
    assert_eq!(from, HashSet::from_iter(names));
}

pub(super) async fn a_poll_keeps_its_bounds(client: &Client<'_>) {
    let topic = client.topic("bounds").await;
    client.send(&topic, 0, &numbered(0..10)).await;
    let mut consumer = client.consumer(&client.name("bounds-group"), &[&topic]).await;
    let mut numbers = Vec::new();
    let all = async {
        while numbers.len() < 10 {
            let polled = consumer.poll(3, Duration::from_millis(200)).await.expect("poll");
            assert!(polled.len() <= 3, "a poll for 3 gave {}", polled.len());
            numbers.extend(sorted_numbers(&polled));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("ten messages in polls of three");
    assert_eq!(numbers, (0..10).collect::<Vec<u32>>());
    consumer.close().await;
}

pub(super) async fn what_was_not_committed_comes_again(client: &Client<'_>) {
    let (topic, group) = (client.topic("again").await, client.name("again-group"));
    client.send(&topic, 2, &numbered(0..10)).await;
    let mut first = client.consumer(&group, &[&topic]).await;
    client.receive(&mut *first, 10).await;
    first.close().await;

    let mut second = client.consumer(&group, &[&topic]).await;
    let received = client.receive(&mut *second, 10).await;
    assert_eq!(sorted_numbers(&received), (0..10).collect::<Vec<u32>>());
    client.commit(&mut *second, &received).await;
    second.close().await;

    let mut third = client.consumer(&group, &[&topic]).await;
    client.receive_nothing(&mut *third).await;
    third.close().await;
}

pub(super) async fn a_commit_holds_to_the_very_offset(client: &Client<'_>) {
    let (topic, group) = (client.topic("commit").await, client.name("commit-group"));
    client.send(&topic, 0, &numbered(0..10)).await;
    client.send(&topic, 3, &numbered(100..110)).await;
    let mut first = client.consumer(&group, &[&topic]).await;
    let received = client.receive(&mut *first, 20).await;
    let handled: Vec<_> =
        received.into_iter().filter(|delivery| delivery.queue.queue == 0 && delivery.offset < 4).collect();
    client.commit(&mut *first, &handled).await;
    first.close().await;

    let mut second = client.consumer(&group, &[&topic]).await;
    let received = client.receive(&mut *second, 16).await;
    let expected: Vec<u32> = (4..10).chain(100..110).collect();
    assert_eq!(sorted_numbers(&received), expected);
    second.close().await;
}

pub(super) async fn each_group_gets_everything(client: &Client<'_>) {
    let topic = client.topic("groups").await;
    client.send(&topic, 0, &numbered(0..10)).await;
    for group in [client.name("groups-one"), client.name("groups-two")] {
        let mut consumer = client.consumer(&group, &[&topic]).await;
        let received = client.receive(&mut *consumer, 10).await;
        client.commit(&mut *consumer, &received).await;
        consumer.close().await;
    }
}

pub(super) async fn members_of_a_group_share_the_queues(client: &Client<'_>) {
    let (topic, group) = (client.topic("members").await, client.name("members-group"));
    let mut one = client.consumer(&group, &[&topic]).await;
    let mut other = client.consumer(&group, &[&topic]).await;
    let mut seen: HashSet<u32> = HashSet::new();
    // Queues are dealt anew some time after a member joined; until then one of them has them all.
    let shared = async {
        for round in 0.. {
            for queue in 0..QUEUES {
                let number = round * u32::from(QUEUES) + u32::from(queue);
                client.send(&topic, queue, &numbered(number..number + 1)).await;
            }
            let mut polled_by_each = [0, 0];
            let expected = (round as usize + 1) * usize::from(QUEUES);
            while seen.len() < expected {
                for (polled, consumer) in polled_by_each.iter_mut().zip([&mut one, &mut other]) {
                    let deliveries = consumer.poll(100, Duration::from_millis(50)).await.expect("poll");
                    client.commit(&mut **consumer, &deliveries).await;
                    *polled += deliveries.len();
                    seen.extend(sorted_numbers(&deliveries));
                }
            }
            if polled_by_each.iter().all(|polled| *polled > 0) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), shared).await.expect("two members share the queues");
    one.close().await;
    other.close().await;
}

pub(super) async fn every_listener_hears_everything_from_now_on(client: &Client<'_>) {
    let (topic, name) = (client.topic("listening").await, client.name("listeners"));
    client.send(&topic, 0, &numbered(0..5)).await;
    let mut first = client.listener(&name, &[&topic]).await;
    let mut second = client.listener(&name, &[&topic]).await;
    for queue in 0..QUEUES {
        let number = 10 + u32::from(queue);
        client.send(&topic, queue, &numbered(number..number + 1)).await;
    }
    let expected: Vec<u32> = (10..10 + u32::from(QUEUES)).collect();
    for listener in [&mut first, &mut second] {
        let received = client.receive(&mut **listener, expected.len()).await;
        assert_eq!(sorted_numbers(&received), expected, "neither what was before, nor only a share");
        client.commit(&mut **listener, &received).await;
    }
    first.close().await;

    let mut later = client.listener(&name, &[&topic]).await;
    client.send(&topic, 3, &numbered(20..21)).await;
    for listener in [&mut second, &mut later] {
        assert_eq!(sorted_numbers(&client.receive(&mut **listener, 1).await), [20]);
    }
    second.close().await;
    later.close().await;
}
