//! Which brokers there are, and which of them can be worked with right now.
//!
//! A connection is held to each master. When the master dies the connection ends at once. When its port answers again, and
//! the name server lists it again, the epoch rises: clients of an older epoch are replaced by their owners, because a client
//! that lived through an outage stays silent for up to half a minute, and one built before the broker registered does too.

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
/// The same, as long as a known master can't be worked with, or none is known.
const SEARCH_PERIOD: Duration = Duration::from_millis(200);
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
    connected: BTreeSet<String>,
    /// Those of them that the name server listed since they took the connection. A name server that restarts and has
    /// forgotten all does not put an end to this.
    up: BTreeSet<String>,
    /// Rises each time a master comes up.
    pub(crate) epoch: u64,
}

impl Cluster {
    pub(crate) fn is_up(&self) -> bool {
        !self.up.is_empty()
    }

    /// Whether this master takes connections and is listed.
    pub(crate) fn is_master_up(&self, address: &str) -> bool {
        self.up.contains(address)
    }

    fn is_whole(&self) -> bool {
        self.is_up() && self.masters.values().all(|address| self.up.contains(address))
    }

    /// Says whether anything changed. A master that is no longer listed stays: whether it is down or gone for good can't be told.
    fn listed(&mut self, masters: Masters) -> bool {
        let came_up: Vec<String> = masters
            .values()
            .filter(|address| self.connected.contains(*address) && !self.up.contains(*address))
            .cloned()
            .collect();
        let changed =
            !came_up.is_empty() || masters.iter().any(|(name, address)| self.masters.get(name) != Some(address));
        for address in came_up {
            tracing::info!(broker = address, "the broker is up");
            self.up.insert(address);
            self.epoch += 1;
        }
        self.masters.extend(masters);
        changed
    }

    fn disconnected(&mut self, address: &str) -> bool {
        let went_down = self.up.remove(address);
        if went_down {
            tracing::warn!(broker = address, "the broker is down");
        }
        self.connected.remove(address) || went_down
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
    let mut changes = cluster.subscribe();
    loop {
        match admin.masters().await {
            Ok(masters) => {
                for address in masters.values() {
                    if watched.insert(address.clone()) {
                        watches.spawn(watch_master(address.clone(), cluster.clone()));
                    }
                }
                cluster.send_if_modified(|known| known.listed(masters));
            }
            Err(failure) => tracing::debug!(%failure, "the name server does not answer"),
        }
        let period = if changes.borrow_and_update().is_whole() { DISCOVERY_PERIOD } else { SEARCH_PERIOD };
        // A master that just took a connection is looked for in the list at once.
        let _ = tokio::time::timeout(period, changes.changed()).await;
    }
}

async fn watch_master(address: String, cluster: Arc<watch::Sender<Cluster>>) {
    loop {
        let started = Instant::now();
        match connect(&address).await {
            Some(connection) => {
                cluster.send_if_modified(|cluster| cluster.connected.insert(address.clone()));
                hold(connection).await;
            }
            None => {
                cluster.send_if_modified(|cluster| cluster.disconnected(&address));
            }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(5);

    async fn changes_to(seen: &mut watch::Receiver<Cluster>, wanted: impl FnMut(&Cluster) -> bool) -> Cluster {
        tokio::time::timeout(SOON, seen.wait_for(wanted)).await.unwrap().unwrap().clone()
    }

    fn masters(address: &str) -> Masters {
        Masters::from([("a".to_owned(), address.to_owned())])
    }

    #[test]
    fn a_master_is_up_once_it_takes_connections_and_is_listed_and_each_return_raises_the_epoch() {
        let mut cluster = Cluster::default();
        cluster.listed(masters("a:1"));
        assert!(!cluster.is_up(), "listed, but nobody answers");

        cluster.connected.insert("a:1".into());
        assert!(!cluster.is_up(), "it may have taken the connection before it registered");
        cluster.listed(masters("a:1"));
        assert!(cluster.is_up());
        assert_eq!(cluster.epoch, 1);

        cluster.disconnected("a:1");
        assert!(!cluster.is_up());
        cluster.connected.insert("a:1".into());
        cluster.listed(Masters::new());
        assert!(!cluster.is_up(), "back, but not registered yet");
        cluster.listed(masters("a:1"));
        assert_eq!(cluster.epoch, 2);
    }

    #[test]
    fn a_name_server_that_forgot_everything_takes_no_master_down() {
        let mut cluster = Cluster::default();
        cluster.connected.insert("a:1".into());
        cluster.listed(masters("a:1"));

        assert!(!cluster.listed(Masters::new()));

        assert!(cluster.is_up());
    }

    #[tokio::test]
    async fn the_end_of_a_broker_is_noticed_and_its_return_too() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, mut seen) = watch::channel(Cluster::default());
        let watching = tokio::spawn(watch_master(address.clone(), Arc::new(sender)));
        let (held, _) = listener.accept().await.unwrap();
        changes_to(&mut seen, |cluster| !cluster.connected.is_empty()).await;

        drop((held, listener));
        changes_to(&mut seen, |cluster| cluster.connected.is_empty()).await;
        let _listener = TcpListener::bind(&address).await.unwrap();
        changes_to(&mut seen, |cluster| !cluster.connected.is_empty()).await;
        watching.abort();
    }

    #[tokio::test]
    async fn an_idle_connection_that_the_broker_ends_is_no_outage() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, mut seen) = watch::channel(Cluster::default());
        let watching = tokio::spawn(watch_master(address, Arc::new(sender)));
        let (idle, _) = listener.accept().await.unwrap();
        changes_to(&mut seen, |cluster| !cluster.connected.is_empty()).await;

        drop(idle);
        listener.accept().await.unwrap();

        assert!(!seen.has_changed().unwrap(), "it was never seen to be down");
        watching.abort();
    }
}
