//! What one command does, and what many do to each other.

use event_store::{Command, CommandError, Metadata, Refusal, UnitOfWork, read};
use futures_util::future::join_all;

use crate::support::{Database, Tally, TallyCommand, TallyEvent, add, command, insufficient, key, message};

#[tokio::test]
async fn an_appended_event_is_read_back_as_it_was() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    let metadata = Metadata { correlation_id: Some("request-1".to_owned()), ..Metadata::default() };

    let committed = ledger.execute(Command::new(metadata).begin::<Tally>("a"), add("a", 5)).await.unwrap();

    assert_eq!(committed.position, Some(1));
    let events = read::after(&database.pool, 0, 10, None).await.unwrap();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((event.position, event.stream_id.as_str(), event.version), (1, "tally-a", 1));
    assert_eq!((event.event_type.as_str(), event.schema_version, event.payload.as_str()), ("Added", 2, r#"{"by":5}"#));
    assert_eq!(event.metadata, r#"{"correlationId":"request-1"}"#);
    assert_eq!(event.decode::<Tally>().unwrap(), TallyEvent::Added { by: 5 });
    assert_eq!(read::head(&database.pool).await.unwrap(), 1);
    assert_eq!(ledger.load::<Tally>("a").await.unwrap().state.total, 5);
    database.assert_sound().await;
}

#[tokio::test]
async fn messages_leave_with_the_event_that_caused_them() {
    let database = Database::new().await;
    let ledger = database.ledger().await;

    let publish_three = |unit: &mut UnitOfWork<'_>| {
        unit.handle::<Tally>("a", TallyCommand::Add { by: 1 })?;
        unit.publish(message("first"))?;
        unit.publish(message("second"))?;
        unit.handle::<Tally>("a", TallyCommand::Add { by: 1 })?;
        unit.publish(message("third"))
    };
    ledger.execute(command().begin::<Tally>("a"), publish_three).await.unwrap();

    let rows: Vec<(i16, i64, i16, String)> =
        sqlx::query_as("select lane, position, n, ordering_key from store.outbox order by lane, position, n")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    let row = |position, n, key: &str| (3, position, n, key.to_owned());
    assert_eq!(rows, [row(1, 0, "first"), row(1, 1, "second"), row(2, 0, "third")]);
}

#[tokio::test]
async fn fifty_commands_that_want_the_first_version_have_one_winner() {
    let database = Database::new().await;
    let ledger = database.ledger().await;

    let attempts = (0..50).map(|_| {
        ledger.submit(command().begin::<Tally>("a"), |unit| {
            unit.handle::<Tally>("a", TallyCommand::AddUpTo { by: 1, limit: 1 })?;
            Ok(())
        })
    });
    let outcomes = join_all(attempts).await;

    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for refused in outcomes.into_iter().filter_map(Result::err) {
        assert!(matches!(refused, CommandError::Rejected(rejection) if rejection == insufficient(1, 0)));
    }
    assert_eq!(database.positions("tally-a").await, [1]);
}

#[tokio::test]
async fn commands_on_one_stream_are_decided_in_the_order_of_their_calls() {
    let database = Database::new().await;
    let ledger = database.ledger().await;

    let totals = (0..300).map(|_| {
        ledger.submit(command().cached::<Tally>("a"), |unit| {
            unit.handle::<Tally>("a", TallyCommand::Add { by: 1 })?;
            Ok(unit.state::<Tally>("a")?.total)
        })
    });
    let totals: Vec<u64> = join_all(totals).await.into_iter().map(|outcome| outcome.unwrap().value).collect();

    assert_eq!(totals, (1..=300).collect::<Vec<u64>>());
    assert_eq!(database.positions("tally-a").await, (1..=300).collect::<Vec<i64>>());
    database.assert_sound().await;
}

#[tokio::test]
async fn several_streams_change_together_or_not_at_all() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    let both = || command().read::<Tally>("a").read::<Tally>("b");

    let committed = ledger
        .execute(both(), |unit| {
            unit.handle::<Tally>("a", TallyCommand::Add { by: 1 })?;
            unit.handle::<Tally>("b", TallyCommand::Add { by: 2 })
        })
        .await
        .unwrap();
    assert_eq!(committed.position, Some(2));

    let refused = ledger
        .execute(both(), |unit| {
            unit.handle::<Tally>("a", TallyCommand::Add { by: 1 })?;
            unit.handle::<Tally>("b", TallyCommand::AddUpTo { by: 1, limit: 2 })
        })
        .await;
    assert!(matches!(refused, Err(CommandError::Rejected(_))));
    assert_eq!(ledger.load::<Tally>("a").await.unwrap().version, 1);
    assert_eq!(ledger.load::<Tally>("b").await.unwrap().version, 1);
}

