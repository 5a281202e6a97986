//! The broker: its settings, and its start.

use rocketmq_broker::config::broker_config::BrokerConfig;
use rocketmq_broker::config::raw::RawBrokerConfig;
use rocketmq_broker::config::validated::ValidatedBrokerConfig;
use rocketmq_broker::{BrokerBootstrap, BrokerStartupError, Builder, Running};
use rocketmq_observability::TelemetryRuntimeGuard;
use rocketmq_runtime::RuntimeOwner;
use rocketmq_store::{FlushDiskType, MessageStoreConfig, StoreType};

use crate::ports::Neighbours;
use crate::{EmbeddedBrokerConfig, EmbeddedBrokerError};

/// Committed offsets reach the disk this often: what a killed broker makes its consumers see again.
const CONSUMER_OFFSET_FLUSH_MS: u64 = 1_000;
/// How long a request may wait in the broker before it is refused as "busy".
const REQUEST_QUEUE_WAIT_MS: u64 = 5_000;
/// A commit log file. A gigabyte, the default, is a lot to map for a broker on a developer's machine.
const COMMIT_LOG_FILE_BYTES: usize = 64 * 1024 * 1024;
/// The disk belongs to its owner: the broker deletes old messages, then refuses new ones, only when it is nearly full.
const DISK_CLEAN_PERCENT: usize = 95;
const DISK_CLEAN_FORCIBLY_PERCENT: usize = 97;
const DISK_REFUSE_PERCENT: usize = 98;

pub(crate) async fn start(
    owner: &RuntimeOwner,
    config: &EmbeddedBrokerConfig,
) -> Result<BrokerBootstrap<Running>, EmbeddedBrokerError> {
    let settings = settings(config)?;
    let context = owner.root_context().component("embedded-broker");
    Builder::new(context, TelemetryRuntimeGuard::noop())
        .with_validated_config(settings)
        .build()
        .initialize()
        .await
        .map_err(|error| failed(&error))?
        .start()
        .await
        .map_err(|error| failed(&error))
}

/// The error's own text is the same for every failure: what failed, and why, is in its parts.
fn failed(error: &BrokerStartupError) -> EmbeddedBrokerError {
    let mut told = format!("{:?} of {}", error.phase(), error.component().unwrap_or("the broker"));
    for part in error.missing_requirements().iter().chain(error.unhealthy_components()) {
        told = format!("{told}, not ready: {part}");
    }
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(next) = cause {
        told = format!("{told}: {next}");
        cause = next.source();
    }
    EmbeddedBrokerError::Broker(one_line(&told))
}

fn settings(config: &EmbeddedBrokerConfig) -> Result<ValidatedBrokerConfig, EmbeddedBrokerError> {
    let neighbours = Neighbours::of(config.broker_port)?;
    let root = config.data_dir.join("store").to_string_lossy().into_owned();
    let listen = config.listen.to_string();

    let mut broker = BrokerConfig::default();
    broker.broker_identity.broker_name = "embedded-a".into();
    broker.broker_identity.broker_cluster_name = "EmbeddedCluster".into();
    broker.broker_identity.broker_id = 0;
    broker.broker_server_config.bind_address = listen.clone();
    broker.broker_ip1 = listen.clone().into();
    broker.broker_ip2 = Some(listen.into());
    broker.listen_port = u32::from(config.broker_port);
    broker.namesrv_addr = Some(config.name_server().into());
    broker.store_path_root_dir = root.clone().into();
    // A typing mistake must not become a topic with four queues that nobody reads.
    broker.auto_create_topic_enable = false;
    broker.flush_consumer_offset_interval = CONSUMER_OFFSET_FLUSH_MS;
    // On a small machine a request waits for the processor now and then. Refusing it after 200 ms, the default, makes
    // clients ask again and the wait longer; their own time-outs bound it.
    broker.broker_fast_failure_enable = false;
    broker.wait_time_mills_in_send_queue = REQUEST_QUEUE_WAIT_MS;
    broker.wait_time_mills_in_pull_queue = REQUEST_QUEUE_WAIT_MS;

    let store = MessageStoreConfig {
        store_type: StoreType::LocalFile,
        store_path_root_dir: root.into(),
        ha_listen_address: config.listen,
        ha_listen_port: usize::from(neighbours.replication),
        mapped_file_size_commit_log: COMMIT_LOG_FILE_BYTES,
        disk_max_used_space_ratio: DISK_CLEAN_PERCENT,
        disk_space_clean_forcibly_ratio: DISK_CLEAN_FORCIBLY_PERCENT,
        disk_space_warning_level_ratio: DISK_REFUSE_PERCENT,
        // An acknowledged message is in the mapped commit log, so in the page cache: it survives the death of the
        // process. Surviving the machine's is what the ledger is for.
        flush_disk_type: FlushDiskType::AsyncFlush,
        ..MessageStoreConfig::default()
    };
    ValidatedBrokerConfig::try_from(RawBrokerConfig::from_parts(broker, store))
        .map_err(|error| EmbeddedBrokerError::Settings(one_line(&error)))
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
