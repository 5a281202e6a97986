//! How readers hear that there is something to read.

use sqlx::postgres::PgListener;

use crate::support::{Database, Tally, add, command};

#[tokio::test]
async fn the_head_is_announced_in_this_process_and_to_others() {
    let database = Database::new().await;
    let ledger = database.ledger().await;
    let mut head = ledger.subscribe_head();
    let mut listener = PgListener::connect_with(&database.pool).await.unwrap();
    listener.listen(event_store::HEAD_CHANNEL).await.unwrap();

    ledger.execute(command().begin::<Tally>("a"), add("a", 1)).await.unwrap();

    assert_eq!(*head.wait_for(|&position| position == 1).await.unwrap(), 1);
    assert_eq!(listener.recv().await.unwrap().payload(), "1");
}

#[tokio::test]
async fn a_ledger_that_starts_knows_the_head() {
    let database = Database::new().await;
    let first = database.ledger().await;
    first.execute(command().begin::<Tally>("a"), add("a", 1)).await.unwrap();

    let second = database.ledger().await;

    assert_eq!(*second.subscribe_head().borrow(), 1);
}
