//! A state is the fold of its stream, whatever short cut was taken to it.

use event_store::{LedgerConfig, StoreError};
use futures_util::future::join_all;

use crate::support::{Database, Tally, add, command, eventually};

#[tokio::test]
async fn a_state_from_a_snapshot_is_the_full_fold() {
    let database = Database::new().await;
    let ledger = database.ledger_with(LedgerConfig { snapshot_every_events: 10, ..Default::default() }).await;
    for round in 0..7 {
        let adds = (0..5).map(|_| ledger.submit(command().cached::<Tally>("a"), add("a", round)));
        join_all(adds).await.into_iter().for_each(|outcome| assert!(outcome.is_ok()));
    }
    eventually("a snapshot is written", || async { database.count("store.snapshot where version >= 30").await == 1 })
        .await;

    let from_snapshot = ledger.load::<Tally>("a").await.unwrap();
    database.run("truncate store.snapshot").await;
    let from_events = ledger.load::<Tally>("a").await.unwrap();

    assert_eq!(from_snapshot, from_events);
    assert_eq!((from_events.version, from_events.position), (35, 35));
    assert_eq!(from_events.state, Tally { total: 105, additions: 35 });
}

#[tokio::test]
async fn a_snapshot_is_what_a_load_begins_with() {
    let database = Database::new().await;
    let ledger = database.ledger_with(LedgerConfig { snapshot_every_events: 1, ..Default::default() }).await;
    ledger.execute(command().begin::<Tally>("a"), add("a", 1)).await.unwrap();
    eventually("a snapshot is written", || async { database.count("store.snapshot").await == 1 }).await;

    database.run(r#"update store.snapshot set state = '{"total":1000,"additions":1}'"#).await;
    assert_eq!(ledger.load::<Tally>("a").await.unwrap().state.total, 1000);

    database.run(r#"update store.snapshot set schema = 'tally/of-another-time'"#).await;
    assert_eq!(ledger.load::<Tally>("a").await.unwrap().state.total, 1, "another schema's snapshot is not read");
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_is_ignored() {
    let database = Database::new().await;
    let ledger = database.ledger_with(LedgerConfig { snapshot_every_events: 1, ..Default::default() }).await;
    ledger.execute(command().begin::<Tally>("a"), add("a", 3)).await.unwrap();
    eventually("a snapshot is written", || async { database.count("store.snapshot").await == 1 }).await;
    database.run("update store.snapshot set state = 'broken'").await;

    let fresh = database.ledger().await;
    fresh.execute(command().cached::<Tally>("a"), add("a", 4)).await.unwrap();

    assert_eq!(fresh.load::<Tally>("a").await.unwrap().state, Tally { total: 7, additions: 2 });
}

#[tokio::test]
async fn events_of_an_older_schema_are_brought_up_to_date() {
    let database = Database::new().await;
    database.run(&insert_event("tally-a", 1, 1, r#"{"amount":6}"#)).await;
    let ledger = database.ledger().await;

    let loaded = ledger.load::<Tally>("a").await.unwrap();

    assert_eq!(loaded.state, Tally { total: 6, additions: 1 });
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_stops_only_its_own_commands() {
    let database = Database::new().await;
    database.run(&insert_event("tally-broken", 1_000, 2, r#"{"nonsense":6}"#)).await;
    let ledger = database.ledger().await;

    let broken = ledger.submit(command().read::<Tally>("broken"), add("broken", 1));
    let sound = ledger.submit(command().read::<Tally>("sound"), add("sound", 1));

    assert!(matches!(broken.await, Err(event_store::CommandError::Bug(bug)) if bug.contains("tally-broken")));
    sound.await.unwrap();
    let loaded = ledger.load::<Tally>("broken").await;
    assert!(matches!(loaded, Err(StoreError::Unreadable { stream_id, .. }) if stream_id == "tally-broken"));
}

#[tokio::test]
async fn a_cache_that_is_ahead_of_a_restored_ledger_is_thrown_away() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    ledger.execute(command().begin::<Tally>("a"), add("a", 1)).await.unwrap();
    ledger.execute(command().cached::<Tally>("a"), add("a", 1)).await.unwrap();
    // As after a fail-over to a standby that had not received the last append.
    database.run("set session_replication_role = replica; delete from store.events where position = 2; delete from store.ledger_batch where last_position = 2; reset session_replication_role").await;

    let committed = ledger.execute(command().cached::<Tally>("a"), add("a", 5)).await.unwrap();

    assert_eq!(committed.position, Some(2));
    assert_eq!(ledger.load::<Tally>("a").await.unwrap().state.total, 6);
}

fn insert_event(stream_id: &str, position: i64, schema_version: i16, payload: &str) -> String {
    format!(
        "insert into store.events
             (position, stream_id, version, event_id, type, schema_version, payload, metadata, recorded_at, hash)
         values ({position}, '{stream_id}', 1, gen_random_uuid(), 'Added', {schema_version}, '{payload}', '{{}}', now(),
             sha256(''))"
    )
}
