//! The name server: its start, readiness and stop.

use std::time::Duration;

use rocketmq_model::common::mq_version::CURRENT_VERSION;
use rocketmq_namesrv::NamesrvConfig;
use rocketmq_namesrv::bootstrap::Builder;
use rocketmq_observability::TelemetryRuntimeGuard;
use rocketmq_protocol::protocol::remoting_command_facade::initialize_remoting_defaults;
use rocketmq_runtime::RuntimeOwner;
use rocketmq_transport::api::{ServerConfig, TransportClientConfig};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{EmbeddedBrokerConfig, EmbeddedBrokerError};

const START_POLL: Duration = Duration::from_millis(10);
const START_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) struct NameServer {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), String>>,
}

impl NameServer {
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        if tokio::time::timeout(STOP_TIMEOUT, self.task).await.is_err() {
            tracing::warn!("the embedded name server did not stop in time");
        }
    }
}

/// Starts the name server and waits until its port answers.
pub(crate) async fn start(
    owner: &RuntimeOwner,
    config: &EmbeddedBrokerConfig,
) -> Result<NameServer, EmbeddedBrokerError> {
    initialize_remoting_defaults(CURRENT_VERSION as i32)
        .map_err(|error| EmbeddedBrokerError::NameServer(error.to_string()))?;
    let home = config.data_dir.join("name-server");
    let settings = NamesrvConfig {
        rocketmq_home: config.data_dir.to_string_lossy().into_owned(),
        kv_config_path: home.join("kvConfig.json").to_string_lossy().into_owned(),
        config_store_path: home.join("namesrv.properties").to_string_lossy().into_owned(),
        ..NamesrvConfig::default()
    };
    let server = ServerConfig {
        listen_port: u32::from(config.name_server_port),
        bind_address: config.listen.to_string(),
        ..ServerConfig::default()
    };
    let bootstrap =
        Builder::new(owner.root_context().component("embedded-name-server"), TelemetryRuntimeGuard::noop().handle())
            .set_name_server_config(settings)
            .set_server_config(server)
            .set_tokio_client_config(TransportClientConfig::default())
            .build();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let until_stopped = async move {
            let _ = stopped.await;
        };
        bootstrap.boot_with_shutdown(until_stopped).await.map_err(|error| error.to_string())
    });
    wait_until_listening(NameServer { stop, task }, config).await
}

async fn wait_until_listening(
    name_server: NameServer,
    config: &EmbeddedBrokerConfig,
) -> Result<NameServer, EmbeddedBrokerError> {
    let deadline = tokio::time::Instant::now() + START_TIMEOUT;
    while TcpStream::connect((config.listen, config.name_server_port)).await.is_err() {
        if name_server.task.is_finished() {
            return Err(EmbeddedBrokerError::NameServer(exit_reason(name_server.task).await));
        }
        if tokio::time::Instant::now() > deadline {
            name_server.stop().await;
            return Err(EmbeddedBrokerError::NameServer(format!(
                "port {} did not open within {} s",
                config.name_server_port,
                START_TIMEOUT.as_secs()
            )));
        }
        tokio::time::sleep(START_POLL).await;
    }
    Ok(name_server)
}

async fn exit_reason(task: JoinHandle<Result<(), String>>) -> String {
    match task.await {
        Ok(Ok(())) => "it stopped at once".into(),
        Ok(Err(reason)) => reason,
        Err(panicked) => panicked.to_string(),
    }
}
