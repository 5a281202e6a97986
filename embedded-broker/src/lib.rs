//! A RocketMQ name server and broker in one process, so that the ledger runs where no RocketMQ is installed.
//!
//! [`run`] blocks its thread on a runtime of its own: the broker's crates insist on owning theirs. A heavy
//! dependency lives only here, so that nothing but the binary and the tests that need a broker pay for its build.

// The broker's futures nest deeper than the compiler's default allows.
#![recursion_limit = "512"]

mod broker;
mod data_dir;
mod name_server;
mod ports;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, Instant};

use rocketmq_runtime::{RuntimeConfig, RuntimeOwner};

pub use ports::{Ports, free_ports};

/// How long a stop may take before the runtime is dropped with whatever still runs in it.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);

/// Where the broker listens and keeps its data.
#[derive(Debug, Clone)]
pub struct EmbeddedBrokerConfig {
    /// Created when missing; one instance at a time.
    pub data_dir: PathBuf,
    /// The name server's port.
    pub name_server_port: u16,
    /// The broker's port. The broker also takes the port two below (its fast lane) and the one above (replication).
    pub broker_port: u16,
    /// The address both listen on and the broker announces.
    pub listen: IpAddr,
}

impl EmbeddedBrokerConfig {
    /// On the loopback address, at the given ports.
    pub fn new(data_dir: impl Into<PathBuf>, ports: Ports) -> Self {
        Self {
            data_dir: data_dir.into(),
            name_server_port: ports.name_server,
            broker_port: ports.broker,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// `host:port` of the name server, as clients want it.
    pub fn name_server(&self) -> String {
        format!("{}:{}", self.listen, self.name_server_port)
    }
}

/// What was taken to start, told to the caller once clients may connect.
#[derive(Debug, Clone)]
pub struct Ready {
    /// `host:port` of the name server.
    pub name_server: String,
    /// Time from the call to readiness.
    pub start_ms: u128,
}

/// Why the embedded broker did not start or did not run to its end. Each prints as one line.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedBrokerError {
    #[error("the {role} port {port} is taken on {listen}: choose another or stop what listens there")]
    PortTaken { role: &'static str, port: u16, listen: IpAddr },
    #[error("the {role} port {port} cannot be used on {listen}: {reason}")]
    PortUnusable { role: &'static str, port: u16, listen: IpAddr, reason: String },
    #[error("the broker port {0} leaves no room for the port two below and the one above it")]
    PortOutOfRange(u16),
    #[error("the broker's data directory {path} cannot be written: {reason}", path = path.display())]
    DataDir { path: PathBuf, reason: String },
    #[error("the broker's data directory {path} is in use by another broker", path = path.display())]
    DataDirInUse { path: PathBuf },
    #[error("the broker's settings are refused: {0}")]
    Settings(String),
    #[error("the name server did not start: {0}")]
    NameServer(String),
    #[error("the broker did not start: {0}")]
    Broker(String),
    #[error("the broker's runtime did not start: {0}")]
    Runtime(String),
}

/// Runs the name server and the broker until `shutdown` resolves, calling `ready` once clients may connect.
///
/// Blocks the calling thread, which must not be one of an async runtime. `shutdown` is polled on the broker's own
/// runtime, with timers and IO enabled.
pub fn run(
    config: EmbeddedBrokerConfig,
    ready: impl FnOnce(Ready),
    shutdown: impl Future<Output = ()>,
) -> Result<(), EmbeddedBrokerError> {
    // Boxed, so that the broker's heavy futures are compiled here and not again in each caller's crate.
    run_boxed(&config, Box::new(ready), Box::pin(shutdown))
}

fn run_boxed(
    config: &EmbeddedBrokerConfig,
    ready: Box<dyn FnOnce(Ready) + '_>,
    shutdown: Pin<Box<dyn Future<Output = ()> + '_>>,
) -> Result<(), EmbeddedBrokerError> {
    let started = Instant::now();
    ports::check(config)?;
    let _lock = data_dir::claim(&config.data_dir)?;
    let owner = runtime()?;
    let outcome = owner.block_on(async {
        let name_server = name_server::start(&owner, config).await?;
        let broker = match broker::start(&owner, config).await {
            Ok(broker) => broker,
            Err(error) => {
                name_server.stop().await;
                return Err(error);
            }
        };
        ready(Ready { name_server: config.name_server(), start_ms: started.elapsed().as_millis() });
        shutdown.await;
        // The broker unregisters at the name server, so it goes first.
        broker.shutdown().await;
        name_server.stop().await;
        Ok(())
    });
    if let Err(error) = owner.shutdown_runtime_blocking_with_timeout(SHUTDOWN_TIMEOUT) {
        tracing::warn!(%error, "the embedded broker's runtime did not stop cleanly");
    }
    outcome
}

fn runtime() -> Result<RuntimeOwner, EmbeddedBrokerError> {
    let failed = |error: &dyn std::fmt::Display| EmbeddedBrokerError::Runtime(error.to_string());
    let config = RuntimeConfig { thread_name: "embedded-mq".into(), ..RuntimeConfig::broker_default() };
    RuntimeOwner::plan(config).map_err(|error| failed(&error))?.build().map_err(|error| failed(&error))
}
