//! What the deadline runner says while the database refuses, attempt after attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use event_store::{Ledger, LedgerConfig};
use processors::Policy;
use processors::deadlines::{DeadlineConfig, DeadlineParts, DeadlineRunner};
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::support::{RecordingProvider, migrated_pool, tells_nobody};

const SOON: Duration = Duration::from_secs(30);
/// So many times a connection is taken until what is said is counted.
const ATTEMPTS: usize = 100;
/// Each behind a lease of its own.
const TASKS: usize = 4;

/// Counts warnings and errors of the runner.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("processors::deadlines")
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn deadlines_that_wait_for_the_database_say_so_once() {
    let options = migrated_pool().await.connect_options();
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let pool = PgPoolOptions::new().max_connections(8).before_acquire(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(true)))
    });
    let pool = pool.connect_with((*options).clone()).await.unwrap();
    let runner = DeadlineRunner::new(DeadlineParts {
        ledger: Ledger::start(pool.clone(), LedgerConfig::default()).await.unwrap(),
        policy: Policy::default(),
        provider: Arc::new(RecordingProvider::default()),
        results: tells_nobody(),
        config: DeadlineConfig { poll_interval_ms: 1, ..DeadlineConfig::default() },
    });
    // As good as away for whoever needs a lease.
    sqlx::query("alter table store.lease rename to lease_that_is_away").execute(&pool).await.unwrap();

    let warnings = Warnings::default();
    let _counting = tracing::subscriber::set_default(warnings.clone());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(runner.run(shutdown.clone()));
    let (deadline, before) = (Instant::now() + SOON, taken.load(Ordering::SeqCst));
    while taken.load(Ordering::SeqCst) < before + ATTEMPTS {
        assert!(Instant::now() < deadline, "{taken:?} attempts");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(warnings.0.load(Ordering::SeqCst), TASKS);
}
