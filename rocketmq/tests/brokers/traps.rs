//! One test for each habit of the client that the adapter deals with (the table in `src/lib.rs`).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use messaging::{Broker, BrokerError, SendError};
use rocketmq::{RocketMqBroker, RocketMqConfig};

use crate::embedded::{EmbeddedProcess, shared};
use crate::scenario::{bodies, commit, connect, eventually, message, receive, tagged, topic, unique, until_reachable};

/// Nothing of the kind has room in it for the client's own 20 and 30 seconds.
const PROMPT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn many_clients_in_two_adapters_do_not_take_each_others_name() {
    let one = connect(&shared().name_server());
    let other = connect(&shared().name_server());
    let topic = topic(&one, "names").await;

    for (number, broker) in [&one, &other, &one, &other].into_iter().enumerate() {
        let queue = u16::try_from(number).unwrap();
        let producer = broker.producer().await.unwrap();
        producer.send(&topic, queue, &[message(number.to_string())]).await.unwrap();
    }

    let mut consumer = one.consumer(&unique("names-group"), &[&topic]).await.unwrap();
    let received: BTreeSet<_> = bodies(&receive(&mut *consumer, 4).await).into_iter().collect();
    assert_eq!(received.len(), 4);
}

#[tokio::test]
async fn several_tags_are_subscribed_to_at_once() {
    let broker = connect(&shared().name_server());
    let topic = topic(&broker, "tags").await;
    let producer = broker.producer().await.unwrap();
    let batch = [tagged("LOCK", "a"), tagged("DEDUCT", "b"), tagged("ROLLBACK", "c"), tagged("LOCK", "d")];
    producer.send(&topic, 0, &batch).await.unwrap();

    let group = unique("tags-group");
    let mut consumer = broker.consumer_of_tags(&group, &[&topic], &["LOCK", "ROLLBACK"]).await.unwrap();

    assert_eq!(bodies(&receive(&mut *consumer, 3).await), ["a", "c", "d"]);
}

#[tokio::test]
async fn without_a_name_server_everything_says_so_promptly_and_works_once_it_is_there() {
    let process = EmbeddedProcess::start();
    process.kill();
    let broker = connect(&process.name_server());
    let started = Instant::now();

    assert!(!broker.is_reachable().await);
    let created = broker.create_topics(&["orders"], 8).await;
    assert!(matches!(created, Err(BrokerError::Unavailable(_))), "{created:?}");
    let producer = broker.producer().await.unwrap();
    let sent = producer.send("orders", 0, &[message("early")]).await;
    assert!(matches!(sent, Err(SendError::Unavailable(_))), "{sent:?}");
    assert!(started.elapsed() < PROMPT * 4, "{:?}", started.elapsed());

    process.restart();
    until_reachable(&broker).await;
    eventually("create", async || broker.create_topics(&["orders"], 8).await).await;
    eventually("send", async || producer.send("orders", 0, &[message("late")]).await).await;
}

#[tokio::test]
async fn a_name_server_that_knows_no_topics_yet_makes_none_unknown() {
    let process = EmbeddedProcess::start();
    let broker = connect(&process.name_server());
    let topic = topic(&broker, "kept").await;
    let producer = broker.producer().await.unwrap();
    producer.send(&topic, 0, &[message("before")]).await.unwrap();

    process.kill();
    process.restart();

    let mut answers = Vec::new();
    let give_up_at = Instant::now() + PROMPT * 3;
    loop {
        let fresh = broker.producer().await.unwrap();
        match fresh.send(&topic, 0, &[message("after")]).await {
            Ok(()) => break,
            Err(error) => answers.push(error),
        }
        assert!(Instant::now() < give_up_at, "{answers:?}");
    }
    assert!(answers.iter().all(|answer| matches!(answer, SendError::Unavailable(_))), "{answers:?}");
}

#[tokio::test]
async fn one_of_several_name_servers_is_enough() {
    let (dead, live) = ("127.0.0.1:1", shared().name_server());
    for name_servers in [format!("{dead};{live}"), format!("{live};{dead}")] {
        let broker = connect(&name_servers);
        assert!(broker.is_reachable().await, "{name_servers}");
        let topic = topic(&broker, "several").await;

        let producer = broker.producer().await.unwrap();
        eventually("send", async || producer.send(&topic, 1, &[message("x")]).await).await;
        let mut consumer = broker.consumer(&unique("several-group"), &[&topic]).await.unwrap();
        assert_eq!(bodies(&receive(&mut *consumer, 1).await), ["x"]);
    }
}

