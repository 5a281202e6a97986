//! A cluster of Apache RocketMQ whose master is killed under load: the replica takes over, and nothing acknowledged is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use messaging::{Broker, Topic};
use rocketmq::{Credentials, RocketMqBroker, RocketMqConfig};
use support::cluster::{BROKERS, RocketMqCluster};
use support::{Client, Instance, eventually};

const TICKET_TYPE: i64 = 2001;
const BUYERS: usize = 8;
const ORDERS_BEFORE: usize = 40;
const ORDERS_AFTER: usize = 40;
/// From a kill -9 of the master to orders that are confirmed by its replica.
const FAIL_OVER: Duration = Duration::from_secs(60);
const DRAINED_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn the_master_dies_under_load_and_nothing_acknowledged_is_lost() {
    let Some(cluster) = RocketMqCluster::start_if_available() else { return };
    let name_servers = cluster.name_servers();
    let (access_key, secret_key) = cluster.credentials();
    let instance = Instance::start(&[
        ("LEDGER__ROCKETMQ__NAME_SERVER", &name_servers),
        ("LEDGER__ROCKETMQ__ACCESS_KEY", access_key),
        ("LEDGER__ROCKETMQ__SECRET_KEY", secret_key),
        // Every order goes through the cluster, also while it has no master.
        ("LEDGER__ROLLOUT__INSTANCE_MODE", "async"),
    ]);
    assert!(instance.run(&["topics"]).status.success(), "creating them again changes nothing");
    let seen = cluster.topics();
    assert!(topics_of_ours().iter().all(|topic| seen.contains(topic)), "mqadmin sees {seen:?}");
    assert_strangers_are_refused(&instance);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 10_000).await;
    let master = cluster.master();
    until_the_replica_knows_the_topics(&cluster, master);

    let load = Load::start(&client);
    load.until_placed(ORDERS_BEFORE).await;
    cluster.kill(master);
    let killed = Instant::now();
    let first_after = client.place(9_999, TICKET_TYPE, 1).await;
    client.await_status(&first_after, &["AWAITING_PAYMENT"], FAIL_OVER).await;
    println!("orders went on {:?} after the master was killed", killed.elapsed());
    load.until_placed(load.placed() + ORDERS_AFTER).await;
    let orders = load.stop().await;

    for order in &orders {
        client.await_status(order, &["CONFIRMED"], DRAINED_WITHIN).await;
    }
    assert_ne!(cluster.master(), master, "the replica was elected");
    instance.assert_settled();
    let delivered = read_back(&cluster).await;
    assert_nothing_sent_is_missing(&instance, &delivered);
    assert_in_order_per_key(&delivered);

    // One name server is enough, and the old master comes back as the replica of the new one.
    cluster.kill("name-server-1");
    cluster.start_again(master);
    let last = client.place(9_998, TICKET_TYPE, 1).await;
    client.await_status(&last, &["AWAITING_PAYMENT"], FAIL_OVER).await;
    client.pay(&last, "ALIPAY").await;
    client.await_status(&last, &["CONFIRMED"], FAIL_OVER).await;
    instance.assert_settled();
}

/// Every topic of ours, 8 read and 8 write queues each.
fn topics_of_ours() -> Vec<(String, u64, u64)> {
    Topic::ALL.iter().map(|topic| (topic.name().to_owned(), 8, 8)).collect()
}

/// The same command, without the keys.
fn assert_strangers_are_refused(instance: &Instance) {
    let without_keys = instance
        .command(&["topics"])
        .env_remove("LEDGER__ROCKETMQ__ACCESS_KEY")
        .env_remove("LEDGER__ROCKETMQ__SECRET_KEY")
        .output()
        .unwrap();
    assert!(!without_keys.status.success(), "the brokers let a stranger in");
}

/// A replica learns of new topics every ten seconds; a master that dies before that takes them with it.
fn until_the_replica_knows_the_topics(cluster: &RocketMqCluster, master: &str) {
    let replica = BROKERS.into_iter().find(|broker| *broker != master).unwrap();
    eventually("the replica to know the topics", Duration::from_secs(60), || {
        let known = cluster.topics_of(replica);
        topics_of_ours().iter().all(|topic| known.contains(topic)).then_some(())
    });
}

