//! Watching a redrive that `process` carries out.

use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use messaging::dead_letter::redrives::{self, Redrive};
use sqlx::PgPool;
use uuid::Uuid;

const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// One that is carried out in turns with others rests for moments.
const WAITS_AFTER: Duration = Duration::from_secs(5);
/// A process that is there takes a redrive on within a second; one that died leaves it to another within a few.
const NOBODY_AFTER: Duration = Duration::from_secs(15);

/// Shows how it goes until it has ended. Fails when nobody carries any redrive out: it stays asked for.
pub async fn until_ended(pool: &PgPool, redrive_id: Uuid) -> anyhow::Result<Redrive> {
    let bar = bar();
    let mut worked_on_at = Instant::now();
    let mut somebody_works_at = worked_on_at;
    let mut is_told = false;
    loop {
        let redrive = redrives::find(pool, redrive_id).await?;
        bar.set_length(count(redrive.selected));
        bar.set_position(count(redrive.delivered));
        if redrive.stopped_keys > 0 {
            bar.set_message(format!("{} keys stopped", redrive.stopped_keys));
        }
        if redrive.is_over() {
            bar.finish_and_clear();
            return Ok(redrive);
        }
        if redrive.worker.is_some() {
            worked_on_at = Instant::now();
            somebody_works_at = worked_on_at;
        } else if redrives::is_one_at_work(pool).await? {
            somebody_works_at = Instant::now();
            if worked_on_at.elapsed() > WAITS_AFTER && !std::mem::replace(&mut is_told, true) {
                bar.suspend(|| eprintln!("redrive {redrive_id} waits for its turn: others are carried out"));
            }
        } else if somebody_works_at.elapsed() > NOBODY_AFTER {
            bar.abandon();
            bail!(
                "no `process` carries redrive {redrive_id} out: start `order-ledger process` (or `up`), and it is; \
                 `order-ledger dead-letters cancel {redrive_id}` takes it back"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => {
                bar.abandon();
                bail!("redrive {redrive_id} goes on; `order-ledger dead-letters cancel {redrive_id}` ends it");
            }
        }
    }
}

/// On standard error, and only where that is a terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    // The template is a constant; a wrong one would only fall back to the default look.
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} ETA {eta} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn count(messages: i64) -> u64 {
    messages.unsigned_abs()
}
