//! The thread the client lives on.
//!
//! The client insists on a runtime it was given, and ends its tasks through it. That runtime is driven here by a thread of
//! its own, and everything that holds a client stays on that thread: callers on other runtimes send work to it and wait for
//! the answer, and a caller that goes away cancels nothing. It also spares the compiler from proving that the client's
//! futures may change threads, which takes it minutes.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{FutureExt, LocalBoxFuture};
use rocketmq_client_rust::{AclClientRPCHook, ClientConfig, ClientRuntime, ClientRuntimeConfig, SessionCredentials};
use rocketmq_observability::TelemetryRuntimeGuard;
use rocketmq_runtime::{RuntimeConfig, RuntimeOwner, ShutdownDeadline};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use uuid::Uuid;

use crate::config::{Credentials, RocketMqConfig};
use crate::failure::Failure;

/// Work that callers may have waiting for the thread; each caller waits for its own.
const WAITING_WORK: usize = 1_024;

/// How long a client may take to end, after which its connections are cut.
const END_TIMEOUT: Duration = Duration::from_secs(1);

type Work = Box<dyn FnOnce(Rc<Clients>) -> LocalBoxFuture<'static, ()> + Send>;
type WorkOn<S> = Box<dyn FnOnce(Rc<S>) -> LocalBoxFuture<'static, ()> + Send>;

/// A handle to the thread. The thread ends when the last one is dropped.
pub(crate) struct Engine {
    work: mpsc::Sender<Work>,
}

/// What new clients are made from; never leaves the thread.
pub(crate) struct Clients {
    owner: RuntimeOwner,
    name_server: String,
    signer: Option<Arc<AclClientRPCHook>>,
    /// Unique in the world, so that two processes can't share a client's name either.
    instance_prefix: String,
    instances: AtomicU64,
}

/// Something that holds clients and so lives on the thread; callers elsewhere work on it through this.
pub(crate) struct Resident<S> {
    work: mpsc::Sender<WorkOn<S>>,
}

impl Engine {
    pub(crate) fn start(config: &RocketMqConfig) -> Result<Self, Failure> {
        let (work, waiting) = mpsc::channel(WAITING_WORK);
        let (started, start) = std::sync::mpsc::channel();
        let name_server = config.name_servers().join(";");
        let signer = config.credentials.as_ref().map(signer);
        let instance_prefix = format!("{}-{}", config.instance_prefix, Uuid::now_v7().simple());
        let thread = move || match build(name_server, signer, instance_prefix) {
            Ok(clients) => {
                let _ = started.send(Ok(()));
                serve(clients, waiting);
            }
            Err(reason) => drop(started.send(Err(reason))),
        };
        std::thread::Builder::new()
            .name("rocketmq".into())
            .spawn(thread)
            .map_err(|error| Failure::unavailable(error.to_string()))?;
        match start.recv() {
            Ok(Ok(())) => Ok(Self { work }),
            Ok(Err(reason)) => Err(Failure::Unavailable(reason)),
            Err(_) => Err(Failure::unavailable("the client's thread ended at its start")),
        }
    }

    /// Moves something onto the thread.
    pub(crate) fn settle<S: 'static>(
        &self,
        make: impl FnOnce(Rc<Clients>) -> S + Send + 'static,
    ) -> Result<Resident<S>, Failure> {
        let (work, mut waiting) = mpsc::channel::<WorkOn<S>>(WAITING_WORK);
        let live = move |clients| {
            let state = Rc::new(make(clients));
            async move {
                while let Some(next) = waiting.recv().await {
                    tokio::task::spawn_local(next(state.clone()));
                }
            }
            .boxed_local()
        };
        self.submit(live)?;
        Ok(Resident { work })
    }

    /// Starts a task on the thread that nobody waits for.
    pub(crate) fn start_task(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), Failure> {
        self.submit(move |_| task.boxed_local())
    }

    fn submit(
        &self,
        work: impl FnOnce(Rc<Clients>) -> LocalBoxFuture<'static, ()> + Send + 'static,
    ) -> Result<(), Failure> {
        self.work
            .try_send(Box::new(work))
            .map_err(|_| Failure::unavailable("the client's thread is overloaded or closed"))
    }

    /// Ends what clients still run, within the limit.
    pub(crate) async fn shutdown(&self, limit: Duration) -> Result<(), Failure> {
        let (ended, end) = oneshot::channel();
        let ending = move |clients: Rc<Clients>| {
            async move {
                let _ = clients.owner.shutdown_tasks_until(ShutdownDeadline::after(limit)).await;
                let _ = ended.send(());
            }
            .boxed_local()
        };
        self.submit(ending)?;
        end.await.map_err(|_| closed())
    }
}