/// Buyers who place an order, wait for their tickets to be held, and pay, again and again.
struct Load {
    stopped: Arc<AtomicBool>,
    placed: Arc<AtomicUsize>,
    buyers: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (stopped, placed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let buy = |buyer: usize| {
            let (client, stopped, placed) = (client.clone(), stopped.clone(), placed.clone());
            tokio::spawn(async move {
                let mut orders = Vec::new();
                while !stopped.load(Ordering::SeqCst) {
                    let order = client.place(1 + buyer as i64, TICKET_TYPE, 1).await;
                    placed.fetch_add(1, Ordering::SeqCst);
                    client.await_status(&order, &["AWAITING_PAYMENT"], FAIL_OVER).await;
                    client.pay(&order, "ALIPAY").await;
                    orders.push(order);
                }
                orders
            })
        };
        let buyers = (0..BUYERS).map(buy).collect();
        Self { stopped, placed, buyers }
    }

    fn placed(&self) -> usize {
        self.placed.load(Ordering::SeqCst)
    }

    async fn until_placed(&self, count: usize) {
        let since = Instant::now();
        while self.placed() < count {
            assert!(since.elapsed() < DRAINED_WITHIN, "{} of {count} orders were placed", self.placed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The orders that were placed and paid.
    async fn stop(self) -> Vec<String> {
        self.stopped.store(true, Ordering::SeqCst);
        let mut orders = Vec::new();
        for buyer in self.buyers {
            orders.extend(buyer.await.unwrap());
        }
        orders
    }
}

/// A message as the cluster has it now, in the order of its queue.
struct Delivered {
    message_id: String,
    topic: &'static str,
    ordering_key: String,
    stream: (String, i64),
}

/// Everything in the topics, read by groups that have read nothing before.
async fn read_back(cluster: &RocketMqCluster) -> Vec<Delivered> {
    let (access_key, secret_key) = cluster.credentials();
    let credentials = Credentials { access_key: access_key.into(), secret_key: secret_key.into() };
    let config = RocketMqConfig {
        name_server: cluster.name_servers(),
        credentials: Some(credentials),
        ..RocketMqConfig::default()
    };
    let broker = RocketMqBroker::connect(config).unwrap();
    let mut delivered = Vec::new();
    for topic in Topic::ALL {
        let group = format!("ticket-consumer-group-read-back-{}", topic.name());
        let mut reader = broker.consumer(&group, &[topic.name()]).await.unwrap();
        let since = Instant::now();
        while broker.lag(&group, topic.name()).await != Ok(Some(0)) {
            assert!(since.elapsed() < DRAINED_WITHIN, "{} could not be read to its end", topic.name());
            let polled = reader.poll(1_000, Duration::from_millis(200)).await.unwrap();
            let mut next = BTreeMap::new();
            for message in polled {
                next.insert(message.queue.clone(), message.offset + 1);
                delivered.push(Delivered::from(topic.name(), &message));
            }
            reader.commit(&next.into_iter().collect::<Vec<_>>()).await.unwrap();
        }
        reader.close().await;
    }
    broker.close().await;
    delivered
}

impl Delivered {
    fn from(topic: &'static str, message: &messaging::Delivery) -> Self {
        let property = |name: &str| message.properties.get(name).cloned().unwrap_or_default();
        let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
        Self {
            message_id: body["messageId"].as_str().unwrap().to_owned(),
            topic,
            ordering_key: property("orderingKey"),
            stream: (property("streamId"), property("streamVersion").parse().unwrap()),
        }
    }
}

fn assert_nothing_sent_is_missing(instance: &Instance, delivered: &[Delivered]) {
    let found: BTreeSet<&str> = delivered.iter().map(|message| message.message_id.as_str()).collect();
    let url = instance.info()["database_url"].as_str().unwrap().to_owned();
    let sent: Vec<String> = std::thread::spawn(move || {
        let mut database = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        let rows = database.query("select message_id::text from ledger.outbox", &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    })
    .join()
    .unwrap();
    let missing: Vec<&String> = sent.iter().filter(|id| !found.contains(id.as_str())).collect();
    assert!(sent.len() > 8 * (ORDERS_BEFORE + ORDERS_AFTER), "only {} messages were sent", sent.len());
    assert!(missing.is_empty(), "{} of {} messages are lost: {missing:?}", missing.len(), sent.len());
}

/// What was sent twice may come again later; first times are in the order of their stream, in each topic and for each key.
fn assert_in_order_per_key(delivered: &[Delivered]) {
    let mut seen = BTreeSet::new();
    let mut last = BTreeMap::new();
    for message in delivered.iter().filter(|message| seen.insert(message.message_id.clone())) {
        let (stream, version) = &message.stream;
        let previous = last.insert((message.topic, &message.ordering_key, stream), version);
        assert!(
            previous.is_none_or(|previous| previous <= version),
            "{} of {stream} came after {previous:?} in {}",
            version,
            message.topic
        );
    }
}
