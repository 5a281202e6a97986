//! A ledger that cannot keep up says so instead of letting everybody wait.

use event_store::{CommandError, LedgerConfig};
use futures_util::future::join_all;

use crate::support::{Database, Tally, add, block_appends, command, eventually, waiting_appends};

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let database = Database::new().await;
    let ledger = database.ledger_with(LedgerConfig { max_queue_commands: 3, ..Default::default() }).await;

    // Nothing is taken from the queue between these calls.
    let submitted: Vec<_> = (0..5).map(|_| ledger.submit(command().cached::<Tally>("a"), add("a", 1))).collect();
    let outcomes = join_all(submitted).await;

    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
    assert!(outcomes[3..].iter().all(|outcome| matches!(outcome, Err(CommandError::Overloaded))));
}

#[tokio::test]
async fn a_command_waits_for_its_turn_no_longer_than_it_may() {
    let database = Database::new().await;
    let ledger = database.ledger_with(LedgerConfig { max_wait_ms: 100, ..Default::default() }).await;
    let blocker = block_appends(&database).await;

    let first = tokio::spawn(ledger.submit(command().cached::<Tally>("a"), add("a", 1)));
    eventually("the first append waits for the lock", || async { waiting_appends(&database).await == 1 }).await;
    let second = ledger.execute(command().cached::<Tally>("a"), add("a", 1)).await;
    blocker.unblock().await;

    assert!(matches!(second, Err(CommandError::Overloaded)));
    first.await.unwrap().unwrap();
    assert_eq!(database.positions("tally-a").await, [1]);
}
