//! What `rollout` shows.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rollout::ramp::Stepped;
use rollout::report::{Cohort, Percentiles, Report};
use rollout::store::Stored;
use serde_json::json;

pub fn policy(stored: &Stored, json: bool) -> anyhow::Result<()> {
    let Stored { policy, version, changed_at, changed_by, fallback } = stored;
    if json {
        let shown = json!({
            "policy": policy, "version": version, "changedAt": changed_at, "changedBy": changed_by,
            "isFallbackActive": fallback.is_active, "fallbackReason": fallback.reason,
        });
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(());
    }
    println!("mode      {}, {} % of the users async", policy.mode, policy.effective_percent());
    for (name, mode) in &policy.groups {
        println!("group     {name}: {mode}");
    }
    println!("fallback  {}", policy.fallback.as_str());
    println!("version   {version}, {changed_at} by {changed_by}");
    if fallback.is_active {
        println!("new orders go around the broker: {}", fallback.reason.as_deref().unwrap_or("unknown"));
    }
    Ok(())
}

pub fn step(stepped: &Stepped, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(stepped)?);
        return Ok(());
    }
    match stepped {
        Stepped::Raised { from, to } => println!("{from} % -> {to} % async"),
        Stepped::Waited { at, orders } => println!("{at} %: {orders} async orders are too few to judge by"),
        Stepped::Done { at } => println!("{at} % async, and the guards hold"),
        Stepped::WentBack { from, to, because } => println!("{from} % -> {to} %, back: {because}"),
    }
    Ok(())
}

/// Passes the time between two steps, visibly.
pub async fn waiting(period: Duration, json: bool) {
    let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(period.as_secs().max(1)) };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} watching, {eta} to the next step") {
        bar.set_style(style);
    }
    let until = tokio::time::Instant::now() + period;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    while tokio::time::Instant::now() < until {
        tokio::select! {
            _ = tick.tick() => bar.inc(1),
            () = tokio::time::sleep_until(until) => {}
        }
    }
    bar.finish_and_clear();
}

pub fn report(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    println!("since {}\n", report.since);
    println!("{:<28} {:>24} {:>24}", "", "async", "sync");
    let (left, right) = (&report.cohorts.asynchronous, &report.cohorts.synchronous);
    let line = |name: &str, show: &dyn Fn(&Cohort) -> String| {
        println!("{name:<28} {:>24} {:>24}", show(left), show(right));
    };
    line("orders", &|cohort| cohort.count.to_string());
    line("undecided", &|cohort| cohort.undecided.to_string());
    line("accepted after, ms", &|cohort| percentiles(&cohort.accept_latency_ms));
    line("decided after, ms", &|cohort| percentiles(&cohort.time_to_decision_ms));
    line("refused", &|cohort| rate(cohort.refusal_rate));
    line("failed", &|cohort| rate(cohort.failure_rate));
    println!("(p50 / p95 / p99)\n");
    for difference in &report.differences {
        let verdict = match difference.is_more_than_noise {
            Some(true) => "more than noise",
            Some(false) => "no more than noise",
            None => "too little to tell",
        };
        let p_value = match difference.p_value {
            None => String::new(),
            Some(p_value) if p_value < 0.000_1 => ", p < 0.0001".to_owned(),
            Some(p_value) => format!(", p = {p_value:.4}"),
        };
        println!("{:<16} {verdict}{p_value} ({})", difference.measure, difference.test);
    }
    for (cause, count) in &report.excluded {
        println!("left out: {count} orders ({cause})");
    }
    Ok(())
}

fn percentiles(percentiles: &Percentiles) -> String {
    let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    format!("{} / {} / {}", show(percentiles.p50), show(percentiles.p95), show(percentiles.p99))
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.2} %", rate * 100.0))
}
