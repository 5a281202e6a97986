//! Appends whose connection is cut, and databases that are away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event_store::{CommandError, Ledger, LedgerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    Database, Tally, WAITING_APPENDS, add, block_appends, command, eventually, key, pool, waiting_appends,
};

/// Stands between a ledger and its database and cuts connections at the worst moment.
#[derive(Clone, Default)]
struct Proxy {
    /// Cut the next connection on which the server answers, and swallow that answer.
    swallow_answer: Arc<AtomicBool>,
    /// Cut the next connection on which the client asks, and swallow that request.
    swallow_request: Arc<AtomicBool>,
    is_down: Arc<AtomicBool>,
}

impl Proxy {
    /// Returns the proxy and the database's address through it.
    async fn start(url: &str) -> (Self, String) {
        let proxy = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port_here = listener.local_addr().unwrap().port();
        let (before, rest) = url.rsplit_once(':').unwrap();
        let (port_there, database) = rest.split_once('/').unwrap();
        let address = format!("127.0.0.1:{port_there}");
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !accepting.is_down.load(Ordering::SeqCst) {
                    tokio::spawn(accepting.clone().carry(client, address.clone()));
                }
            }
        });
        (proxy, format!("{before}:{port_here}/{database}"))
    }

    async fn carry(self, client: TcpStream, address: String) {
        let server = TcpStream::connect(address).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let (mut request, mut answer) = ([0; 64 * 1024], [0; 64 * 1024]);
        loop {
            tokio::select! {
                read = from_client.read(&mut request) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(_) if self.swallow_request.swap(false, Ordering::SeqCst) => return,
                    Ok(length) => to_server.write_all(&request[..length]).await.unwrap(),
                },
                read = from_server.read(&mut answer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(_) if self.swallow_answer.swap(false, Ordering::SeqCst) => return,
                    Ok(length) => to_client.write_all(&answer[..length]).await.unwrap(),
                },
            }
        }
    }
}

/// A ledger behind the proxy, with its append connection open.
async fn ledger_behind_proxy(database: &Database, config: LedgerConfig) -> (Proxy, Ledger) {
    let (proxy, url) = Proxy::start(&database.url).await;
    let ledger = Ledger::start(pool(&url).await, config).await.unwrap();
    ledger.execute(command().begin::<Tally>("warm-up"), add("warm-up", 1)).await.unwrap();
    (proxy, ledger)
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_happens_once() {
    let database = Database::new().await;
    let (proxy, ledger) = ledger_behind_proxy(&database, LedgerConfig::default()).await;

    proxy.swallow_answer.store(true, Ordering::SeqCst);
    let committed = ledger.execute(command().begin::<Tally>("a").unique(key("k")), add("a", 5)).await.unwrap();

    assert!(!proxy.swallow_answer.load(Ordering::SeqCst), "an answer was swallowed");
    assert_eq!(committed.position, Some(2));
    assert_eq!(database.positions("tally-a").await, [2]);
    let next = ledger.execute(command().cached::<Tally>("a"), add("a", 5)).await.unwrap();
    assert_eq!(next.position, Some(3));
    database.assert_sound().await;
}

#[tokio::test]
async fn an_append_whose_request_is_lost_happens_once() {
    let database = Database::new().await;
    let (proxy, ledger) = ledger_behind_proxy(&database, LedgerConfig::default()).await;

    proxy.swallow_request.store(true, Ordering::SeqCst);
    let committed = ledger.execute(command().begin::<Tally>("a"), add("a", 5)).await.unwrap();

    assert!(!proxy.swallow_request.load(Ordering::SeqCst), "a request was swallowed");
    assert_eq!(committed.position, Some(2));
    assert_eq!(database.positions("tally-a").await, [2]);
}

#[tokio::test]
async fn a_batch_is_answered_as_a_whole_when_its_answer_is_lost() {
    let database = Database::new().await;
    let (proxy, ledger) = ledger_behind_proxy(&database, LedgerConfig::default()).await;
    // Ours believes version 1 of this stream, and is wrong: its group is refused, in the lost answer too.
    let theirs = database.ledger().await;
    theirs.execute(command().read::<Tally>("warm-up"), add("warm-up", 1)).await.unwrap();

    proxy.swallow_answer.store(true, Ordering::SeqCst);
    let accepted = ledger.submit(command().begin::<Tally>("a"), add("a", 1));
    let conflicting = ledger.submit(command().cached::<Tally>("warm-up"), add("warm-up", 1));

    assert_eq!(accepted.await.unwrap().position, Some(3));
    assert_eq!(conflicting.await.unwrap().position, Some(4));
    assert_eq!(database.positions("tally-warm-up").await, [1, 2, 4]);
    database.assert_sound().await;
}

#[tokio::test]
async fn an_append_whose_server_process_ends_is_sent_again() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    let blocker = block_appends(&database).await;

    let waiting = ledger.submit(command().begin::<Tally>("a"), add("a", 5));
    let waiting = tokio::spawn(waiting);
    eventually("the append waits for the lock", || async { waiting_appends(&database).await == 1 }).await;
    database.run(&format!("select pg_terminate_backend(pid) from {WAITING_APPENDS}")).await;
    blocker.unblock().await;

    assert_eq!(waiting.await.unwrap().unwrap().position, Some(1));
    assert_eq!(database.positions("tally-a").await, [1]);
}

#[tokio::test]
async fn a_ledger_locked_for_too_long_answers_unavailable_and_recovers() {
    let database = Database::new().await;
    let ledger = database.ledger_with(LedgerConfig { lock_timeout_ms: 50, ..Default::default() }).await;
    let blocker = block_appends(&database).await;

    let refused = ledger.execute(command().begin::<Tally>("a"), add("a", 5)).await;
    assert!(matches!(refused, Err(CommandError::Unavailable(_))));

    blocker.unblock().await;
    let committed = ledger.execute(command().begin::<Tally>("a"), add("a", 5)).await.unwrap();
    assert_eq!(committed.position, Some(1));
}

#[tokio::test]
async fn a_database_that_is_away_is_unavailable_until_it_is_back() {
    let database = Database::new().await;
    let config = LedgerConfig { max_wait_ms: 200, outcome_timeout_ms: 400, ..Default::default() };
    let (proxy, ledger) = ledger_behind_proxy(&database, config).await;

    proxy.is_down.store(true, Ordering::SeqCst);
    proxy.swallow_request.store(true, Ordering::SeqCst);
    let unknown = ledger.execute(command().begin::<Tally>("a"), add("a", 1)).await;
    assert!(matches!(unknown, Err(CommandError::Unavailable(reason)) if reason.contains("outcome unknown")));
    let certain = ledger.execute(command().begin::<Tally>("b"), add("b", 1)).await;
    assert!(matches!(certain, Err(CommandError::Unavailable(reason)) if !reason.contains("outcome unknown")));

    proxy.is_down.store(false, Ordering::SeqCst);
    ledger.execute(command().cached::<Tally>("a"), add("a", 1)).await.unwrap();
    assert_eq!(database.positions("tally-a").await, [2]);
    database.assert_sound().await;
}