#[tokio::test]
async fn an_unknown_topic_and_a_message_over_the_limit_are_told_apart_promptly() {
    let config = RocketMqConfig {
        name_server: shared().name_server(),
        max_message_size_bytes: 10_000,
        ..RocketMqConfig::default()
    };
    let broker = RocketMqBroker::connect(config).unwrap();
    let topic = topic(&broker, "limits").await;
    let producer = broker.producer().await.unwrap();
    let started = Instant::now();

    let unknown = producer.send(&unique("never-created"), 0, &[message("x")]).await;
    assert!(matches!(unknown, Err(SendError::UnknownTopic(_))), "{unknown:?}");
    let large = producer.send(&topic, 0, &[message("small"), message("x".repeat(10_001))]).await;
    assert!(matches!(large, Err(SendError::TooLarge { limit_bytes: 10_000, .. })), "{large:?}");
    let no_queue = producer.send(&topic, 99, &[message("x")]).await;
    assert!(matches!(no_queue, Err(SendError::Rejected(_))), "{no_queue:?}");
    assert!(started.elapsed() < PROMPT * 2, "{:?}", started.elapsed());
    producer.send(&topic, 0, &[message("the same producer is still good")]).await.unwrap();
}

#[tokio::test]
async fn what_the_broker_finds_too_large_is_told_apart_too() {
    let config = RocketMqConfig {
        name_server: shared().name_server(),
        max_message_size_bytes: 64 * 1024 * 1024,
        max_batch_bytes: 64 * 1024 * 1024,
        ..RocketMqConfig::default()
    };
    let broker = RocketMqBroker::connect(config).unwrap();
    let topic = topic(&broker, "broker-limit").await;
    let producer = broker.producer().await.unwrap();

    let large = producer.send(&topic, 0, &[message("x".repeat(5 * 1024 * 1024))]).await;
    assert!(matches!(large, Err(SendError::TooLarge { .. })), "{large:?}");

    let megabyte = message("x".repeat(1024 * 1024));
    producer.send(&topic, 1, &vec![megabyte; 7]).await.expect("a batch the broker does not take is halved");
    let mut consumer = broker.consumer(&unique("broker-limit-group"), &[&topic]).await.unwrap();
    assert_eq!(receive(&mut *consumer, 7).await.len(), 7);
}

#[tokio::test]
async fn a_batch_larger_than_a_call_arrives_whole_and_in_order() {
    let config =
        RocketMqConfig { name_server: shared().name_server(), max_batch_bytes: 20_000, ..RocketMqConfig::default() };
    let broker = RocketMqBroker::connect(config).unwrap();
    let topic = topic(&broker, "split").await;
    let sent: Vec<_> = (0..500).map(|number| message(format!("{number:0>200}"))).collect();

    broker.producer().await.unwrap().send(&topic, 3, &sent).await.unwrap();

    let mut consumer = broker.consumer(&unique("split-group"), &[&topic]).await.unwrap();
    let expected: Vec<_> = sent.into_iter().map(|message| message.body).collect();
    assert_eq!(bodies(&receive(&mut *consumer, 500).await), expected);
}

#[tokio::test]
async fn the_first_message_right_after_a_topics_creation_is_taken() {
    let broker = connect(&shared().name_server());
    let producer = broker.producer().await.unwrap();
    for _ in 0..5 {
        let topic = topic(&broker, "fresh").await;
        producer.send(&topic, 7, &[message("first")]).await.unwrap();
    }
}

#[tokio::test]
async fn a_message_keeps_its_id_over_sends_and_the_brokers_own_is_not_used() {
    let broker = connect(&shared().name_server());
    let topic = topic(&broker, "ids").await;
    let producer = broker.producer().await.unwrap();
    let message = message("again");
    for _ in 0..2 {
        producer.send(&topic, 0, std::slice::from_ref(&message)).await.unwrap();
    }

    let mut consumer = broker.consumer(&unique("ids-group"), &[&topic]).await.unwrap();
    let received = receive(&mut *consumer, 2).await;
    for delivery in received {
        assert_eq!(delivery.keys, format!("{} {}", message.message_id, message.business_id));
    }
}

