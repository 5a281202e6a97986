//! Data that Postgres refuses harms only the command that brought it.

use event_store::{CommandError, UnitOfWork};
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::support::{Database, Tally, TallyCommand, add, command, key, message};

/// Postgres stores no NUL in a text.
fn add_with_nul(unit: &mut UnitOfWork<'_>) -> Result<(), event_store::Refusal> {
    unit.handle::<Tally>("hot", TallyCommand::Add { by: 1 })?;
    unit.publish(message("\0"))
}

#[tokio::test]
async fn one_bad_command_in_a_batch_on_one_stream_is_found() {
    let database = Database::new().await;
    let ledger = database.ledger().await;

    let commands: Vec<_> = (0..100)
        .map(|n| match n {
            37 | 71 => ledger.submit(command().cached::<Tally>("hot"), add_with_nul).boxed(),
            _ => ledger.submit(command().cached::<Tally>("hot"), add("hot", 1)).boxed(),
        })
        .collect();
    let outcomes = join_all(commands).await;

    for (n, outcome) in outcomes.into_iter().enumerate() {
        match n {
            37 | 71 => assert!(matches!(outcome, Err(CommandError::Invalid { .. })), "{n}: {outcome:?}"),
            _ => assert!(outcome.is_ok(), "{n}: {outcome:?}"),
        }
    }
    assert_eq!(ledger.load::<Tally>("hot").await.unwrap().state.total, 98);
    database.assert_sound().await;
}

#[tokio::test]
async fn one_bad_command_among_strangers_is_found() {
    let database = Database::new().await;
    let ledger = database.ledger().await;

    let commands: Vec<_> = (0..50)
        .map(|n| {
            let id = format!("t{n}");
            let key = if n == 13 { key("bad\0key") } else { key(&id) };
            ledger.submit(command().begin::<Tally>(&id).unique(key), add(&id, 1))
        })
        .collect();
    let outcomes = join_all(commands).await;

    let bad: Vec<usize> = (0..50).filter(|&n| outcomes[n].is_err()).collect();
    assert_eq!(bad, [13]);
    assert_eq!(database.count("store.events").await, 49);
}

#[tokio::test]
async fn a_violated_constraint_is_named() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    database.run("alter table store.outbox add constraint outbox_topic_check check (topic <> 'forbidden')").await;

    let refused = ledger.execute(command().begin::<Tally>("a"), |unit| {
        unit.handle::<Tally>("a", TallyCommand::Add { by: 1 })?;
        let mut forbidden = message("a");
        forbidden.topic = "forbidden".to_owned();
        unit.publish(forbidden)
    });

    let constraint = match refused.await {
        Err(CommandError::Invalid { constraint, .. }) => constraint,
        other => panic!("{other:?}"),
    };
    assert_eq!(constraint.as_deref(), Some("outbox_topic_check"));
    assert_eq!(database.count("store.events").await, 0, "half an append is none");
}
