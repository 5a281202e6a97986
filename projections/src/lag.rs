//! How far each read model is behind the ledger.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{NAMES, ProjectionError, code_version, critical_time};

const LAG_EVENTS: &str = "ledger_projection_lag_events";
const LAG_SECONDS: &str = "ledger_projection_lag_seconds";
const STOPPED: &str = "ledger_projection_stopped";
const EVENTS: &str = "ledger_projection_events_total";
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Where one projection stands, all of it read in one snapshot.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ProjectionLag {
    pub name: String,
    /// The version of its table that queries see, and the fold that built it.
    pub active_version: i32,
    pub code_version: i32,
    /// The version shown before, as long as it is kept up to date: a rollback shows it again.
    pub previous_version: Option<i32>,
    /// The last ledger position applied.
    pub position: i64,
    /// The ledger's last position.
    pub head: i64,
    /// The age of the oldest event not yet applied, on the database's clock; 0 only when there is none, `None` unknown.
    pub lag_seconds: Option<f64>,
}

impl ProjectionLag {
    /// Events not yet applied.
    pub fn lag_events(&self) -> i64 {
        (self.head - self.position).max(0)
    }

    /// Whether another fold than this program's built what is shown.
    pub fn is_rebuild_due(&self) -> bool {
        code_version(&self.name).is_some_and(|ours| ours != self.code_version)
    }
}

/// The lag of every projection.
pub async fn lag(pool: &PgPool) -> Result<Vec<ProjectionLag>, ProjectionError> {
    Ok(sqlx::query_as(include_str!("../sql/lag.sql")).fetch_all(pool).await?)
}

/// Puts the metrics there before anything is known: a lag that isn't known is NaN, never 0.
pub fn describe_metrics() {
    critical_time::describe_metrics();
    describe_gauge!(LAG_EVENTS, "Events between the ledger's head and the checkpoint");
    describe_gauge!(LAG_SECONDS, "Age of the oldest event not yet applied; 0 when there is none");
    describe_gauge!(STOPPED, "1 while the projection fails and waits to try again");
    describe_counter!(EVENTS, "Events applied");
    for name in NAMES {
        gauge!(LAG_EVENTS, "projection" => name).set(f64::NAN);
        gauge!(LAG_SECONDS, "projection" => name).set(f64::NAN);
        gauge!(STOPPED, "projection" => name).set(f64::NAN);
        counter!(EVENTS, "projection" => name).absolute(0);
    }
}

/// Sets the lag metrics every second until `shutdown`; a second without an answer makes them unknown again.
pub async fn report(pool: PgPool, shutdown: CancellationToken) {
    loop {
        match tokio::time::timeout(REPORT_INTERVAL, lag(&pool)).await {
            Ok(Ok(lags)) => {
                for lag in lags {
                    set(&lag.name, lag.lag_events() as f64, lag.lag_seconds.unwrap_or(f64::NAN));
                }
            }
            _ => NAMES.iter().for_each(|name| set(name, f64::NAN, f64::NAN)),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(REPORT_INTERVAL) => {}
        }
    }
}

fn set(projection: &str, events: f64, seconds: f64) {
    let projection = projection.to_owned();
    gauge!(LAG_EVENTS, "projection" => projection.clone()).set(events);
    gauge!(LAG_SECONDS, "projection" => projection).set(seconds);
}
