//! What the watch finds between two runs of `verify`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use domain::{Money, ShowId, Stock, StockCommand, TicketTypeId};
use event_store::{Command, Ledger, LedgerConfig, Metadata};
use projections::{Checkpoints, Projector, ProjectorConfig, StockView};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use watch::{InvariantWatch, InvariantWatchConfig, verification};

async fn selling(ticket_types: i64) -> PgPool {
    let url = embedded_postgres::testing::database().url;
    let pool = PgPoolOptions::new().max_connections(8).connect(&url).await.unwrap();
    event_store::migrate(&pool).await.unwrap();
    let ledger = Ledger::start(pool.clone(), LedgerConfig::default()).await.unwrap();
    for number in 1..=ticket_types {
        let id = TicketTypeId::new(number).unwrap();
        let put = StockCommand::PutOnSale {
            ticket_type_id: id,
            show_id: ShowId::new(3).unwrap(),
            name: "Stalls".to_owned(),
            price: Money::parse("99.50").unwrap(),
            capacity: 100,
        };
        let stream = id.to_string();
        let command = Command::new(Metadata::default()).begin::<Stock>(&stream);
        ledger.submit(command, move |unit| unit.handle::<Stock>(&stream, put.clone())).await.unwrap();
    }
    project(&pool).await;
    pool
}

async fn project(pool: &PgPool) {
    let checkpoints = Checkpoints::new(pool.clone());
    let mut stock = Projector::<StockView>::new(pool.clone(), checkpoints, ProjectorConfig::default());
    stock.step(&[]).await.unwrap();
    stock.release().await;
}

async fn found(watch: &mut InvariantWatch) -> Vec<(&'static str, String)> {
    let violations = watch.step().await.unwrap().expect("nobody else watches");
    violations.into_iter().map(|violation| (violation.invariant, violation.message)).collect()
}

fn watch(pool: &PgPool) -> InvariantWatch {
    InvariantWatch::new(pool.clone(), InvariantWatchConfig::default())
}

#[tokio::test]
async fn a_sound_ledger_has_no_violation_and_the_check_is_on_record() {
    let pool = selling(5).await;
    assert_eq!(found(&mut watch(&pool)).await, []);
    let last = verification::last(&pool).await.unwrap().unwrap();
    assert_eq!((last.made_by.as_str(), last.position, last.violations), ("watch", 5, 0));
    assert!(watch(&pool).step().await.unwrap().is_none(), "one watches at a time");
}

#[tokio::test]
async fn stock_that_does_not_add_up_is_found_by_its_sum_and_by_its_events() {
    let pool = selling(1).await;
    sqlx::query("update projection.stock_v1 set available = available - 1").execute(&pool).await.unwrap();
    let found = found(&mut watch(&pool)).await;
    let invariants: Vec<&str> = found.iter().map(|(invariant, _)| *invariant).collect();
    assert_eq!(invariants, ["I2", "I7"], "{found:?}");
}

#[tokio::test]
async fn an_event_that_was_changed_is_found_once_and_the_watch_goes_on_behind_it() {
    let pool = selling(5).await;
    let mut watch = watch(&pool);
    // Only who can switch the triggers off can do this.
    let tampering = "set session_replication_role = replica;
        update store.events set payload = '{}' where position = 3; reset session_replication_role";
    sqlx::raw_sql(tampering).execute(&pool).await.unwrap();
    let first = found(&mut watch).await;
    assert!(first.iter().any(|(invariant, message)| *invariant == "I5" && message.contains("event 3")), "{first:?}");
    let later = found(&mut watch).await;
    assert!(later.iter().all(|(invariant, _)| *invariant != "I5"), "{later:?}");
}

#[tokio::test]
async fn the_chain_is_walked_in_bounded_steps_to_its_end() {
    let pool = selling(9).await;
    let config = InvariantWatchConfig { max_chain_events: 2, ..InvariantWatchConfig::default() };
    let mut watch = InvariantWatch::new(pool.clone(), config);
    let mut walked = Vec::new();
    for _ in 0..6 {
        assert_eq!(found(&mut watch).await, []);
        let position: i64 =
            sqlx::query_scalar("select position from operations.chain_checked").fetch_one(&pool).await.unwrap();
        walked.push(position);
    }
    assert_eq!(walked, [2, 4, 6, 8, 9, 9]);
}

#[tokio::test]
async fn a_deadline_nobody_acts_on_and_a_message_nobody_sends_are_found() {
    let pool = selling(1).await;
    sqlx::query("insert into store.deadline values ('order_expiry', 'ORD1', clock_timestamp() - interval '1 hour')")
        .execute(&pool)
        .await
        .unwrap();
    let found = found(&mut watch(&pool)).await;
    assert!(found.iter().any(|(invariant, message)| *invariant == "I8" && message.contains("ORD1")), "{found:?}");
}
