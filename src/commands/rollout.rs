//! `order-ledger rollout`: which orders go through the broker. Works on the database, so it needs no running API.

mod print;

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use domain::Mode;
use rollout::ramp::Stepped;
use rollout::{Fallback, Guard, Ramp, RolloutError, RolloutPolicy, report, store};
use sqlx::PgPool;

use super::{pool, runtime};
use crate::config::Config;
use crate::exit::{Failure, Outcome};

/// How the record of actions names who changed something from here.
const ACTOR: &str = "command-line";

#[derive(Debug, Args)]
pub struct RolloutArgs {
    #[command(subcommand)]
    run: Run,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Run {
    /// Show the policy.
    Get,
    /// Change the policy: what is not named stays as it is. In force everywhere within a second.
    Set(SetArgs),
    /// Raise the percentage in steps while the guards hold; go back to the last good step when they don't.
    Ramp(RampArgs),
    /// Compare async with sync.
    Report {
        /// How far back: 90s, 15m, 2h, 1d.
        #[arg(long, default_value = "1h", value_parser = parse_duration)]
        since: Duration,
    },
}

#[derive(Debug, Args)]
struct SetArgs {
    /// async or sync.
    #[arg(long, value_parser = parse_mode)]
    mode: Option<Mode>,
    /// Of the users, 0 to 100; the rest is sync.
    #[arg(long, value_name = "PERCENT")]
    async_percent: Option<u8>,
    /// Mode of a group, as NAME=async or NAME=sync; may be repeated.
    #[arg(long = "group", value_name = "NAME=MODE", value_parser = parse_group)]
    groups: Vec<(String, Mode)>,
    /// Treat a group like everybody again; may be repeated.
    #[arg(long = "remove-group", value_name = "NAME")]
    removed_groups: Vec<String>,
    /// What new orders do while the broker is away: sync or none.
    #[arg(long, value_parser = parse_fallback)]
    fallback: Option<Fallback>,
}

#[derive(Debug, Args)]
struct RampArgs {
    /// The percentage to reach.
    #[arg(long, default_value_t = 100)]
    to: u8,
    /// By how much each step raises it.
    #[arg(long, default_value_t = 10, value_name = "PERCENT")]
    step: u8,
    /// How long each step is watched before the next: 60s, 5m.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    every: Duration,
    /// A bound that must hold, as NAME=VALUE; may be repeated. failure-rate (0.01), accept-p95-ms (500), slowdown (2, against
    /// sync), outbox-age-seconds (10), min-orders (0: a step with none is good).
    #[arg(long = "guard", value_name = "NAME=VALUE", value_parser = parse_guard)]
    guards: Vec<(GuardName, f64)>,
}

#[derive(Debug, Clone, Copy)]
enum GuardName {
    FailureRate,
    AcceptP95Ms,
    Slowdown,
    OutboxAgeSeconds,
    MinOrders,
}

pub fn run(config: Config, args: RolloutArgs) -> Outcome {
    let json = args.json;
    runtime()?.block_on(async {
        let pool = pool(&config).await?;
        match args.run {
            Run::Get => Ok(print::policy(&store::load(&pool).await?, json)?),
            Run::Set(wanted) => set(&pool, wanted, json).await,
            Run::Ramp(wanted) => ramp(&pool, wanted, json).await,
            Run::Report { since } => {
                let since = ago(&pool, since).await?;
                Ok(print::report(&report::measure(&pool, since).await?, json)?)
            }
        }
    })
}

async fn set(pool: &PgPool, wanted: SetArgs, json: bool) -> Outcome {
    let stored = store::load(pool).await?;
    let policy = wanted.applied_to(stored.policy);
    // On the version just read, so that nobody else's change is lost.
    let stored = store::put(pool, ACTOR, &policy, Some(stored.version)).await.map_err(refused)?;
    Ok(print::policy(&stored, json)?)
}

impl SetArgs {
    fn applied_to(self, mut policy: RolloutPolicy) -> RolloutPolicy {
        policy.mode = self.mode.unwrap_or(policy.mode);
        policy.async_percent = self.async_percent.unwrap_or(policy.async_percent);
        policy.fallback = self.fallback.unwrap_or(policy.fallback);
        policy.groups.extend(self.groups);
        for name in &self.removed_groups {
            policy.groups.remove(name);
        }
        policy
    }
}

async fn ramp(pool: &PgPool, wanted: RampArgs, json: bool) -> Outcome {
    if wanted.to > 100 || !(1..=100).contains(&wanted.step) {
        return Err(Failure::Usage("--to must be 0 to 100, and --step 1 to 100".to_owned()));
    }
    let mut ramp = Ramp::new(pool.clone(), ACTOR, wanted.to, wanted.step, guard(&wanted.guards));
    loop {
        let stepped = ramp.step().await.map_err(refused)?;
        print::step(&stepped, json)?;
        match stepped {
            Stepped::Done { .. } => return Ok(()),
            Stepped::WentBack { .. } => return Err(Failure::Told),
            Stepped::Raised { .. } | Stepped::Waited { .. } => {}
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {
                eprintln!("stopped; the policy stays as the last step left it");
                return Err(Failure::Told);
            }
            () = print::waiting(wanted.every, json) => {}
        }
    }
}

fn guard(given: &[(GuardName, f64)]) -> Guard {
    let mut guard = Guard::default();
    for (name, value) in given {
        match name {
            GuardName::FailureRate => guard.max_failure_rate = *value,
            GuardName::AcceptP95Ms => guard.max_accept_p95_ms = *value,
            GuardName::Slowdown => guard.max_slowdown = *value,
            GuardName::OutboxAgeSeconds => guard.max_outbox_age_seconds = *value,
            // Not negative, and what is beyond 2⁶⁴ is as good as 2⁶⁴.
            GuardName::MinOrders => guard.min_orders = *value as u64,
        }
    }
    guard
}

async fn ago(pool: &PgPool, period: Duration) -> anyhow::Result<DateTime<Utc>> {
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await?;
    let period = TimeDelta::from_std(period).context("--since is too long")?;
    now.checked_sub_signed(period).context("--since is too long")
}

fn refused(error: RolloutError) -> Failure {
    match error {
        RolloutError::Invalid(invalid) => Failure::Usage(invalid.to_string()),
        error => error.into(),
    }
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    Mode::parse(text).ok_or_else(|| "one of async, sync".to_owned())
}

fn parse_fallback(text: &str) -> Result<Fallback, String> {
    Fallback::parse(text).ok_or_else(|| "one of sync, none".to_owned())
}

fn parse_group(text: &str) -> Result<(String, Mode), String> {
    let (name, mode) = text.split_once('=').ok_or("NAME=async or NAME=sync")?;
    Ok((name.to_owned(), parse_mode(mode)?))
}

fn parse_guard(text: &str) -> Result<(GuardName, f64), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE")?;
    let name = match name {
        "failure-rate" => GuardName::FailureRate,
        "accept-p95-ms" => GuardName::AcceptP95Ms,
        "slowdown" => GuardName::Slowdown,
        "outbox-age-seconds" => GuardName::OutboxAgeSeconds,
        "min-orders" => GuardName::MinOrders,
        _ => return Err("one of failure-rate, accept-p95-ms, slowdown, outbox-age-seconds, min-orders".to_owned()),
    };
    let value: f64 = value.parse().map_err(|_| "the value must be a number".to_owned())?;
    if value.is_finite() && value >= 0.0 { Ok((name, value)) } else { Err("the value must not be negative".to_owned()) }
}

