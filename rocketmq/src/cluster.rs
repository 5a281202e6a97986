//! Which brokers there are, and which of them take connections right now.
//!
//! A connection is held to each master. When the master dies the connection ends at once, and when its port answers again
//! the epoch rises: clients of an older epoch are replaced by their owners, because a client that lived through an outage
//! stays silent for up to half a minute.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, Masters};
use crate::engine::Engine;
use crate::failure::Failure;

/// How often the name server is asked for new masters.
const DISCOVERY_PERIOD: Duration = Duration::from_secs(5);
/// The same, as long as it names none that answers.
const SEARCH_PERIOD: Duration = Duration::from_millis(250);
/// How often a dead master's port is tried.
const PROBE_PERIOD: Duration = Duration::from_millis(100);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// A held connection is renewed, so that a master behind a silent network is noticed too. Below the two minutes after
/// which a broker ends an idle connection.
const RENEWAL_PERIOD: Duration = Duration::from_secs(10);

/// What is known of the cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cluster {
    pub(crate) masters: Masters,
    /// Addresses of masters that take connections.
    up: BTreeSet<String>,
    /// Rises each time a master comes up.
    pub(crate) epoch: u64,
}

impl Cluster {
    pub(crate) fn is_up(&self) -> bool {
        !self.up.is_empty()
    }
}

pub(crate) struct ClusterWatch {
    seen: watch::Receiver<Cluster>,
    stop: CancellationToken,
}

impl ClusterWatch {
    pub(crate) fn start(engine: &Engine, admin: Arc<Admin>) -> Result<Self, Failure> {
        let (sender, seen) = watch::channel(Cluster::default());
        let stop = CancellationToken::new();
        let discovery = stop.clone().run_until_cancelled_owned(discover(admin, Arc::new(sender)));
        engine.start_task(async move {
            let _ = discovery.await;
        })?;
        Ok(Self { seen, stop })
    }

    pub(crate) fn now(&self) -> Cluster {
        self.seen.borrow().clone()
    }

    /// The cluster as soon as a master is up; `None` when none is up in time.
    pub(crate) async fn up_within(&self, limit: Duration) -> Option<Cluster> {
        let mut seen = self.seen.clone();
        match tokio::time::timeout(limit, seen.wait_for(Cluster::is_up)).await {
            Ok(Ok(cluster)) => Some(cluster.clone()),
            _ => None,
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for ClusterWatch {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Finds masters, and starts a watch on each address that is new. Addresses are kept when the name server forgets them:
/// that is what it does while a broker is down.
async fn discover(admin: Arc<Admin>, cluster: Arc<watch::Sender<Cluster>>) {
    let mut watched = BTreeSet::new();
    let mut watches = JoinSet::new();
    loop {
        match admin.masters().await {
            Ok(masters) if !masters.is_empty() => {
                for address in masters.values() {
                    if watched.insert(address.clone()) {
                        watches.spawn(watch_master(address.clone(), cluster.clone()));
                    }
                }
                cluster.send_if_modified(|known| {
                    let changed = masters.iter().any(|(name, address)| known.masters.get(name) != Some(address));
                    known.masters.extend(masters);
                    changed
                });
            }
            Ok(_) => {}
            Err(failure) => tracing::debug!(%failure, "the name server does not answer"),
        }
        let period = if cluster.borrow().is_up() { DISCOVERY_PERIOD } else { SEARCH_PERIOD };
        tokio::time::sleep(period).await;
    }
}

async fn watch_master(address: String, cluster: Arc<watch::Sender<Cluster>>) {
    loop {
        let started = Instant::now();
        match connect(&address).await {
            Some(connection) => {
                mark_up(&cluster, &address);
                hold(connection).await;
            }
            None => mark_down(&cluster, &address),
        }
        tokio::time::sleep_until(started + PROBE_PERIOD).await;
    }
}

async fn connect(address: &str) -> Option<TcpStream> {
    tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect(address)).await.ok()?.ok()
}

/// Returns when the master ends the connection, or when it is time for a new one. A master that died refuses the next
/// connection, one that only ended an idle connection takes it.
async fn hold(mut connection: TcpStream) {
    let mut unexpected = [0_u8; 64];
    let until_ended = async { while matches!(connection.read(&mut unexpected).await, Ok(read) if read > 0) {} };
    let _ = tokio::time::timeout(RENEWAL_PERIOD, until_ended).await;
}

fn mark_up(cluster: &watch::Sender<Cluster>, address: &str) {
    cluster.send_if_modified(|cluster| {
        let came_up = cluster.up.insert(address.to_owned());
        if came_up {
            cluster.epoch += 1;
            tracing::info!(broker = address, "the broker is up");
        }
        came_up
    });
}

fn mark_down(cluster: &watch::Sender<Cluster>, address: &str) {
    cluster.send_if_modified(|cluster| {
        let went_down = cluster.up.remove(address);
        if went_down {
            tracing::warn!(broker = address, "the broker is down");
        }
        went_down
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(5);

    async fn changes_to(seen: &mut watch::Receiver<Cluster>, wanted: impl FnMut(&Cluster) -> bool) -> Cluster {
        tokio::time::timeout(SOON, seen.wait_for(wanted)).await.unwrap().unwrap().clone()
    }

    #[tokio::test]
    async fn a_broker_that_comes_back_raises_the_epoch() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, mut seen) = watch::channel(Cluster::default());
        let watching = tokio::spawn(watch_master(address.clone(), Arc::new(sender)));
        let (held, _) = listener.accept().await.unwrap();
        assert_eq!(changes_to(&mut seen, Cluster::is_up).await.epoch, 1);

        drop((held, listener));
        changes_to(&mut seen, |cluster| !cluster.is_up()).await;
        let _listener = TcpListener::bind(&address).await.unwrap();

        assert_eq!(changes_to(&mut seen, Cluster::is_up).await.epoch, 2);
        watching.abort();
    }

    #[tokio::test]
    async fn an_idle_connection_that_the_broker_ends_is_no_outage() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, mut seen) = watch::channel(Cluster::default());
        let watching = tokio::spawn(watch_master(address, Arc::new(sender)));
        let (idle, _) = listener.accept().await.unwrap();
        changes_to(&mut seen, Cluster::is_up).await;

        drop(idle);
        listener.accept().await.unwrap();

        assert_eq!(seen.borrow().epoch, 1);
        watching.abort();
    }
}