#[tokio::test]
async fn a_conflict_on_one_stream_refuses_the_events_of_the_other() {
    let database = Database::new().await;
    let (ours, theirs) = (database.ledger().await, database.ledger().await);
    // Ours has both cached; then theirs moves one of them on.
    let seed = command().begin::<Tally>("a").begin::<Tally>("b");
    ours.execute(seed, |unit| {
        unit.handle::<Tally>("a", TallyCommand::Add { by: 1 })?;
        unit.handle::<Tally>("b", TallyCommand::Add { by: 1 })
    })
    .await
    .unwrap();
    theirs.execute(command().read::<Tally>("b"), add("b", 10)).await.unwrap();

    let seen = ours
        .execute(command().cached::<Tally>("a").cached::<Tally>("b"), |unit| {
            unit.handle::<Tally>("a", TallyCommand::Add { by: 1 })?;
            unit.handle::<Tally>("b", TallyCommand::Add { by: 1 })?;
            Ok(unit.state::<Tally>("b")?.total)
        })
        .await
        .unwrap();

    assert_eq!(seen.value, 12, "decided anew on what the other process had written");
    assert_eq!(ours.load::<Tally>("a").await.unwrap().version, 2);
    assert_eq!(ours.load::<Tally>("b").await.unwrap().version, 3);
    database.assert_sound().await;
}

#[tokio::test]
async fn a_rejection_judged_on_a_stale_state_is_judged_again() {
    let database = Database::new().await;
    let (ours, theirs) = (database.ledger().await, database.ledger().await);
    let fill = |unit: &mut UnitOfWork<'_>| unit.handle::<Tally>("a", TallyCommand::AddUpTo { by: 1, limit: 1 });
    ours.execute(command().begin::<Tally>("a"), fill).await.unwrap();
    theirs.execute(command().read::<Tally>("a"), add("a", 4)).await.unwrap();

    let refused = ours.execute(command().cached::<Tally>("a"), |unit| {
        unit.handle::<Tally>("a", TallyCommand::AddUpTo { by: 1, limit: 5 })
    });

    assert!(matches!(refused.await, Err(CommandError::Rejected(rejection)) if rejection == insufficient(1, 0)));
}

#[tokio::test]
async fn a_stream_that_exists_is_not_begun_again() {
    let database = Database::new().await;
    let (ours, theirs) = (database.ledger().await, database.ledger().await);
    theirs.execute(command().begin::<Tally>("a"), add("a", 1)).await.unwrap();

    let begun = ours.execute(command().begin::<Tally>("a"), |unit| {
        unit.handle::<Tally>("a", TallyCommand::AddUpTo { by: 1, limit: 1 })
    });

    assert!(matches!(begun.await, Err(CommandError::Rejected(rejection)) if rejection == insufficient(1, 0)));
}

