//! Many writers on one stream: each keeps getting its turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event_store::{Ledger, LedgerConfig};
use futures_util::future::join_all;

use crate::support::{Database, Tally, add, command, eventually, pool};

const WRITERS: usize = 16;
const CALLERS: usize = 8;
const WINNER_AT: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn no_writer_starves_on_a_hot_stream() {
    let database = Database::new().await;
    let progress: Arc<Vec<AtomicUsize>> = Arc::new((0..WRITERS).map(|_| AtomicUsize::new(0)).collect());

    let writers = (0..WRITERS).map(|writer| {
        let (progress, url) = (progress.clone(), database.url.clone());
        async move {
            let ledger = Ledger::start(pool(&url).await, LedgerConfig::default()).await.unwrap();
            join_all((0..CALLERS).map(|_| hammer(&ledger, &progress, writer))).await;
            ledger.close().await;
        }
    });
    join_all(writers.map(tokio::spawn)).await.into_iter().for_each(|writer| writer.unwrap());

    let done: Vec<usize> = progress.iter().map(|done| done.load(Ordering::SeqCst)).collect();
    let total: usize = done.iter().sum();
    assert_eq!(database.positions("tally-hot").await, (1..=total as i64).collect::<Vec<_>>());
    assert!(done.iter().all(|&done| done > WINNER_AT / 5), "somebody starves: {done:?}");
    database.assert_sound().await;
}

/// Until the first writer has its share.
async fn hammer(ledger: &Ledger, progress: &[AtomicUsize], writer: usize) {
    while progress.iter().all(|done| done.load(Ordering::SeqCst) < WINNER_AT) {
        ledger.execute(command().cached::<Tally>("hot"), add("hot", 1)).await.unwrap();
        progress[writer].fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_frozen_writer_that_holds_a_streams_lock_stops_nobody_for_long() {
    let database = Database::new().await;
    let config = LedgerConfig { lock_timeout_ms: 100, ..Default::default() };
    let (ours, theirs) = (database.ledger_with(config).await, database.ledger().await);
    ours.execute(command().begin::<Tally>("hot"), add("hot", 1)).await.unwrap();
    theirs.execute(command().read::<Tally>("hot"), add("hot", 1)).await.unwrap();
    // From here ours takes the stream's lock; find out which one it is, and hold it.
    ours.execute(command().cached::<Tally>("hot"), add("hot", 1)).await.unwrap();
    let mut frozen = database.pool.acquire().await.unwrap();
    let all_locks = "select pg_advisory_lock(7102, key) from (select ('x' || substr(encode(sha256('tally-hot'), 'hex'), 1, 8))::bit(32)::int as key) k";
    sqlx::query(all_locks).execute(&mut *frozen).await.unwrap();

    let other = ours.submit(command().begin::<Tally>("cold"), add("cold", 1));
    let hot = ours.submit(command().cached::<Tally>("hot"), add("hot", 1));

    assert_eq!(other.await.unwrap().position, Some(4), "other streams do not wait at all");
    assert_eq!(hot.await.unwrap().position, Some(5));
    eventually("the locks are given back", || async {
        database.count("pg_locks where locktype = 'advisory' and classid = 7102 and pid <> pg_backend_pid()").await == 1
    })
    .await;
}
