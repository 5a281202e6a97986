//! What the watch finds between two runs of `verify`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use domain::{Money, ShowId, Stock, StockCommand, TicketTypeId};
use event_store::verify::Violation;
use event_store::{Command, Ledger, LedgerConfig, Metadata};
use metrics_exporter_prometheus::PrometheusBuilder;
use projections::{Checkpoints, Projector, ProjectorConfig, StockView};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use watch::verification::{self, MadeBy};
use watch::{InvariantWatch, InvariantWatchConfig, metric};

const SOON: Duration = Duration::from_secs(30);

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
    let report = watch.step().await.unwrap().expect("nobody else watches");
    report.violations.into_iter().map(|violation| (violation.invariant, violation.message)).collect()
}

async fn chain_position(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select position from operations.chain_checked").fetch_one(pool).await.unwrap()
}

/// As `order-ledger verify` notes what it found.
async fn verified(pool: &PgPool, found: &[Violation]) {
    verification::record(pool, MadeBy::Verify, &["I1", "I5", "I6"], 1, found).await.unwrap();
}

/// The same where it could not judge the consumers.
async fn verified_without_broker(pool: &PgPool, found: &[Violation]) {
    verification::record(pool, MadeBy::Verify, &["I5", "I6"], 1, found).await.unwrap();
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
async fn an_event_that_was_changed_is_told_at_each_check_until_a_verify_finds_it_gone() {
    let pool = selling(5).await;
    let mut watch = watch(&pool);
    // Only who can switch the triggers off can do this.
    let tampering = "set session_replication_role = replica;
        update store.events set payload = '{}' where position = 3; reset session_replication_role";
    sqlx::raw_sql(tampering).execute(&pool).await.unwrap();
    let first = found(&mut watch).await;
    assert!(first.iter().any(|(invariant, message)| *invariant == "I5" && message.contains("event 3")), "{first:?}");
    let of_chain = |found: Vec<(&'static str, String)>| -> Vec<(&'static str, String)> {
        found.into_iter().filter(|(invariant, _)| *invariant == "I5").collect()
    };
    for _ in 0..2 {
        assert_eq!(of_chain(found(&mut watch).await), of_chain(first.clone()), "each once");
    }
    assert_eq!(chain_position(&pool).await, 5, "what is behind it is walked all the same");

    verified(&pool, &[]).await;
    assert_eq!(of_chain(found(&mut watch).await), []);
}

#[tokio::test]
async fn what_verify_found_is_counted_as_long_as_it_is_its_last_word() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let pool = selling(1).await;
    metric::init(&[]);
    let counted = || {
        let text = recorder.handle().render();
        let series = "ledger_invariant_violations_total{invariant=\"I6\"} ";
        text.lines().find_map(|line| line.strip_prefix(series)?.parse::<u64>().ok()).unwrap()
    };
    verified(&pool, &[Violation { invariant: "I6", message: "a capture nobody knows of".to_owned() }]).await;
    let config = InvariantWatchConfig { interval: Duration::from_millis(20), ..InvariantWatchConfig::default() };
    let shutdown = CancellationToken::new();
    let watching = tokio::spawn(InvariantWatch::new(pool.clone(), config).run(shutdown.clone()));
    let deadline = Instant::now() + SOON;
    while counted() < 2 {
        assert!(Instant::now() < deadline, "counted {} times", counted());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shutdown.cancel();
    watching.await.unwrap();

    verified(&pool, &[]).await;
    let report = watch(&pool).step().await.unwrap().expect("the first one resigned");
    assert_eq!(report.by_verify, []);
}

#[tokio::test]
async fn the_last_word_of_verify_is_kept_however_old_it_is() {
    let pool = selling(1).await;
    for message in ["before", "last"] {
        verified(&pool, &[Violation { invariant: "I6", message: message.to_owned() }]).await;
    }
    sqlx::query("update operations.verification set checked_at = checked_at - interval '60 days'")
        .execute(&pool)
        .await
        .unwrap();
    let mut watch = watch(&pool);
    for _ in 0..2 {
        let report = watch.step().await.unwrap().unwrap();
        assert_eq!(report.by_verify, [Violation { invariant: "I6", message: "last".to_owned() }]);
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from operations.verification").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, 3, "the last verify, and two looks since");
}

#[tokio::test]
async fn a_verify_that_could_not_judge_takes_nothing_from_the_word_of_one_that_could() {
    let pool = selling(1).await;
    let delivery = |message: &str| Violation { invariant: "I1", message: message.to_owned() };
    let money = Violation { invariant: "I6", message: "a capture nobody knows of".to_owned() };
    verified(&pool, &[delivery("a message is lost"), money]).await;
    let mut watch = watch(&pool);
    let mut standing = async || {
        let mut standing = watch.step().await.unwrap().unwrap().by_verify;
        standing.sort_by(|one, other| one.message.cmp(&other.message));
        standing
    };
    verified_without_broker(&pool, &[]).await;
    assert_eq!(standing().await, [delivery("a message is lost")]);
    verified_without_broker(&pool, &[delivery("a message is parked"), delivery("a message is lost")]).await;
    verified_without_broker(&pool, &[]).await;
    let both = [delivery("a message is lost"), delivery("a message is parked")];
    assert_eq!(standing().await, both);

    let age = "update operations.verification set checked_at = checked_at - interval '60 days'";
    sqlx::query(age).execute(&pool).await.unwrap();
    for _ in 0..2 {
        assert_eq!(standing().await, both, "however old they are");
    }
    verified(&pool, &[]).await;
    assert_eq!(standing().await, []);
}

#[tokio::test]
async fn the_chain_is_walked_in_bounded_steps_to_its_end() {
    let pool = selling(9).await;
    let config = InvariantWatchConfig { max_chain_events: 2, ..InvariantWatchConfig::default() };
    let mut watch = InvariantWatch::new(pool.clone(), config);
    let mut walked = Vec::new();
    for _ in 0..6 {
        assert_eq!(found(&mut watch).await, []);
        walked.push(chain_position(&pool).await);
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

#[tokio::test]
async fn after_the_process_that_checked_was_killed_another_one_checks_soon() {
    let pool = selling(1).await;
    let mut killed = watch(&pool);
    found(&mut killed).await;
    // Nobody resigns, and the next check would be due in five minutes.
    drop(killed);
    let _next = AbortOnDropHandle::new(tokio::spawn(watch(&pool).run(CancellationToken::new())));
    let checked = async {
        let checks = async || {
            let count = sqlx::query_scalar("select count(*) from operations.verification").fetch_one(&pool).await;
            let checks: i64 = count.unwrap();
            checks
        };
        while checks().await < 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), checked).await.expect("a second check");
}
