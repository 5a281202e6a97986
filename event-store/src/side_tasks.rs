//! What follows an append and delays no command: snapshots, and the news of the head for other processes.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::HEAD_CHANNEL;
use crate::slot::StreamSlot;
use crate::stream::StreamState;

/// Snapshots that may wait to be written.
pub(crate) const SNAPSHOT_QUEUE: usize = 64;

/// Between two announcements: each costs Postgres a transaction.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(5);

const RECONNECT_AFTER: Duration = Duration::from_millis(500);

pub(crate) struct SnapshotJob {
    stream_id: Arc<str>,
    schema: String,
    version: i64,
    position: i64,
    state: Box<dyn StreamState>,
}

impl SnapshotJob {
    pub(crate) fn of(slot: &StreamSlot) -> Self {
        Self {
            stream_id: slot.stream_id.clone(),
            schema: (slot.kind.snapshot_schema)(),
            version: slot.version as i64,
            position: slot.position,
            state: slot.state.clone_box(),
        }
    }
}

/// Ends when the executor has.
pub(crate) async fn write_snapshots(pool: PgPool, mut jobs: mpsc::Receiver<SnapshotJob>) {
    while let Some(job) = jobs.recv().await {
        if let Err(reason) = write_snapshot(&pool, &job).await {
            tracing::warn!(stream_id = &*job.stream_id, reason, "snapshot could not be written");
        }
    }
}

async fn write_snapshot(pool: &PgPool, job: &SnapshotJob) -> Result<(), String> {
    let state = job.state.to_snapshot()?;
    sqlx::query(include_str!("side_tasks/write_snapshot.sql"))
        .bind(&*job.stream_id)
        .bind(&job.schema)
        .bind(job.version)
        .bind(job.position)
        .bind(state)
        .execute(pool)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Tells other processes the newest position. It may be late or lost: listeners poll as well. Ends when the executor
/// has.
pub(crate) async fn announce_head(pool: PgPool, mut head: watch::Receiver<i64>) {
    head.mark_unchanged();
    let mut connection = None;
    while head.changed().await.is_ok() {
        let position = *head.borrow_and_update();
        let announced = announce(&pool, &mut connection, position).await;
        if let Err(error) = announced {
            tracing::debug!(%error, "the head could not be announced");
            connection = None;
            sleep(RECONNECT_AFTER).await;
        }
        sleep(ANNOUNCE_EVERY).await;
    }
}

/// On a connection of its own that need not wait for the disk: there is nothing to lose.
async fn announce(pool: &PgPool, connection: &mut Option<PgConnection>, position: i64) -> Result<(), sqlx::Error> {
    let open = match connection {
        Some(open) => open,
        None => {
            let options = pool.connect_options().as_ref().clone();
            let options = options.application_name("order-ledger head").options([("synchronous_commit", "off")]);
            connection.insert(PgConnection::connect_with(&options).await?)
        }
    };
    sqlx::query("select pg_notify($1, $2)").bind(HEAD_CHANNEL).bind(position.to_string()).execute(open).await?;
    Ok(())
}
