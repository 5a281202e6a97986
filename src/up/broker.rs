//! The embedded RocketMQ: name server and broker in one process of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use super::supervisor::{ChildSpec, Supervisor};
use crate::exit::Outcome;

const START_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct BrokerArgs {
    #[arg(long)]
    pub store: PathBuf,
    #[arg(long)]
    pub name_server_port: u16,
    #[arg(long)]
    pub broker_port: u16,
}

/// Starts it as a child and gives the name server's address once both ports answer.
pub async fn start(data_dir: &Path, supervisor: &mut Supervisor) -> anyhow::Result<String> {
    let (name_server_port, broker_port) = free_ports()?;
    let mut spec = ChildSpec::role("embedded-broker", Default::default())?;
    spec.name = "rocketmq".to_owned();
    spec.arguments.extend([
        "--store".to_owned(),
        data_dir.join("rocketmq").display().to_string(),
        "--name-server-port".to_owned(),
        name_server_port.to_string(),
        "--broker-port".to_owned(),
        broker_port.to_string(),
    ]);
    supervisor.start(spec, None)?;

    let since = Instant::now();
    for port in [name_server_port, broker_port] {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if supervisor.exited("rocketmq") {
                bail!("RocketMQ ended while starting:\n{}", supervisor.log_tail("rocketmq"));
            }
            if since.elapsed() > START_TIMEOUT {
                bail!("RocketMQ was not ready within {START_TIMEOUT:?}:\n{}", supervisor.log_tail("rocketmq"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(format!("127.0.0.1:{name_server_port}"))
}

/// The hidden subcommand: runs until SIGTERM.
#[cfg(feature = "embedded-broker")]
pub fn run(args: BrokerArgs) -> Outcome {
    let ports = embedded_broker::Ports { name_server: args.name_server_port, broker: args.broker_port };
    let config = embedded_broker::EmbeddedBrokerConfig::new(args.store, ports);
    let ready = |ready: embedded_broker::Ready| {
        tracing::info!(name_server = ready.name_server, start_ms = ready.start_ms as u64, "RocketMQ is ready");
    };
    Ok(embedded_broker::run(config, ready, async {
        // Without a handler SIGTERM ends the process at once, which the store survives too.
        if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            terminate.recv().await;
        }
    })?)
}

/// Ports that are free together with the neighbours the broker also takes.
#[cfg(feature = "embedded-broker")]
fn free_ports() -> anyhow::Result<(u16, u16)> {
    let ports = embedded_broker::free_ports()?;
    Ok((ports.name_server, ports.broker))
}

#[cfg(not(feature = "embedded-broker"))]
pub fn run(_: BrokerArgs) -> Outcome {
    Err(crate::exit::Failure::Usage("this build has no embedded broker".into()))
}

#[cfg(not(feature = "embedded-broker"))]
fn free_ports() -> anyhow::Result<(u16, u16)> {
    bail!("this build has no embedded broker: set LEDGER__ROCKETMQ__NAME_SERVER")
}
