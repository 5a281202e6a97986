//! Nothing in the ledger can be changed, and what was changed all the same shows.

use event_store::verify;

use crate::support::{Database, Tally, TallyCommand, command};

/// Three appends of two events each.
async fn ledger_of_six_events() -> Database {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    for id in ["a", "b", "c"] {
        let add_twice = move |unit: &mut event_store::UnitOfWork<'_>| {
            unit.handle::<Tally>(id, TallyCommand::Add { by: 1 })?;
            unit.handle::<Tally>(id, TallyCommand::Add { by: 2 })
        };
        ledger.execute(command().begin::<Tally>(id), add_twice).await.unwrap();
    }
    ledger.close().await;
    database.assert_sound().await;
    database
}

async fn violations_after(tampering: &str) -> String {
    let database = ledger_of_six_events().await;
    // Only who can switch the triggers off can do this.
    let tampering = format!("set session_replication_role = replica; {tampering}; reset session_replication_role");
    database.run(&tampering).await;
    let violations = verify::ledger(&database.pool).await.unwrap();
    assert!(violations.iter().all(|violation| violation.invariant == "I5"));
    violations.into_iter().map(|violation| violation.message).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn events_and_appends_cannot_be_changed_or_taken_away() {
    let database = ledger_of_six_events().await;
    for change in [
        "update store.events set payload = '{}' where position = 1",
        "delete from store.events where position = 1",
        "truncate store.events",
        "update store.ledger_batch set hash = ''",
        "delete from store.ledger_batch",
        "truncate store.ledger_batch",
    ] {
        let refused = sqlx::raw_sql(change).execute(&database.pool).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{change}: {refused}");
    }
}

#[tokio::test]
async fn a_changed_event_shows() {
    let found = violations_after(r#"update store.events set payload = '{"by":9}' where position = 3"#).await;
    assert!(found.contains("event 3 of tally-b was changed"), "{found}");
}

#[tokio::test]
async fn a_changed_event_with_a_hash_to_match_shows() {
    let found = violations_after("update store.events set hash = sha256('x') where position = 3").await;
    assert!(found.contains("the hash chain is broken at the append of events 3 to 4"), "{found}");
}

#[tokio::test]
async fn a_removed_event_shows() {
    let found = violations_after("delete from store.events where position = 4").await;
    assert!(found.contains("events 4 to 4 are missing"), "{found}");
    assert!(found.contains("hash chain is broken"), "{found}");
}

#[tokio::test]
async fn a_removed_append_shows() {
    let found = violations_after(
        "delete from store.events where position in (3, 4); delete from store.ledger_batch where last_position = 4",
    )
    .await;
    assert!(found.contains("after position 2 the next append begins at 5"), "{found}");
    assert!(found.contains("hash chain is broken at the append of events 5 to 6"), "{found}");
}

#[tokio::test]
async fn an_inserted_event_shows() {
    let found = violations_after(
        "insert into store.events
         select 7, 'tally-z', 4, gen_random_uuid(), type, schema_version, payload, metadata, recorded_at, hash
         from store.events where position = 6;
         insert into store.ledger_batch select 7, 7, gen_random_uuid(), hash, refused, recorded_at
         from store.ledger_batch where last_position = 6",
    )
    .await;
    assert!(found.contains("hash chain is broken at the append of events 7 to 7"), "{found}");
    assert!(found.contains("stream tally-z has 1 events, and versions from 4 to 4"), "{found}");
}
