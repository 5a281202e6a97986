//! What is said while the database refuses, attempt after attempt.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use messaging::RuntimeConfig;
use messaging::memory::InMemoryBroker;
use projections::{Checkpoints, Projections, ProjectorConfig, SagaWatch, SagaWatchConfig};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use support::World;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const SOON: Duration = Duration::from_secs(30);
/// So many times a connection is taken until what is said is counted.
const ATTEMPTS: usize = 100;

/// Warnings and errors, by their message.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn count(&self, message: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|said| said.contains(message)).count()
    }
}

struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl Subscriber for Said {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut Message(&mut text));
        self.0.lock().unwrap().push(text);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The same database, and how often a connection of it was taken.
async fn counting(pool: &PgPool) -> (PgPool, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let count = PgPoolOptions::new().max_connections(8).before_acquire(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(true)))
    });
    (count.connect_with((*pool.connect_options()).clone()).await.unwrap(), taken)
}

/// As good as away for whoever needs a lease.
async fn refuse_leases(pool: &PgPool) {
    sqlx::query("alter table store.lease rename to lease_that_is_away").execute(pool).await.unwrap();
}

async fn many_attempts(taken: &AtomicUsize) {
    let deadline = Instant::now() + SOON;
    while taken.load(Ordering::SeqCst) < ATTEMPTS {
        assert!(Instant::now() < deadline, "{taken:?} attempts");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_saga_watch_that_can_not_look_says_so_once() {
    let world = World::new().await;
    let (pool, taken) = counting(&world.pool).await;
    refuse_leases(&world.pool).await;
    let said = Said::default();
    let _saying = tracing::subscriber::set_default(said.clone());
    let config = SagaWatchConfig { interval: Duration::from_millis(1), ..SagaWatchConfig::default() };
    let shutdown = CancellationToken::new();
    let watching = tokio::spawn(SagaWatch::new(pool, config).run(shutdown.clone()));
    many_attempts(&taken).await;
    shutdown.cancel();
    watching.await.unwrap();
    assert_eq!(said.count("sagas can't be watched just now"), 1);
}

#[tokio::test]
async fn a_projection_that_fails_again_for_the_same_reason_says_so_once() {
    let world = World::new().await;
    let (pool, taken) = counting(&world.pool).await;
    refuse_leases(&world.pool).await;
    let said = Said::default();
    let _saying = tracing::subscriber::set_default(said.clone());
    let delay = Duration::from_millis(1);
    let projections = Projections {
        checkpoints: Checkpoints::new(pool.clone()),
        pool,
        broker: Arc::new(InMemoryBroker::default()),
        config: ProjectorConfig { min_retry_delay: delay, max_retry_delay: delay, ..ProjectorConfig::default() },
        consumer: RuntimeConfig::default(),
    };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(projections.run(shutdown.clone()));
    many_attempts(&taken).await;
    shutdown.cancel();
    running.await.unwrap();
    for name in projections::NAMES {
        assert_eq!(said.count(&format!("projection=\"{name}\" ")), 1, "{name}: {:#?}", said.0);
    }
}
