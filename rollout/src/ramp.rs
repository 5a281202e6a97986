//! Raises the percentage in steps while the guards hold, and goes back to the last good step when they don't.

use chrono::{DateTime, Utc};
use domain::Mode;
use outbox_relay::health;
use serde::Serialize;
use sqlx::PgPool;

use crate::error::RolloutError;
use crate::policy::RolloutPolicy;
use crate::report::{self, Report};
use crate::store;

/// What must hold for the async cohort since the last step.
#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    /// Share of async requests answered with a 5xx; and if it is above that of the sync cohort by more than noise, it is too
    /// high whatever this says.
    pub max_failure_rate: f64,
    pub max_accept_p95_ms: f64,
    /// Times the sync cohort's; only where the difference is more than noise.
    pub max_slowdown: f64,
    pub max_outbox_age_seconds: f64,
    /// With fewer async orders since the last step it is left as it is until there are more.
    pub min_orders: u64,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            max_failure_rate: 0.01,
            max_accept_p95_ms: 500.0,
            max_slowdown: 2.0,
            max_outbox_age_seconds: 10.0,
            min_orders: 0,
        }
    }
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "step")]
pub enum Stepped {
    Raised {
        from: u8,
        to: u8,
    },
    /// Too few orders to judge by.
    Waited {
        at: u8,
        orders: u64,
    },
    /// The guards held at the last step too.
    Done {
        at: u8,
    },
    /// A guard did not hold.
    WentBack {
        from: u8,
        to: u8,
        because: String,
    },
}

/// A rise of the percentage, under way.
pub struct Ramp {
    pool: PgPool,
    actor: String,
    to: u8,
    step_percent: u8,
    guard: Guard,
    /// The step that is judged next; none before the first.
    current: Option<Current>,
}

struct Current {
    percent: u8,
    since: DateTime<Utc>,
    version: i64,
    /// What held before.
    good: RolloutPolicy,
}

impl Ramp {
    /// A ramp that has not begun.
    pub fn new(pool: PgPool, actor: impl Into<String>, to: u8, step_percent: u8, guard: Guard) -> Self {
        Self { pool, actor: actor.into(), to: to.min(100), step_percent: step_percent.max(1), guard, current: None }
    }

    /// Judges what happened since the last step, and takes the next one. A policy that somebody else changed meanwhile is
    /// theirs: [`RolloutError::Changed`].
    pub async fn step(&mut self) -> Result<Stepped, RolloutError> {
        let stored = store::load(&self.pool).await?;
        let Some(current) = &self.current else {
            return self.raise(stored.policy, stored.version).await;
        };
        if current.version != stored.version {
            return Err(RolloutError::Changed { expected: current.version, actual: stored.version });
        }
        if stored.fallback.is_active {
            let reason = stored.fallback.reason.unwrap_or_default();
            return self.go_back(format!("new orders go around the broker: {reason}")).await;
        }
        let report = report::measure(&self.pool, current.since).await?;
        let broker = health::observe(&self.pool).await?;
        let outbox_age_seconds = broker.oldest_unsent_age_ms.unwrap_or(0) as f64 / 1_000.0;
        if let Some(because) = self.guard.broken_by(&report, outbox_age_seconds) {
            return self.go_back(because).await;
        }
        let orders = report.cohorts.asynchronous.count;
        if orders < self.guard.min_orders {
            return Ok(Stepped::Waited { at: current.percent, orders });
        }
        self.raise(stored.policy, stored.version).await
    }

    async fn raise(&mut self, good: RolloutPolicy, version: i64) -> Result<Stepped, RolloutError> {
        let from = good.effective_percent();
        if from >= self.to {
            return Ok(Stepped::Done { at: from });
        }
        let percent = from.saturating_add(self.step_percent).min(self.to);
        let raised = RolloutPolicy { mode: Mode::Async, async_percent: percent, ..good.clone() };
        let stored = store::put(&self.pool, &self.actor, &raised, Some(version)).await?;
        self.current = Some(Current { percent, since: stored.changed_at, version: stored.version, good });
        Ok(Stepped::Raised { from, to: percent })
    }

    async fn go_back(&mut self, because: String) -> Result<Stepped, RolloutError> {
        let Some(Current { percent, version, good, .. }) = self.current.take() else {
            return Err(RolloutError::Unreadable("a ramp goes back only from a step it took".to_owned()));
        };
        store::put(&self.pool, &self.actor, &good, Some(version)).await?;
        Ok(Stepped::WentBack { from: percent, to: good.effective_percent(), because })
    }
}

impl Guard {
    /// Why the last step was not good; none if it was.
    pub fn broken_by(&self, report: &Report, outbox_age_seconds: f64) -> Option<String> {
        if outbox_age_seconds > self.max_outbox_age_seconds {
            let limit = self.max_outbox_age_seconds;
            return Some(format!("the outbox is {outbox_age_seconds:.1} s old, more than {limit} s"));
        }
        self.failing(report).or_else(|| self.slow(report))
    }

    fn failing(&self, report: &Report) -> Option<String> {
        let rate = report.cohorts.asynchronous.failure_rate?;
        if rate > self.max_failure_rate {
            return Some(format!("{rate:.3} of the async requests failed, more than {}", self.max_failure_rate));
        }
        let sync = report.cohorts.synchronous.failure_rate?;
        let is_worse = rate > sync && is_more_than_noise(report, "failureRate");
        is_worse.then(|| format!("{rate:.3} of the async requests failed, and {sync:.3} of the sync ones"))
    }

    fn slow(&self, report: &Report) -> Option<String> {
        let p95 = report.cohorts.asynchronous.accept_latency_ms.p95?;
        if p95 > self.max_accept_p95_ms {
            let limit = self.max_accept_p95_ms;
            return Some(format!("async requests are answered after {p95:.1} ms (p95), later than {limit} ms"));
        }
        let sync = report.cohorts.synchronous.accept_latency_ms.p95?;
        let is_worse = p95 > sync * self.max_slowdown && is_more_than_noise(report, "acceptLatency");
        is_worse.then(|| format!("async requests are answered after {p95:.1} ms (p95), sync ones after {sync:.1} ms"))
    }
}

fn is_more_than_noise(report: &Report, measure: &str) -> bool {
    report.difference(measure).and_then(|difference| difference.is_more_than_noise) == Some(true)
}
