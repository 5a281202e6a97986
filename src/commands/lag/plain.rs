//! The lag as text, for a pipe or one look.

use watch::LagReport;

use super::view::{Shown, duration, number};

pub fn table(report: &LagReport) -> String {
    let shown = Shown::of(report);
    let mut table = format!("{}\n{}\n", shown.outbox, shown.relay);
    for topic in &shown.pending_topics {
        table.push_str(&format!("  {topic}\n"));
    }
    let (group, topic) = ("consumer group", "topic");
    table.push_str(&format!(
        "\n{group:<46} {topic:<20} {:>10} {:>9} {:>7} {:>9} {:>5}\n",
        "messages", "behind", "up", "applied/s", "dead"
    ));
    for row in &shown.consumers {
        table.push_str(&format!(
            "{:<46} {:<20} {:>10} {:>9} {:>7} {:>9} {:>5}\n",
            row.group, row.topic, row.messages, row.behind, row.up, row.applied_per_second, row.dead_letters
        ));
    }
    table.push_str(&format!("\n{:<46} {:>10} {:>9}\n", "projection", "events", "behind"));
    for lag in &report.projections {
        let behind = duration(lag.lag_seconds.map(|seconds| (seconds * 1_000.0) as i64));
        table.push_str(&format!("{:<46} {:>10} {behind:>9}\n", lag.name, number(Some(lag.lag_events()))));
    }
    table.push_str(&format!("\n{}\n{}\n{}\n", shown.critical_time, shown.missing, shown.verification));
    for message in &report.missing.found {
        let watch::missing::MissingMessage { group, topic, message_id, position } = message;
        table.push_str(&format!("  {message_id} of event {position}, sent to {topic}: no trace with {group}\n"));
    }
    table
}
