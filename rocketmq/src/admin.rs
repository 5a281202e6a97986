//! The administrative calls: which brokers there are, topics, offsets. One client, replaced when it fails.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use messaging::{QueueBacklog, QueueRef};
use rocketmq_client_rust::{
    BrokerAdmin, ClientRuntime, ConsumerAdmin, DefaultMQAdminExt, OffsetAdmin, RouteAdmin, TopicAdmin,
};
use rocketmq_model::common::config::TopicConfig;
use rocketmq_model::common::message::message_queue::MessageQueue;
use tokio::net::TcpStream;

use crate::config::RocketMqConfig;
use crate::engine::{Clients, Engine, Resident, end, within};
use crate::failure::Failure;
use crate::reconnect::Reconnecting;

/// The id a master has among the brokers of its name.
const MASTER: u64 = 0;
/// How often the name server is asked for the route of a topic that was just created.
const ROUTE_POLL: Duration = Duration::from_millis(50);

/// Masters by the broker's name, with their `host:port`.
pub(crate) type Masters = BTreeMap<String, String>;
/// What a broker says of itself, by its own names.
pub(crate) type RuntimeInfo = HashMap<String, String>;

/// The calls, from any thread.
pub(crate) struct Admin {
    calls: Resident<Calls>,
}

impl Admin {
    pub(crate) fn start(engine: &Engine, config: &RocketMqConfig) -> Result<Self, Failure> {
        let settings = config.clone();
        let calls = engine.settle(move |clients| Calls::new(clients, &settings))?;
        Ok(Self { calls })
    }

    /// The masters the name server knows. None known is an answer too: a name server that has just started.
    pub(crate) async fn masters(&self) -> Result<Masters, Failure> {
        self.calls.run(|calls| async move { calls.masters().await }.boxed_local()).await?
    }

    /// Creates the topic on each master that does not have it, and waits until the name server routes to it.
    pub(crate) async fn create_topic(&self, topic: &str, queues: u16) -> Result<(), Failure> {
        let topic = topic.to_owned();
        self.calls.run(move |calls| async move { calls.create_topic(&topic, queues).await }.boxed_local()).await?
    }

    /// Whether the topic exists: `false` only when every master said so, because "the name server has no route" is also
    /// what a name server says that has just started.
    pub(crate) async fn topic_exists(&self, topic: &str) -> Result<bool, Failure> {
        let topic = topic.to_owned();
        self.calls.run(move |calls| async move { calls.topic_exists(&topic).await }.boxed_local()).await?
    }

    /// How many queues the topic has for writing, where it has the most; `None` as [`Admin::topic_exists`] says `false`.
    pub(crate) async fn topic_queues(&self, topic: &str) -> Result<Option<u16>, Failure> {
        let topic = topic.to_owned();
        self.calls.run(move |calls| async move { calls.topic_queues(&topic).await }.boxed_local()).await?
    }

    /// Max offset − committed of the group in each queue of the topic; `None` when no broker could tell.
    pub(crate) async fn backlog(&self, group: &str, topic: &str) -> Result<Option<Vec<QueueBacklog>>, Failure> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        self.calls.run(move |calls| async move { calls.backlog(&group, &topic).await }.boxed_local()).await?
    }

    /// What the master at the address says of itself, by the names it uses.
    pub(crate) async fn runtime_info(&self, address: &str) -> Result<RuntimeInfo, Failure> {
        let address = address.to_owned();
        self.calls.run(move |calls| async move { calls.runtime_info(&address).await }.boxed_local()).await?
    }

    /// Writes the group's offsets and waits for the broker's answer to each. The consumer's own commit answers nothing.
    pub(crate) async fn write_offsets(
        &self,
        group: &str,
        offsets: Vec<(QueueRef, i64)>,
        masters: Masters,
    ) -> Result<(), Failure> {
        let group = group.to_owned();
        self.calls
            .run(move |calls| async move { calls.write_offsets(&group, &offsets, &masters).await }.boxed_local())
            .await?
    }

    pub(crate) async fn close(&self) {
        let _ = self.calls.run(|calls| async move { calls.close().await }.boxed_local()).await;
    }
}

/// An administrative client of the library.
struct Client {
    admin: DefaultMQAdminExt,
    runtime: Arc<ClientRuntime>,
}

