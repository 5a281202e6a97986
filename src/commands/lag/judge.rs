//! Whether a script should be content.

use watch::LagReport;

/// What is further behind than so many seconds, or not known, each in a line.
pub fn too_far_behind(report: &LagReport, max_seconds: f64) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut judge = |what: String, seconds: Option<f64>| match seconds {
        Some(seconds) if seconds <= max_seconds => {}
        Some(seconds) => reasons.push(format!("{what} is {seconds:.1} s behind")),
        None => reasons.push(format!("how far {what} is behind is not known")),
    };
    judge("the outbox".to_owned(), Some(report.outbox.oldest_unsent_age_ms.map_or(0.0, seconds)));
    for consumer in &report.consumers {
        let what = format!("{} of {}", consumer.group, consumer.topic);
        judge(what, consumer.lag_messages.and(consumer.lag_ms).map(seconds));
    }
    for projection in &report.projections {
        judge(format!("the projection {}", projection.name), projection.lag_seconds);
    }
    if let Some(missing) = report.missing.messages.filter(|missing| *missing > 0) {
        reasons.push(format!("{missing} messages are missing"));
    }
    reasons
}

fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::lag::samples::report;

    #[test]
    fn what_is_not_known_is_no_reason_to_be_content() {
        let reasons = too_far_behind(&report(), 3_600.0);
        assert_eq!(
            reasons,
            ["how far ticket-consumer-group-stock of stock-lock is behind is not known", "1 messages are missing"]
        );
    }

    #[test]
    fn each_that_is_too_far_behind_is_named() {
        let reasons = too_far_behind(&report(), 1.0);
        assert_eq!(reasons.len(), 5, "outbox, two groups, a projection, a missing message: {reasons:?}");
        assert!(reasons.contains(&"the outbox is 2.0 s behind".to_owned()), "{reasons:?}");
    }
}
