//! A broker that is killed under load and comes back: clients that live through it work again within seconds, and nothing
//! that was acknowledged is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use messaging::conformance::Outage;
use messaging::{Broker, Producer};
use rocketmq::RocketMqBroker;

use crate::apache::ApacheProcess;
use crate::embedded::{EmbeddedProcess, READY, shared, this_binary_as};
use crate::scenario::{PATIENCE, QUEUES, body, commit, connect, message, receive, topic, unique, until_reachable};

/// What is promised for the relay; the clients have to be well below.
const BACK_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_clients_are_back_soon_after_the_embedded_broker_is() {
    let process = EmbeddedProcess::start();
    live_through_an_outage(&process, &process.name_server()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_clients_are_back_soon_after_apaches_broker_is() {
    let Some(process) = ApacheProcess::start_if_available("apaches broker") else { return };
    live_through_an_outage(&process, &process.name_server()).await;
}

const MEMBER_OF: &str = "MEMBER_OF";

#[tokio::test]
async fn a_killed_members_queues_go_to_the_next_one_at_once() {
    let name_server = shared().name_server();
    let broker = connect(&name_server);
    let (topic, group) = (topic(&broker, "killed").await, unique("killed-group"));
    let membership = format!("{name_server} {group} {topic}");
    let mut member = this_binary_as("outage::member_process", &[(MEMBER_OF, &membership)]);
    let producer = broker.producer().await.unwrap();
    for queue in 0..QUEUES {
        producer.send(&topic, queue, &[message(queue.to_string())]).await.unwrap();
    }

    member.kill().unwrap();
    member.wait().unwrap();
    let killed = Instant::now();
    let mut next = broker.consumer(&group, &[&topic]).await.unwrap();
    receive(&mut *next, usize::from(QUEUES)).await;

    println!("all queues of a killed member after {:?}", killed.elapsed());
    assert!(killed.elapsed() < BACK_WITHIN, "it took {:?}", killed.elapsed());
}

/// Not a test: a member of a group, as a process of its own.
#[tokio::test]
#[ignore = "started by another test as a process of its own"]
async fn member_process() {
    let Ok(membership) = std::env::var(MEMBER_OF) else { return };
    let [name_server, group, topic] = membership.split(' ').collect::<Vec<_>>()[..] else { panic!("{membership}") };
    let broker = connect(name_server);
    let mut member = broker.consumer(group, &[topic]).await.unwrap();
    member.poll(1, Duration::from_millis(300)).await.unwrap();
    println!("{READY}");
    let give_up_at = Instant::now() + PATIENCE;
    while Instant::now() < give_up_at {
        let _ = member.poll(100, Duration::from_millis(100)).await;
    }
}

async fn live_through_an_outage(process: &dyn Outage, name_server: &str) {
    let broker = connect(name_server);
    let topic = topic(&broker, "outage").await;
    let mut consumer = broker.consumer(&unique("outage-group"), &[&topic]).await.unwrap();
    let producer: Arc<dyn Producer> = broker.producer().await.unwrap().into();
    let load = Load::start(producer.clone(), topic.clone());
    receive(&mut *consumer, 200).await;

    process.stop_broker().await;
    until_down(&broker).await;
    // Longer than the client's own breaker needs to open.
    tokio::time::sleep(Duration::from_secs(4)).await;
    process.start_broker().await;
    // Apache's broker may need ten seconds more to register with the name server.
    until_reachable(&broker).await;
    let returned = Instant::now();
    send_until_confirmed(&*producer, &topic).await;
    let sent_after = returned.elapsed();
    receive(&mut *consumer, 1).await;
    let received_after = returned.elapsed();
    println!("after the broker's return: first send {sent_after:?}, first delivery {received_after:?}");
    let confirmed = load.stop().await;

    let delivered = read_to_the_end(&broker, &topic).await;
    let lost: Vec<_> = confirmed.difference(&delivered).collect();
    assert!(lost.is_empty(), "{} of {} confirmed messages are lost", lost.len(), confirmed.len());
    assert!(sent_after < BACK_WITHIN, "sending took {sent_after:?}");
    assert!(received_after < BACK_WITHIN, "receiving took {received_after:?}");
    broker.close().await;
}

/// Sends numbered batches to all queues, remembering what was confirmed.
struct Load {
    stopped: Arc<AtomicBool>,
    sending: Vec<tokio::task::JoinHandle<BTreeSet<String>>>,
}

impl Load {
    fn start(producer: Arc<dyn Producer>, topic: String) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let sending = (0..QUEUES)
            .map(|queue| {
                let (producer, topic, stopped) = (producer.clone(), topic.clone(), stopped.clone());
                tokio::spawn(async move {
                    let mut confirmed = BTreeSet::new();
                    let mut number = 0;
                    while !stopped.load(Ordering::Relaxed) {
                        let batch: Vec<_> =
                            (number..number + 5).map(|number| message(format!("{queue}:{number}"))).collect();
                        if producer.send(&topic, queue, &batch).await.is_ok() {
                            confirmed.extend(batch.into_iter().map(|message| message.body));
                            number += 5;
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    confirmed
                })
            })
            .collect();
        Self { stopped, sending }
    }

    async fn stop(self) -> BTreeSet<String> {
        self.stopped.store(true, Ordering::Relaxed);
        let mut confirmed = BTreeSet::new();
        for sending in self.sending {
            confirmed.extend(sending.await.unwrap());
        }
        confirmed
    }
}

async fn until_down(broker: &RocketMqBroker) {
    let give_up_at = Instant::now() + PATIENCE;
    while broker.is_reachable().await {
        assert!(Instant::now() < give_up_at, "nobody noticed that the broker is gone");
    }
}

async fn send_until_confirmed(producer: &dyn Producer, topic: &str) {
    let give_up_at = Instant::now() + PATIENCE;
    while let Err(error) = producer.send(topic, 0, &[message("after")]).await {
        assert!(Instant::now() < give_up_at, "{error}");
    }
}

/// Reads and commits with a new group until it is not behind any more.
async fn read_to_the_end(broker: &RocketMqBroker, topic: &str) -> BTreeSet<String> {
    let group = unique("outage-reader");
    let mut reader = broker.consumer(&group, &[topic]).await.unwrap();
    let mut delivered = BTreeSet::new();
    while broker.lag(&group, topic).await != Ok(Some(0)) {
        let polled = reader.poll(1_000, Duration::from_millis(100)).await.unwrap();
        commit(&mut *reader, &polled).await;
        delivered.extend(polled.iter().map(body));
    }
    delivered
}