struct Calls {
    clients: Rc<Clients>,
    client: Reconnecting<Client>,
    name_servers: Vec<String>,
    timeout: Duration,
    route_wait: Duration,
}

impl Calls {
    fn new(clients: Rc<Clients>, config: &RocketMqConfig) -> Self {
        Self {
            clients,
            client: Reconnecting::new(config.reconnect_pause()),
            name_servers: config.name_servers(),
            timeout: config.request_timeout(),
            route_wait: Duration::from_millis(config.route_wait_ms),
        }
    }

    async fn masters(&self) -> Result<Masters, Failure> {
        self.call("cluster info", |client| async move {
            let info = client.admin.examine_broker_cluster_info().await?;
            let brokers = info.broker_addr_table.unwrap_or_default();
            Ok(brokers
                .into_iter()
                .filter_map(|(name, broker)| {
                    let address = broker.broker_addrs().get(&MASTER)?;
                    Some((name.to_string(), address.to_string()))
                })
                .collect())
        })
        .await
    }

    async fn known_masters(&self) -> Result<Masters, Failure> {
        let masters = self.masters().await?;
        if masters.is_empty() {
            return Err(Failure::unavailable("the name server knows no broker"));
        }
        Ok(masters)
    }

    async fn create_topic(&self, topic: &str, queues: u16) -> Result<(), Failure> {
        let masters = self.known_masters().await?;
        for address in masters.values() {
            if self.queues_on(address, topic).await?.is_none() {
                self.create_on(address, topic, queues).await?;
            }
        }
        self.wait_for_route(topic, masters.len()).await
    }

    async fn topic_exists(&self, topic: &str) -> Result<bool, Failure> {
        Ok(self.topic_queues(topic).await?.is_some())
    }

    async fn topic_queues(&self, topic: &str) -> Result<Option<u16>, Failure> {
        let masters = self.known_masters().await?;
        let mut most = None;
        for address in masters.values() {
            most = most.max(self.queues_on(address, topic).await?);
        }
        Ok(most)
    }

    async fn backlog(&self, group: &str, topic: &str) -> Result<Option<Vec<QueueBacklog>>, Failure> {
        let masters = self.known_masters().await?;
        let mut queues = Vec::new();
        for address in masters.values() {
            queues.extend(self.backlog_on(address, group, topic).await?);
        }
        // A topic has queues: none told means that nobody knows it.
        Ok((!queues.is_empty()).then_some(queues))
    }