#[tokio::test]
async fn a_decision_that_fails_after_it_has_staged_leaves_nothing() {
    let database = Database::new().await;
    let ledger = database.ledger().await;

    let failing = ledger.submit(command().cached::<Tally>("a"), |unit| {
        unit.handle::<Tally>("a", TallyCommand::Add { by: 40 })?;
        unit.publish(message("never"))?;
        unit.handle::<Tally>("a", TallyCommand::AddUpTo { by: 3, limit: 42 })
    });
    let panicking = ledger.submit(command().cached::<Tally>("a"), |unit| {
        unit.handle::<Tally>("a", TallyCommand::Add { by: 50 })?;
        if unit.version::<Tally>("a")? > 0 {
            panic!("a bug in the decision");
        }
        Ok(())
    });
    let swallowing = ledger.submit(command().cached::<Tally>("a"), |unit| {
        let _ = unit.publish(message("without an event"));
        unit.handle::<Tally>("a", TallyCommand::Add { by: 60 })
    });
    let good = ledger.submit(command().cached::<Tally>("a"), add("a", 1));

    assert!(matches!(failing.await, Err(CommandError::Rejected(rejection)) if rejection == insufficient(3, 2)));
    assert!(matches!(panicking.await, Err(CommandError::Bug(bug)) if bug.contains("a bug in the decision")));
    assert!(matches!(swallowing.await, Err(CommandError::Bug(_))));
    assert_eq!(good.await.unwrap().position, Some(1));
    assert_eq!(ledger.load::<Tally>("a").await.unwrap().state, Tally { total: 1, additions: 1 });
    assert_eq!(database.count("store.outbox").await, 0);
}

#[tokio::test]
async fn a_stream_must_be_declared() {
    let database = Database::new().await;
    let ledger = database.ledger().await;

    let outcome = ledger.execute(command(), add("a", 1)).await;

    assert!(matches!(outcome, Err(CommandError::Bug(bug)) if bug.contains("tally-a was not declared")));
}

#[tokio::test]
async fn close_finishes_what_was_accepted() {
    let database = Database::new().await;
    let ledger = database.ledger().await;

    let accepted: Vec<_> = (0..200).map(|_| ledger.submit(command().cached::<Tally>("a"), add("a", 1))).collect();
    ledger.close().await;

    for outcome in join_all(accepted).await {
        outcome.unwrap();
    }
    assert_eq!(database.count("store.events").await, 200);
    let late = ledger.execute(command().cached::<Tally>("a"), add("a", 1)).await;
    assert!(matches!(late, Err(CommandError::Unavailable(_))));
}

#[tokio::test]
async fn deadlines_are_set_moved_and_taken_away_with_the_append() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    let due = |kind: &'static str, key: &str, seconds: i64, unit: &UnitOfWork<'_>| event_store::Deadline {
        kind,
        key: key.to_owned(),
        due_at: unit.now() + chrono::TimeDelta::seconds(seconds),
    };

    ledger
        .execute(command().begin::<Tally>("a"), move |unit| {
            unit.set_deadline(due("expiry", "past", -60, unit));
            unit.set_deadline(due("expiry", "future", 3_600, unit));
            unit.set_deadline(due("expiry", "dropped", -60, unit));
            unit.set_deadline(due("lapse", "other", -60, unit));
            Ok(())
        })
        .await
        .unwrap();
    ledger
        .execute(command(), move |unit| {
            unit.set_deadline(due("expiry", "future", 60, unit));
            unit.set_deadline(due("expiry", "future", -30, unit));
            unit.clear_deadline("expiry", "dropped");
            Ok(())
        })
        .await
        .unwrap();

    let due = read::due_deadlines(&database.pool, "expiry", 10).await.unwrap();
    assert_eq!(due.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["past", "future"]);
    assert_eq!(database.count("store.deadline").await, 3);
}

#[tokio::test]
async fn a_refused_command_keeps_its_key_free() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    let refuse = |_: &mut UnitOfWork<'_>| -> Result<(), Refusal> { Err(insufficient(1, 0).into()) };

    let refused = ledger.execute(command().unique(key("k")), refuse).await;
    assert!(matches!(refused, Err(CommandError::Rejected(_))));
    ledger.execute(command().cached::<Tally>("a").unique(key("k")), add("a", 1)).await.unwrap();
}
