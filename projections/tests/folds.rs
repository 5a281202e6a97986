//! A read model's `CODE_VERSION` is raised when its rows come out differently. Whether they do is seen here: every event that
//! there is, folded, gives the rows that are kept for that version.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use domain::Decider;
use event_store::read::RecordedEvent;
use projections::{NotificationView, OrderView, ReadModel, SagaView, StockView, Table, fold};
use sqlx::AssertSqlSafe;
use support::World;
use uuid::Uuid;

/// Streams as fixtures of `domain`; every event and every version of its schema must be among them.
const ORDERS: &[&[&str]] = &[
    &[
        "OrderPlaced.v2",
        "OrderStockHeld.v1",
        "OrderPaymentStarted.v1",
        "OrderPaymentFailed.v1",
        "OrderPaymentStarted.v1",
        "OrderPaid.v1",
        "OrderConfirmed.v1",
        "OrderRefundStarted.v1",
        "OrderRefunded.v1",
    ],
    &["OrderPlaced.v1", "OrderRejected.v1"],
    &["OrderPlaced.v2", "OrderStockHeld.v1", "OrderCancelled.v1"],
    &["OrderPlaced.v2", "OrderExpired.v1"],
];
const STOCK: &[&[&str]] = &[&[
    "TicketTypePutOnSale.v1",
    "CapacityChanged.v1",
    "StockLocked.v1",
    "StockLockRenewed.v1",
    "StockLockSecured.v1",
    "StockDeducted.v1",
    "StockReturned.v1",
    "StockLocked.v1",
    "StockReleased.v1",
    "StockLocked.v1",
    "StockLockLapsed.v1",
    "StockRollbackRemembered.v1",
]];
const NOTIFICATIONS: &[&[&str]] =
    &[&["NotificationRequested.v1", "NotificationDispatched.v1", "NotificationSent.v1", "NotificationFailed.v1"]];
const SAGAS: &[&[&str]] = &[
    &[
        "FulfilmentBegun.v1",
        "LockGranted.v1",
        "FulfilmentLockLapsed.v1",
        "Relocked.v1",
        "CaptureRecorded.v1",
        "FulfilmentCompleted.v1",
    ],
    &["FulfilmentBegun.v1", "LockRefused.v1"],
    &[
        "FulfilmentBegun.v1",
        "LockGranted.v1",
        "CompensationStarted.v1",
        "CompensationCompleted.v1",
        "CaptureRecorded.v1",
        "RefundFailed.v1",
        "CompensationResolved.v1",
        "RefundRecorded.v1",
    ],
];

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_gives_the_rows_of_its_code_version() {
    let world = World::new().await;
    let different = [
        compare::<OrderView>(&world, ORDERS).await,
        compare::<StockView>(&world, STOCK).await,
        compare::<NotificationView>(&world, NOTIFICATIONS).await,
        compare::<SagaView>(&world, SAGAS).await,
    ];
    let different: Vec<String> = different.into_iter().flatten().collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// What is to be done where the rows are not those that are kept.
async fn compare<M: ReadModel>(world: &World, streams: &[&[&str]]) -> Option<String> {
    let known: BTreeSet<String> = M::Aggregate::SCHEMAS
        .iter()
        .flat_map(|schema| (1..=schema.version).map(|version| format!("{}.v{version}", schema.event_type)))
        .collect();
    let folded: BTreeSet<String> = streams.iter().flat_map(|stream| stream.iter()).map(ToString::to_string).collect();
    assert_eq!(folded, known, "{}: every event and every version of its schema is folded here", M::NAME);

    let rows = rows::<M>(world, streams).await;
    let (name, version) = (M::NAME, M::CODE_VERSION);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/folds/{name}.v{version}.ndjson"));
    if std::fs::read_to_string(&kept).is_ok_and(|kept| kept == rows) {
        return None;
    }
    let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.ndjson"));
    std::fs::write(&found, rows).unwrap();
    Some(format!(
        "{name}: its fold does not give the rows of code version {version}. Tables built until now show something else, so \
         raise CODE_VERSION, which makes a rebuild due, and keep the rows of the new version:\n  diff {} {}\n  cp {} {}",
        kept.display(),
        found.display(),
        found.display(),
        kept.with_file_name(format!("{name}.v<CODE_VERSION>.ndjson")).display(),
    ))
}

/// The table's row after each event, a line each.
async fn rows<M: ReadModel>(world: &World, streams: &[&[&str]]) -> String {
    let mut connection = world.pool.acquire().await.unwrap();
    let read = format!("select to_jsonb(t)::text from projection.{}_v1 t", M::NAME);
    let mut lines = String::new();
    for stream in streams {
        let mut row: Option<M> = None;
        for (n, fixture) in stream.iter().enumerate() {
            fold(&mut row, &event::<M>(n as i64 + 1, fixture)).unwrap();
            M::upsert(&mut connection, &Table::of::<M>(1), row.as_slice()).await.unwrap();
            let shown: String =
                sqlx::query_scalar(AssertSqlSafe(read.clone())).fetch_one(&mut *connection).await.unwrap();
            lines.push_str(&format!("{fixture} {shown}\n"));
        }
    }
    lines
}

fn event<M: ReadModel>(n: i64, fixture: &str) -> RecordedEvent {
    let (event_type, schema_version) = fixture.split_once(".v").unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../domain/tests/fixtures/{fixture}.json"));
    RecordedEvent {
        position: 100 + n,
        stream_id: M::Aggregate::stream_id("1"),
        version: n,
        event_id: Uuid::nil(),
        event_type: event_type.to_owned(),
        schema_version: schema_version.parse().unwrap(),
        payload: std::fs::read_to_string(path).unwrap(),
        metadata: "{}".to_owned(),
        recorded_at: DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(n),
        hash: Vec::new(),
    }
}