    async fn runtime_info(&self, address: &str) -> Result<RuntimeInfo, Failure> {
        let address = address.to_owned();
        self.call("runtime info", move |client| async move {
            let info = BrokerAdmin::fetch_broker_runtime_stats(&client.admin, address.into()).await?;
            Ok(info.table.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
        })
        .await
    }

    async fn write_offsets(&self, group: &str, offsets: &[(QueueRef, i64)], masters: &Masters) -> Result<(), Failure> {
        let calls = offsets.iter().map(|(queue, next_offset)| {
            let (group, queue, next_offset) = (group.to_owned(), queue.clone(), *next_offset);
            async move {
                let address = masters
                    .get(&queue.broker)
                    .ok_or_else(|| Failure::unavailable(format!("broker {} is gone", queue.broker)))?
                    .clone();
                let offset = u64::try_from(next_offset)
                    .map_err(|_| Failure::Rejected(format!("offset {next_offset} is negative")))?;
                self.call("commit", move |client| async move {
                    let queue = MessageQueue::from_parts(queue.topic, queue.broker, i32::from(queue.queue));
                    client.admin.update_consume_offset(address.into(), group.into(), queue, offset).await?;
                    Ok(())
                })
                .await
            }
        });
        try_join_all(calls).await.map(drop)
    }

    async fn close(&self) {
        if let Some(client) = self.client.take().await {
            end(client.runtime.clone()).await;
        }
    }

    async fn backlog_on(&self, address: &str, group: &str, topic: &str) -> Result<Vec<QueueBacklog>, Failure> {
        let (address, group, wanted) = (address.to_owned(), group.to_owned(), topic.to_owned());
        self.call("consume stats", move |client| async move {
            let topic = Some(wanted.clone().into());
            let stats =
                client.admin.examine_consume_stats(group.into(), topic, None, Some(address.into()), None).await?;
            let of_topic = stats.get_offset_table().iter().filter(|(queue, _)| queue.topic().as_str() == wanted);
            Ok(of_topic
                .map(|(queue, offsets)| QueueBacklog {
                    queue: QueueRef {
                        topic: wanted.clone(),
                        broker: queue.broker_name().to_string(),
                        queue: u16::try_from(queue.queue_id()).unwrap_or_default(),
                    },
                    messages: (offsets.get_broker_offset() - offsets.get_consumer_offset().max(0)).max(0),
                })
                .collect())
        })
        .await
    }

    async fn queues_on(&self, address: &str, topic: &str) -> Result<Option<u16>, Failure> {
        let (address, topic) = (address.to_owned(), topic.to_owned());
        let found = self
            .call("topic config", move |client| async move {
                let config = client.admin.examine_topic_config(address.into(), topic.into()).await?;
                Ok(u16::try_from(config.write_queue_nums).unwrap_or(u16::MAX))
            })
            .await;
        match found {
            Ok(queues) => Ok(Some(queues)),
            Err(Failure::UnknownTopic(_)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn create_on(&self, address: &str, topic: &str, queues: u16) -> Result<(), Failure> {
        let address = address.to_owned();
        let config = TopicConfig {
            topic_name: Some(topic.into()),
            read_queue_nums: u32::from(queues),
            write_queue_nums: u32::from(queues),
            ..TopicConfig::default()
        };
        self.call("create topic", move |client| async move {
            client.admin.create_and_update_topic_config(address.into(), config).await?;
            Ok(())
        })
        .await
    }

    async fn wait_for_route(&self, topic: &str, brokers: usize) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + self.route_wait;
        loop {
            if self.routed_brokers(topic).await? >= brokers {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(Failure::unavailable(format!("the name server has no route to {topic} yet")));
            }
            tokio::time::sleep(ROUTE_POLL).await;
        }
    }

    async fn routed_brokers(&self, topic: &str) -> Result<usize, Failure> {
        let topic = topic.to_owned();
        let route = self
            .call("topic route", move |client| async move {
                let route = client.admin.examine_topic_route_info(topic.into()).await?;
                Ok(route.map_or(0, |route| route.queue_datas.len()))
            })
            .await;
        match route {
            Err(Failure::UnknownTopic(_)) => Ok(0),
            other => other,
        }
    }

    /// One bounded call; a client that failed is ended, and the next call gets a new one.
    async fn call<T, F>(&self, what: &str, request: impl FnOnce(Rc<Client>) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let client = self.client.get(|| self.connect()).await?;
        let answer = within(self.timeout, what, request(client.clone())).await;
        if let Err(failure) = &answer
            && failure.spoils_the_client()
            && let Some(failed) = self.client.discard(&client).await
        {
            // Ending it may take its time; the next call must not wait for that.
            tokio::task::spawn_local(end(failed.runtime.clone()));
        }
        answer
    }

    async fn connect(&self) -> Result<Client, Failure> {
        // The client's start would say Ok, and its calls hang.
        if !any_accepts(&self.name_servers, self.timeout).await {
            let tried = self.name_servers.join(";");
            return Err(Failure::unavailable(format!("no name server answers at {tried}")));
        }
        let runtime = self.clients.new_runtime()?;
        let mut admin = match self.clients.signer() {
            Some(signer) => DefaultMQAdminExt::with_rpc_hook_and_timeout(runtime.clone(), signer, self.timeout),
            None => DefaultMQAdminExt::with_timeout(runtime.clone(), self.timeout),
        };
        *admin.client_config_mut() = self.clients.new_config();
        if let Err(failure) = within(self.timeout, "admin start", admin.start()).await {
            tokio::task::spawn_local(end(runtime));
            return Err(failure);
        }
        Ok(Client { admin, runtime })
    }
}

async fn any_accepts(addresses: &[String], limit: Duration) -> bool {
    for address in addresses {
        if matches!(tokio::time::timeout(limit, TcpStream::connect(address)).await, Ok(Ok(_))) {
            return true;
        }
    }
    false
}