/// `500ms`, `90s`, `15m`, `2h`, `1d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time like 500ms, 90s, 15m, 2h or 1d".to_owned();
    let digits = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_ms).filter(|period_ms| *period_ms > 0).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn times_are_written_with_their_unit() {
        assert_eq!(parse_duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(parse_duration("1d").unwrap(), Duration::from_secs(86_400));
        for wrong in ["", "90", "s", "0s", "1w", "-1s", "99999999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let before = RolloutPolicy { async_percent: 30, ..RolloutPolicy::default() };
        let wanted = SetArgs {
            mode: None,
            async_percent: None,
            groups: vec![parse_group("beta=sync").unwrap()],
            removed_groups: vec![],
            fallback: Some(Fallback::None),
        };
        let after = wanted.applied_to(before);
        assert_eq!((after.mode, after.async_percent, after.fallback), (Mode::Async, 30, Fallback::None));
        assert_eq!(after.groups["beta"], Mode::Sync);
    }

    #[test]
    fn a_guard_is_a_known_name_and_a_number() {
        assert!(parse_guard("failure-rate=0.05").is_ok());
        for wrong in ["failure-rate", "speed=1", "slowdown=-1", "slowdown=NaN", "slowdown="] {
            assert!(parse_guard(wrong).is_err(), "{wrong}");
        }
    }
}
