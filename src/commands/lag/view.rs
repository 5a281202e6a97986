//! The lag in words and numbers, the same for the live table and the plain one.

use projections::critical_time::CriticalTime;
use watch::LagReport;
use watch::lag::ConsumerReport;

/// What nobody knows. Never 0.
pub const UNKNOWN: &str = "unknown";

/// A report as it is shown.
#[derive(Debug)]
pub struct Shown {
    pub outbox: String,
    pub relay: String,
    /// Those with something to send.
    pub pending_topics: Vec<String>,
    pub consumers: Vec<ConsumerRow>,
    pub critical_time: String,
    pub missing: String,
    pub verification: String,
}

/// A consumer group's part of a topic.
#[derive(Debug)]
pub struct ConsumerRow {
    pub group: String,
    pub topic: &'static str,
    pub messages: String,
    pub behind: String,
    pub up: &'static str,
    pub applied_per_second: String,
    pub dead_letters: String,
    pub health: Health,
}

/// What wants to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Good,
    /// It works, and is behind.
    Behind,
    /// Nobody works, something was given up, or nobody knows.
    Bad,
}

impl Shown {
    pub fn of(report: &LagReport) -> Self {
        Self {
            outbox: outbox(report),
            relay: relay(report),
            pending_topics: pending_topics(report),
            consumers: report.consumers.iter().map(ConsumerRow::of).collect(),
            critical_time: format!(
                "placed to visible: {}; to confirmed: {}",
                percentiles(report.order_visible),
                percentiles(report.order_confirmed)
            ),
            missing: missing(report),
            verification: verification(report),
        }
    }
}

impl ConsumerRow {
    fn of(report: &ConsumerReport) -> Self {
        Self {
            group: report.group.clone(),
            topic: report.topic.name(),
            messages: number(report.lag_messages),
            behind: duration(report.lag_ms),
            up: if report.is_up { "up" } else { "down" },
            applied_per_second: format!("{:.1}", report.applied_per_second),
            dead_letters: report.dead_letters.to_string(),
            health: match report {
                ConsumerReport { lag_messages: None, .. } | ConsumerReport { is_up: false, .. } => Health::Bad,
                ConsumerReport { dead_letters: 1.., .. } => Health::Bad,
                ConsumerReport { lag_messages: Some(0), .. } => Health::Good,
                _ => Health::Behind,
            },
        }
    }
}

fn outbox(report: &LagReport) -> String {
    let lag = &report.outbox;
    let oldest = match lag.oldest_unsent_age_ms {
        Some(age_ms) => format!(", oldest {}", duration(Some(age_ms))),
        None => String::new(),
    };
    format!("outbox: {} pending{oldest}, {} parked; head {}", lag.pending_messages, lag.parked_messages, lag.head)
}

fn relay(report: &LagReport) -> String {
    let lag = &report.outbox;
    format!(
        "relay: {}; sent/s {}, in flight {}, circuit {}",
        lag.lease_owner.as_deref().unwrap_or("none active"),
        rate(lag.sent_per_second),
        number(lag.in_flight_messages),
        lag.circuit.map_or(UNKNOWN, |circuit| circuit.as_str())
    )
}

fn pending_topics(report: &LagReport) -> Vec<String> {
    let pending = report.outbox.topics.iter().filter(|topic| topic.pending_messages > 0);
    let text = |topic: &outbox_relay::lag::TopicLag| {
        let lanes: Vec<String> = topic
            .lanes
            .iter()
            .filter(|lane| lane.pending_messages > 0)
            .map(|lane| format!("q{}: {}", lane.queue, lane.pending_messages))
            .collect();
        let age = duration(topic.oldest_unsent_age_ms);
        format!("{}: {} pending, oldest {age} ({})", topic.topic, topic.pending_messages, lanes.join(", "))
    };
    pending.map(text).collect()
}

fn percentiles(time: CriticalTime) -> String {
    let CriticalTime { orders, p50_ms, p95_ms, p99_ms } = time;
    if orders == 0 {
        return "no orders lately".to_owned();
    }
    let ms = |value: Option<f64>| duration(value.map(|value| value.round() as i64));
    format!("p50 {}, p95 {}, p99 {} of {orders} orders", ms(p50_ms), ms(p95_ms), ms(p99_ms))
}

fn missing(report: &LagReport) -> String {
    let missing = &report.missing;
    match missing.messages {
        None => "missing messages: not counted yet".to_owned(),
        Some(messages) => format!("missing messages: {messages}, counted up to event {}", missing.checked_position),
    }
}

fn verification(report: &LagReport) -> String {
    let Some(check) = &report.verification else { return "invariants: not checked yet".to_owned() };
    let when = check.checked_at.format("%Y-%m-%d %H:%M:%S UTC");
    let found = match check.violations {
        0 => "hold".to_owned(),
        violations => format!("{violations} violations"),
    };
    format!("invariants: {} {found}, by {} at {when}", check.invariants.join(" "), check.made_by)
}

/// A count, or that it is not known.
pub fn number(value: Option<i64>) -> String {
    value.map_or(UNKNOWN.to_owned(), |value| value.to_string())
}

/// A rate, or that it is not known.
pub fn rate(value: Option<f64>) -> String {
    value.map_or(UNKNOWN.to_owned(), |value| format!("{value:.1}"))
}

/// A time, in the unit that suits it.
pub fn duration(milliseconds: Option<i64>) -> String {
    match milliseconds {
        None => UNKNOWN.to_owned(),
        Some(0) => "0 s".to_owned(),
        Some(ms @ ..1_000) => format!("{ms} ms"),
        Some(ms @ ..120_000) => format!("{:.1} s", ms as f64 / 1_000.0),
        Some(ms @ ..7_200_000) => format!("{} min", ms / 60_000),
        Some(ms) => format!("{:.1} h", ms as f64 / 3_600_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_a_unit_that_suits_it_and_unknown_is_no_zero() {
        let told = [None, Some(0), Some(7), Some(1_500), Some(119_999), Some(600_000), Some(9_000_000)].map(duration);
        assert_eq!(told, ["unknown", "0 s", "7 ms", "1.5 s", "120.0 s", "10 min", "2.5 h"]);
        assert_eq!((number(None), rate(None)), ("unknown".to_owned(), "unknown".to_owned()));
    }
}
