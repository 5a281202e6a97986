//! The embedded RocketMQ: name server and broker in one process of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use super::ports;
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
    if cfg!(not(feature = "embedded-broker")) {
        bail!("this build has no embedded broker: set LEDGER__ROCKETMQ__NAME_SERVER");
    }
    let (name_server_port, broker_port) = (ports::free()?, ports::free()?);
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
    Ok(embedded_broker::run(embedded_broker::EmbeddedBrokerConfig {
        data_dir: args.store,
        name_server_port: args.name_server_port,
        broker_port: args.broker_port,
        ..Default::default()
    })?)
}

#[cfg(not(feature = "embedded-broker"))]
pub fn run(_: BrokerArgs) -> Outcome {
    Err(crate::exit::Failure::Usage("this build has no embedded broker".into()))
}
