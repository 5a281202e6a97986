//! Async against sync: what each cohort got, and whether the difference is more than noise.

mod statistics;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::Mode;
use serde::Serialize;
use sqlx::{FromRow, PgPool};

use crate::cohort::Cause;
use crate::error::RolloutError;

/// The newest orders that one report looks at; of more, the older ones are left out.
const MAX_SAMPLES: i64 = 50_000;
/// A difference that chance makes this rarely is called more than noise.
const SIGNIFICANCE: f64 = 0.01;
/// With fewer orders in a cohort nothing is said about noise.
const MIN_SAMPLES: usize = 20;

/// Both cohorts, since a time.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub cohorts: Cohorts,
    /// Async against sync, measure by measure.
    pub differences: Vec<Difference>,
    /// Orders that an operator or an outage took out of their cohort, by cause; they are in no figure above.
    pub excluded: BTreeMap<&'static str, u64>,
    /// There were more orders than one report looks at: the older ones are left out.
    pub is_truncated: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cohorts {
    #[serde(rename = "async")]
    pub asynchronous: Cohort,
    #[serde(rename = "sync")]
    pub synchronous: Cohort,
}

/// The orders of one mode.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cohort {
    /// Orders taken, and requests that failed.
    pub count: u64,
    /// Those of them that were looked at.
    pub samples: usize,
    /// From the request to its answer.
    pub accept_latency_ms: Percentiles,
    /// From the request until the ledger says whether the tickets are held: the answer's latency, and what passed between the
    /// order's first event and the one that decides.
    pub time_to_decision_ms: Percentiles,
    /// Orders that wait for their decision, or ended before it.
    pub undecided: u64,
    /// Of the decided orders, those without tickets.
    pub refusal_rate: Option<f64>,
    /// Of the requests, those answered with a 5xx.
    pub failure_rate: Option<f64>,
}

/// Nothing where nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Percentiles {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

/// Whether the cohorts differ in one measure by more than chance would make them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub measure: &'static str,
    pub test: &'static str,
    /// How often chance alone would make such a difference; none with too few orders.
    pub p_value: Option<f64>,
    pub is_more_than_noise: Option<bool>,
}

/// Measures what happened since a time, by the database's clock.
pub async fn measure(pool: &PgPool, since: DateTime<Utc>) -> Result<Report, RolloutError> {
    let until: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await?;
    let rows: Vec<Row> =
        sqlx::query_as(include_str!("sql/report.sql")).bind(since).bind(MAX_SAMPLES).fetch_all(pool).await?;
    let is_truncated = i64::try_from(rows.len()).is_ok_and(|rows| rows >= MAX_SAMPLES);
    let (compared, excluded): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(Row::is_compared);
    let (asynchronous, synchronous): (Vec<Row>, Vec<Row>) =
        compared.into_iter().partition(|row| row.mode == Mode::Async.as_str());
    Ok(Report {
        since,
        until,
        differences: differences(&asynchronous, &synchronous),
        cohorts: Cohorts { asynchronous: cohort(&asynchronous), synchronous: cohort(&synchronous) },
        excluded: count_by_cause(&excluded),
        is_truncated,
    })
}

#[derive(Debug, FromRow)]
struct Row {
    mode: String,
    cause: String,
    is_failed: bool,
    accept_us: i64,
    weight: f32,
    is_rejected: Option<bool>,
    decided_after_us: Option<i64>,
}

impl Row {
    fn is_compared(&self) -> bool {
        self.cause().is_none_or(Cause::is_compared)
    }

    fn cause(&self) -> Option<Cause> {
        Cause::ALL.into_iter().find(|cause| cause.as_str() == self.cause)
    }

    fn weight(&self) -> f64 {
        f64::from(self.weight)
    }

    fn accept_ms(&self) -> Option<f64> {
        (!self.is_failed).then_some(self.accept_us as f64 / 1_000.0)
    }

    fn decision_ms(&self) -> Option<f64> {
        let decided_after_us = self.decided_after_us.filter(|_| !self.is_failed)?;
        Some((self.accept_us + decided_after_us) as f64 / 1_000.0)
    }
}

fn cohort(rows: &[Row]) -> Cohort {
    // Not `sum`: that of nothing is -0.
    let weighed = |wanted: &dyn Fn(&Row) -> bool| {
        rows.iter().filter(|row| wanted(row)).fold(0.0, |weight, row| weight + row.weight())
    };
    let (all, failed) = (weighed(&|_| true), weighed(&|row| row.is_failed));
    let decided = weighed(&|row| row.is_rejected.is_some());
    let rate = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
    Cohort {
        count: all.round() as u64,
        samples: rows.len(),
        accept_latency_ms: percentiles(rows, Row::accept_ms),
        time_to_decision_ms: percentiles(rows, Row::decision_ms),
        undecided: (all - failed - decided).round() as u64,
        refusal_rate: rate(weighed(&|row| row.is_rejected == Some(true)), decided),
        failure_rate: rate(failed, all),
    }
}

fn percentiles(rows: &[Row], value: fn(&Row) -> Option<f64>) -> Percentiles {
    let weighed: Vec<(f64, f64)> = rows.iter().filter_map(|row| Some((value(row)?, row.weight()))).collect();
    let [p50, p95, p99] = statistics::quantiles(weighed, [0.50, 0.95, 0.99]);
    Percentiles { p50, p95, p99 }
}

const RANKS: &str = "Mann-Whitney U, two-sided, normal approximation with tie correction";
const PROPORTIONS: &str = "two-proportion z, two-sided, pooled";

fn differences(asynchronous: &[Row], synchronous: &[Row]) -> Vec<Difference> {
    let by_rank = |measure, value: fn(&Row) -> Option<f64>| {
        let values = |rows: &[Row]| rows.iter().filter_map(value).collect::<Vec<f64>>();
        let (left, right) = (values(asynchronous), values(synchronous));
        let p_value = enough(left.len(), right.len()).and_then(|()| statistics::mann_whitney(&left, &right));
        difference(measure, RANKS, p_value)
    };
    let by_share = |measure, value: fn(&Row) -> Option<bool>| {
        let share = |rows: &[Row]| statistics::Share::of(rows.iter().filter_map(value));
        let (left, right) = (share(asynchronous), share(synchronous));
        let p_value = enough(left.whole, right.whole).and_then(|()| statistics::two_proportions(left, right));
        difference(measure, PROPORTIONS, p_value)
    };
    vec![
        by_rank("acceptLatency", Row::accept_ms),
        by_rank("timeToDecision", Row::decision_ms),
        by_share("refusalRate", |row| row.is_rejected),
        by_share("failureRate", |row| Some(row.is_failed)),
    ]
}

fn enough(left: usize, right: usize) -> Option<()> {
    (left.min(right) >= MIN_SAMPLES).then_some(())
}

fn difference(measure: &'static str, test: &'static str, p_value: Option<f64>) -> Difference {
    Difference { measure, test, p_value, is_more_than_noise: p_value.map(|p_value| p_value < SIGNIFICANCE) }
}

fn count_by_cause(rows: &[Row]) -> BTreeMap<&'static str, u64> {
    let mut weights: BTreeMap<&'static str, f64> = BTreeMap::new();
    for row in rows {
        if let Some(cause) = row.cause() {
            *weights.entry(cause.as_str()).or_default() += row.weight();
        }
    }
    weights.into_iter().map(|(cause, weight)| (cause, weight.round() as u64)).collect()
}

impl Report {
    /// What is known of a measure's difference.
    pub fn difference(&self, measure: &str) -> Option<&Difference> {
        self.differences.iter().find(|difference| difference.measure == measure)
    }
}
