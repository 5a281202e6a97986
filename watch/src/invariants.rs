//! The invariants that can be checked cheaply, checked from time to time: a broken one should be found before somebody
//! runs `verify`, which checks all of them and all there is.

use std::time::{Duration, Instant};

use event_store::read;
use event_store::verify::{self, Violation};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::leading::Leading;
use crate::verification::{self, MadeBy};
use crate::{WatchError, metric, missing};

const LEASE_NAME: &str = "invariant-watch";
/// Another process takes over when this one has been gone for so long.
const LEASE_TTL: Duration = Duration::from_secs(15);
/// What is not sent by then counts as lost until it is.
pub const UNSENT_DEADLINE: Duration = Duration::from_secs(120);
/// What the watch looks at.
const CHECKED: [&str; 5] = ["I1", "I2", "I5", "I7", "I8"];

/// Bounds of the watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvariantWatchConfig {
    /// Between two checks.
    pub interval: Duration,
    /// Events of the hash chain walked in one check; the next one goes on from there. By default it keeps up with 10,000 a second.
    pub max_chain_events: i64,
    /// Rows of each read model that are folded again and compared.
    pub sampled_rows: i64,
}

impl Default for InvariantWatchConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(300), max_chain_events: 3_000_000, sampled_rows: 50 }
    }
}

/// What one look found, and what is known from before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvariantReport {
    /// A break of the hash chain is among them until a `verify` finds it gone.
    pub violations: Vec<Violation>,
    /// What the last `verify` found.
    pub by_verify: Vec<Violation>,
}

/// Checks; one process at a time does.
pub struct InvariantWatch {
    pool: PgPool,
    config: InvariantWatchConfig,
    leading: Leading,
}

impl InvariantWatch {
    pub fn new(pool: PgPool, config: InvariantWatchConfig) -> Self {
        let leading = Leading::kept(pool.clone(), LEASE_NAME, LEASE_TTL);
        Self { pool, config, leading }
    }

    /// Checks until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut is_failing = false;
        while !shutdown.is_cancelled() {
            let started = Instant::now();
            let checked = tokio::select! {
                () = shutdown.cancelled() => break,
                checked = self.step() => checked,
            };
            let is_standby = matches!(checked, Ok(None));
            match checked {
                Ok(report) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("the invariants are checked again");
                    }
                    report.iter().for_each(show);
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%error, "the invariants can't be checked just now");
                    }
                }
            }
            // Checking takes a tenth of one connection's time at most.
            let pause = match is_standby {
                true => self.config.interval.min(LEASE_TTL),
                false => self.config.interval.max(started.elapsed() * 10),
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.leading.resign().await;
    }

    /// Checks once, and writes down what came of it; `None` where another process does.
    pub async fn step(&mut self) -> Result<Option<InvariantReport>, WatchError> {
        if !self.leading.is_leader().await? {
            return Ok(None);
        }
        let position = read::head(&self.pool).await?;
        let standing = verification::standing(&self.pool).await?;
        let chain = self.chain(position).await?;
        // First, because only the first ones of a check are kept.
        let mut violations = standing.in_chain;
        for violation in chain.violations {
            // It is on record, but the step from it was not.
            if !violations.contains(&violation) {
                violations.push(violation);
            }
        }
        violations.extend(delivery(&self.pool).await?);
        violations.extend(missing::remembered(&self.pool).await?);
        violations.extend(projections::verify::stock_sums(&self.pool).await?);
        violations.extend(projections::verify::sampled_rows(&self.pool, self.config.sampled_rows).await?);
        violations.extend(projections::verify::deadlines(&self.pool, projections::verify::DEFAULT_OVERDUE).await?);
        verification::record(&self.pool, MadeBy::Watch, &CHECKED, position, &violations).await?;
        // Only now: what was found must not be lost with a check that fails later.
        sqlx::query(include_str!("sql/note_chain_checked.sql")).bind(chain.upto).execute(&self.pool).await?;
        Ok(Some(InvariantReport { violations, by_verify: standing.by_verify }))
    }

    /// I5 from where the last check ended: the next one goes on behind a break, and knows it from the record.
    async fn chain(&self, head: i64) -> Result<verify::CheckedRange, WatchError> {
        let checked: Option<i64> =
            sqlx::query_scalar("select position from operations.chain_checked").fetch_optional(&self.pool).await?;
        let after = checked.unwrap_or(0);
        Ok(verify::ledger_range(&self.pool, after, head, self.config.max_chain_events).await?)
    }
}

/// I1, the ledger's side: what was appended is on its way.
pub async fn delivery(pool: &PgPool) -> Result<Vec<Violation>, WatchError> {
    let lag = outbox_relay::lag::measure(pool).await?;
    let deadline_ms = i64::try_from(UNSENT_DEADLINE.as_millis()).unwrap_or(i64::MAX);
    let mut messages = Vec::new();
    for topic in &lag.topics {
        if let Some(age_ms) = topic.oldest_unsent_age_ms.filter(|age_ms| *age_ms > deadline_ms) {
            messages.push(format!("{}: a message has been unsent for {} s", topic.topic, age_ms / 1_000));
        }
    }
    if lag.parked_messages > 0 {
        messages.push(format!("{} messages are parked: they cannot be sent as they are", lag.parked_messages));
    }
    Ok(messages.into_iter().map(|message| Violation { invariant: "I1", message }).collect())
}

/// Counted at each look: one that was counted only once may have been so before anybody asked for the metrics.
fn show(report: &InvariantReport) {
    for Violation { invariant, message } in &report.violations {
        metric::violations(invariant, 1);
        tracing::error!(invariant, message, "an invariant does not hold");
    }
    // Whoever ran `verify` was told them.
    for violation in &report.by_verify {
        metric::violations(violation.invariant, 1);
    }
}