impl<S: 'static> Resident<S> {
    /// Works on the state and waits for the outcome. The work goes on when nobody waits for it any more.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Rc<S>) -> LocalBoxFuture<'static, T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answered, answer) = oneshot::channel();
        let work = move |state| {
            async move {
                let _ = answered.send(work(state).await);
            }
            .boxed_local()
        };
        self.work.send(Box::new(work)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }

    /// Starts work that nobody waits for; given up when too much is waiting, as only a stuck thread lets happen.
    pub(crate) fn start(&self, work: impl FnOnce(Rc<S>) -> LocalBoxFuture<'static, ()> + Send + 'static) {
        let _ = self.work.try_send(Box::new(work));
    }
}

impl Clients {
    /// A runtime for one client alone, which [`end`] ends with it.
    pub(crate) fn new_runtime(&self) -> Result<Arc<ClientRuntime>, Failure> {
        let scope = self.owner.root_context().component("client");
        let telemetry = TelemetryRuntimeGuard::noop().handle();
        Ok(ClientRuntime::try_new(scope, ClientRuntimeConfig::default(), telemetry)?)
    }

    pub(crate) fn name_server(&self) -> &str {
        &self.name_server
    }

    /// Signs each request where the brokers ask who sends it.
    pub(crate) fn signer(&self) -> Option<Arc<AclClientRPCHook>> {
        self.signer.clone()
    }

    /// A name no other client has or will have: address and name are a client's identity on the broker.
    pub(crate) fn new_instance_name(&self) -> String {
        let number = self.instances.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.instance_prefix)
    }

    /// The settings of a new client, with a name of its own.
    pub(crate) fn new_config(&self) -> ClientConfig {
        ClientConfig {
            namesrv_addr: Some(self.name_server.clone().into()),
            instance_name: self.new_instance_name().into(),
            ..ClientConfig::default()
        }
    }
}

/// Ends a client by its runtime. It says good-bye to the broker, and does not wait for pulls that the broker holds, as the
/// client's own shutdown does: five seconds at Apache's, in which nobody else gets its queues. Never given up half-way: a
/// client that did not say good-bye stays a member of its group for as long as the process lives.
pub(crate) async fn end(runtime: Arc<ClientRuntime>) {
    let _ = runtime.shutdown_until(ShutdownDeadline::after(END_TIMEOUT)).await;
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

fn signer(credentials: &Credentials) -> Arc<AclClientRPCHook> {
    let keys = SessionCredentials::with_keys(credentials.access_key.clone(), credentials.secret_key.clone());
    Arc::new(AclClientRPCHook::new(keys))
}

fn build(
    name_server: String,
    signer: Option<Arc<AclClientRPCHook>>,
    instance_prefix: String,
) -> Result<Clients, String> {
    let config = RuntimeConfig { thread_name: "rocketmq-client".into(), ..RuntimeConfig::default() };
    let owner =
        RuntimeOwner::plan(config).map_err(|error| error.to_string())?.build().map_err(|error| error.to_string())?;
    Ok(Clients { owner, name_server, signer, instance_prefix, instances: AtomicU64::new(0) })
}

/// Runs work until there can be no more.
fn serve(clients: Clients, mut waiting: mpsc::Receiver<Work>) {
    let clients = Rc::new(clients);
    let (working, for_work) = (LocalSet::new(), clients.clone());
    clients.owner.block_on(working.run_until(async move {
        while let Some(work) = waiting.recv().await {
            tokio::task::spawn_local(work(for_work.clone()));
        }
    }));
    // What still runs holds the clients, and the runtime must be the last to go.
    drop(working);
    if let Some(clients) = Rc::into_inner(clients) {
        clients.owner.shutdown_background();
    }
}

fn closed() -> Failure {
    Failure::unavailable("the adapter is closed")
}