#[tokio::test]
async fn an_idle_consumer_and_the_whole_adapter_close_promptly() {
    let broker = connect(&shared().name_server());
    let topic = topic(&broker, "close").await;
    let mut consumer = broker.consumer(&unique("close-group"), &[&topic]).await.unwrap();
    assert!(consumer.poll(10, Duration::from_millis(300)).await.unwrap().is_empty());

    let started = Instant::now();
    consumer.close().await;
    assert!(started.elapsed() < PROMPT, "the consumer took {:?}", started.elapsed());

    let started = Instant::now();
    broker.close().await;
    assert!(started.elapsed() < PROMPT + Duration::from_millis(500), "the adapter took {:?}", started.elapsed());
}

#[tokio::test]
async fn idle_queues_do_not_hold_up_a_busy_one() {
    let broker = connect(&shared().name_server());
    let mut topics = Vec::new();
    for _ in 0..11 {
        topics.push(topic(&broker, "many").await);
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut consumer = broker.consumer(&unique("many-group"), &names).await.unwrap();
    let producer = broker.producer().await.unwrap();
    for name in &names {
        producer.send(name, 0, &[message("warm up")]).await.unwrap();
    }
    receive(&mut *consumer, names.len()).await;

    let mut took = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let started = Instant::now();
        producer.send(name, u16::try_from(number).unwrap() % 8, &[message("x")]).await.unwrap();
        receive(&mut *consumer, 1).await;
        took.push(started.elapsed());
    }
    // What holds up one holds up most.
    took.sort();
    assert!(took[took.len() / 2] < Duration::from_millis(900), "{took:?}");
    assert!(took[took.len() - 1] < PROMPT * 2, "{took:?}");
}

#[tokio::test]
async fn a_commit_is_on_the_broker_when_it_returns() {
    let broker = connect(&shared().name_server());
    let (topic, group) = (topic(&broker, "commit").await, unique("commit-group"));
    let producer = broker.producer().await.unwrap();
    for queue in 0..8 {
        producer.send(&topic, queue, &vec![message("x"); 10]).await.unwrap();
    }
    // The broker counts a stored message once it has indexed it, a moment after it answered.
    let all_counted = async { while broker.lag(&group, &topic).await != Ok(Some(80)) {} };
    tokio::time::timeout(Duration::from_secs(10), all_counted)
        .await
        .expect("nothing was committed yet: all 80 are behind");

    let mut consumer = broker.consumer(&group, &[&topic]).await.unwrap();
    let received = receive(&mut *consumer, 80).await;
    commit(&mut *consumer, &received).await;

    assert_eq!(broker.lag(&group, &topic).await, Ok(Some(0)));
}

#[tokio::test]
async fn a_poll_that_nobody_waits_for_any_more_loses_nothing() {
    let broker = connect(&shared().name_server());
    let topic = topic(&broker, "cancelled").await;
    let mut consumer = broker.consumer(&unique("cancelled-group"), &[&topic]).await.unwrap();
    let producer = broker.producer().await.unwrap();
    let mut received = Vec::new();
    let nothing_yet = consumer.poll(5, Duration::from_secs(5));
    assert!(tokio::time::timeout(Duration::from_millis(1), nothing_yet).await.is_err(), "a poll is given up");
    for number in 0..40 {
        // Given up about when its message comes: a little before, or behind.
        let body = [message(number.to_string())];
        let mut sending = producer.send(&topic, 0, &body);
        tokio::select! {
            polled = consumer.poll(5, Duration::from_millis(50)) => {
                received.extend(polled.unwrap());
                sending.await.unwrap();
            }
            sent = &mut sending => sent.unwrap(),
        }
    }
    received.extend(receive(&mut *consumer, 40 - received.len()).await);

    let expected: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    assert_eq!(bodies(&received), expected);
}

#[tokio::test]
async fn a_consumer_that_is_dropped_hands_its_queues_over() {
    let broker = connect(&shared().name_server());
    let (topic, group) = (topic(&broker, "dropped").await, unique("dropped-group"));
    let mut dropped = broker.consumer(&group, &[&topic]).await.unwrap();
    let _ = dropped.poll(1, Duration::from_millis(300)).await;
    drop(dropped);

    let mut next = broker.consumer(&group, &[&topic]).await.unwrap();
    let producer = broker.producer().await.unwrap();
    for queue in 0..8 {
        producer.send(&topic, queue, &[message(queue.to_string())]).await.unwrap();
    }
    assert_eq!(receive(&mut *next, 8).await.len(), 8);
}
