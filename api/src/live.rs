//! Who waits for news of which stream. However many wait, one watcher a process follows the ledger's head and reads each
//! new range of positions once; whoever it concerns then looks for themselves.
//!
//! Positions have no gaps, so nothing in a range can be missed. Whoever subscribes and then reads what there is misses
//! nothing either: what is committed later is in a range that comes later.

use std::sync::{Arc, Once};
use std::time::Duration;

use event_store::read;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;
use crate::waiters::{Subscription, Waiters};

/// Between two looks at the head when no notification comes.
const HEAD_POLL: Duration = Duration::from_millis(250);

/// Positions read at once.
const RANGE: i64 = 5_000;

/// Between two reads, so that a busy ledger costs a bounded number of them.
const READ_PAUSE: Duration = Duration::from_millis(20);

const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The watcher, and those who wait. Cheap to clone.
#[derive(Clone)]
pub(crate) struct StreamNews(Arc<Shared>);

struct Shared {
    pool: PgPool,
    shutdown: CancellationToken,
    started: Once,
    waiters: Waiters<String>,
}

impl StreamNews {
    /// For at most `max_subscriptions` at a time. Nothing runs before the first of them.
    pub fn new(pool: PgPool, max_subscriptions: usize, shutdown: CancellationToken) -> Self {
        let waiters = Waiters::new(max_subscriptions, shutdown.clone());
        Self(Arc::new(Shared { pool, shutdown, started: Once::new(), waiters }))
    }

    /// Waits for news from now on: read what there is after this call.
    pub fn subscribe(&self, stream_id: String) -> Result<Subscription, Problem> {
        let subscription = self.0.waiters.subscribe(stream_id)?;
        self.0.started.call_once(|| drop(tokio::spawn(watch_ledger(self.0.clone()))));
        Ok(subscription)
    }
}

async fn watch_ledger(shared: Arc<Shared>) {
    let (writer, mut head) = watch::channel(0);
    let follow = projections::head::follow(shared.pool.clone(), writer, HEAD_POLL, shared.shutdown.clone());
    tokio::spawn(follow);
    let mut seen = 0;
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            moved = head.wait_for(|head| *head > seen) => if moved.is_err() { return },
        }
        let upto = *head.borrow();
        match look(&shared, seen, upto).await {
            Ok(position) => seen = position,
            Err(error) => {
                tracing::debug!(%error, "news of streams wait for the database");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
        tokio::time::sleep(READ_PAUSE).await;
    }
}

/// Wakes whom the next range concerns; answers up to where everybody knows.
async fn look(shared: &Shared, seen: i64, upto: i64) -> Result<i64, event_store::StoreError> {
    let streams = shared.waiters.waited_for();
    if streams.is_empty() {
        // Whoever subscribes after this reads what there is, and that is at least up to here.
        return Ok(upto);
    }
    if seen == 0 {
        // The watcher has just begun: what came before is for everybody to read.
        shared.waiters.wake(&streams);
        return Ok(upto);
    }
    let upto = upto.min(seen + RANGE);
    let touched = read::touched_streams(&shared.pool, &streams, seen, upto).await?;
    shared.waiters.wake(&touched);
    Ok(upto)
}
