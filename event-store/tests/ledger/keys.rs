//! A unique key has its effect once and answers with it for ever after.

use std::time::Duration;

use event_store::housekeeping::{KeyRetention, forget_old_keys};
use event_store::{CommandError, CommandKey, KeyRecord, UnitOfWork};
use futures_util::future::join_all;

use crate::support::{Database, Tally, TallyCommand, add, command, insufficient, key};

#[tokio::test]
async fn a_repeat_answers_as_the_first_time() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    let once = || {
        let key = CommandKey { scope: "orders".into(), key: "k".into(), request_hash: Some(vec![1, 2]) };
        command().cached::<Tally>("a").unique(key)
    };
    let add_and_answer = |unit: &mut UnitOfWork<'_>| {
        unit.handle::<Tally>("a", TallyCommand::Add { by: 7 })?;
        unit.handle::<Tally>("a", TallyCommand::Add { by: 7 })?;
        unit.respond(r#"{"total":14}"#.to_owned());
        Ok(())
    };

    ledger.execute(once(), add_and_answer).await.unwrap();
    let repeat = ledger.execute(once(), add_and_answer).await;

    let record = KeyRecord {
        scope: "orders".into(),
        key: "k".into(),
        request_hash: Some(vec![1, 2]),
        response: Some(r#"{"total":14}"#.into()),
        position: Some(2),
    };
    assert!(matches!(repeat, Err(CommandError::Duplicate(known)) if known == record));
    assert_eq!(database.count("store.events").await, 2);
}

#[tokio::test]
async fn repeats_in_one_batch_have_one_effect_and_others_are_not_harmed() {
    let database = Database::new().await;
    let ledger = database.ledger().await;

    let commands = (0..400).map(|n| {
        let command = command().cached::<Tally>("hot").unique(key(&format!("key-{}", n % 100)));
        ledger.submit(command, add("hot", 1))
    });
    let outcomes = join_all(commands).await;

    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (100, 300));
    assert!(lost.into_iter().all(|outcome| matches!(outcome, Err(CommandError::Duplicate(_)))));
    assert_eq!(ledger.load::<Tally>("hot").await.unwrap().state.total, 100);
    database.assert_sound().await;
}

#[tokio::test]
async fn each_key_knows_the_last_event_of_its_own_command() {
    let database = Database::new().await;
    let ledger = database.ledger().await;

    let commands = (0..20).map(|n| {
        ledger.submit(command().cached::<Tally>("hot").unique(key(&n.to_string())), |unit| {
            unit.handle::<Tally>("hot", TallyCommand::Add { by: 1 })?;
            unit.handle::<Tally>("hot", TallyCommand::Add { by: 1 })
        })
    });
    let positions: Vec<_> = join_all(commands).await.into_iter().map(|outcome| outcome.unwrap().position).collect();

    let stored: Vec<Option<i64>> = sqlx::query_scalar("select position from store.command_key order by key::int")
        .fetch_all(&database.pool)
        .await
        .unwrap();
    assert_eq!(stored, positions);
    assert_eq!(positions, (1..=20).map(|n| Some(n * 2)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_repeat_that_would_be_rejected_by_now_answers_as_the_first_time() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    let fill = |unit: &mut UnitOfWork<'_>| unit.handle::<Tally>("a", TallyCommand::AddUpTo { by: 1, limit: 1 });

    ledger.execute(command().read::<Tally>("a").unique(key("k")), fill).await.unwrap();
    let repeat = ledger.execute(command().read::<Tally>("a").unique(key("k")), fill).await;
    let another = ledger.execute(command().read::<Tally>("a").unique(key("l")), fill).await;

    assert!(matches!(repeat, Err(CommandError::Duplicate(record)) if record.position == Some(1)));
    assert!(matches!(another, Err(CommandError::Rejected(rejection)) if rejection == insufficient(1, 0)));
}

#[tokio::test]
async fn a_key_alone_is_remembered() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    let nothing = |_: &mut UnitOfWork<'_>| Ok(());

    let committed = ledger.execute(command().unique(key("k")), nothing).await.unwrap();
    let repeat = ledger.execute(command().unique(key("k")), nothing).await;

    assert_eq!(committed.position, None);
    assert!(matches!(repeat, Err(CommandError::Duplicate(record)) if record.position.is_none()));
    assert_eq!(database.count("store.ledger_batch").await, 1, "an append without events is no link of the chain");
}

#[tokio::test]
async fn old_keys_are_forgotten_by_scope() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    for (scope, key) in [
        ("inbox/stock", "k"),
        ("inbox/order", "k"),
        ("inbox/order", "needed"),
        ("inbox/stock", "needed"),
        ("http/orders", "k"),
    ] {
        let key = CommandKey { scope: scope.into(), key: key.into(), request_hash: None };
        ledger.execute(command().unique(key), |_| Ok(())).await.unwrap();
    }
    database.run("update store.command_key set created_at = created_at - interval '2 days'").await;

    let keep_for = |scope_prefix: &str, days: u64| KeyRetention {
        scope_prefix: scope_prefix.to_owned(),
        keep_for: Duration::from_secs(days * 86_400),
        except: vec![("inbox/order".to_owned(), "needed".to_owned())],
    };
    let forgotten = forget_old_keys(&database.pool, &[keep_for("inbox/", 1), keep_for("http/", 7)]).await.unwrap();

    assert_eq!(forgotten, 3);
    assert_eq!(database.count("store.command_key where scope = 'http/orders'").await, 1);
    assert_eq!(database.count("store.command_key where (scope, key) = ('inbox/order', 'needed')").await, 1);
}
