//! The runtime the client lives on. The client insists on one it was given, and shuts its tasks down through it; futures
//! of the client therefore run here, whatever runtime the caller is on, and a caller that goes away cancels nothing.
//!
//! Futures of the client are boxed where they are called: nested as they come, they cost the compiler minutes.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use rocketmq_client_rust::{ClientConfig, ClientRuntime, ClientRuntimeConfig};
use rocketmq_observability::TelemetryRuntimeGuard;
use rocketmq_runtime::{RuntimeConfig, RuntimeOwner, ShutdownDeadline};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::config::RocketMqConfig;
use crate::failure::Failure;

pub(crate) struct Engine {
    handle: Handle,
    clients: Arc<ClientRuntime>,
    owner: Mutex<Option<RuntimeOwner>>,
    name_server: String,
    /// Unique in the world, so that two processes can't share a client name either.
    instance_prefix: String,
    instances: AtomicU64,
}

impl Engine {
    pub(crate) fn start(config: &RocketMqConfig) -> Result<Self, Failure> {
        // On a thread of its own: a runtime can't be entered from within another.
        let (owner, handle, clients) = std::thread::spawn(build)
            .join()
            .unwrap_or_else(|_| Err("the client's runtime panicked at its start".into()))
            .map_err(Failure::Unavailable)?;
        Ok(Self {
            handle,
            clients,
            owner: Mutex::new(Some(owner)),
            name_server: config.name_servers().join(";"),
            instance_prefix: format!("{}-{}", config.instance_prefix, Uuid::now_v7().simple()),
            instances: AtomicU64::new(0),
        })
    }

    pub(crate) fn clients(&self) -> Arc<ClientRuntime> {
        self.clients.clone()
    }

    /// A name no other client has or will have: address and name are the client's identity on the broker.
    pub(crate) fn new_instance_name(&self) -> String {
        let number = self.instances.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.instance_prefix)
    }

    /// The settings of a new client, with a name of its own.
    pub(crate) fn new_client_config(&self) -> ClientConfig {
        ClientConfig {
            namesrv_addr: Some(self.name_server.clone().into()),
            instance_name: self.new_instance_name().into(),
            ..ClientConfig::default()
        }
    }

    /// Starts work on the client's runtime; it goes on when nobody waits for it any more.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(work.boxed())
    }

    /// Runs work on the client's runtime and waits for its end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        self.spawn(work)
            .await
            .map_err(|ended| Failure::unavailable(format!("the client ended: {ended}")))
    }

    /// Ends all clients, and the work that still runs for them.
    pub(crate) async fn shutdown(&self, limit: Duration) {
        let Some(owner) = self.owner.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let clients = self.clients();
        let _ = self
            .run(async move { clients.shutdown_until(ShutdownDeadline::after(limit)).boxed().await })
            .await;
        owner.shutdown_background();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(owner) = self.owner.lock().unwrap_or_else(PoisonError::into_inner).take() {
            owner.shutdown_background();
        }
    }
}

/// Bounds a call: the client's own time-outs start late, and not everywhere.
pub(crate) async fn within<T, E: Into<Failure>>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(Failure::unavailable(format!("{what}: no answer within {} ms", limit.as_millis()))),
    }
}

fn build() -> Result<(RuntimeOwner, Handle, Arc<ClientRuntime>), String> {
    let config = RuntimeConfig {
        thread_name: "rocketmq-client".into(),
        ..RuntimeConfig::default()
    };
    let owner = RuntimeOwner::plan(config)
        .map_err(|error| error.to_string())?
        .build()
        .map_err(|error| error.to_string())?;
    let clients = ClientRuntime::try_new(
        owner.root_context().component("client"),
        ClientRuntimeConfig::default(),
        TelemetryRuntimeGuard::noop().handle(),
    )
    .map_err(|error| error.to_string())?;
    let handle = owner.block_on(async { Handle::current() });
    Ok((owner, handle, clients))
}
