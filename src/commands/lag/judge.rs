//! Whether a script should be content.

use watch::LagReport;

/// What is further behind than so many seconds, or not known, each in a line. Missing messages may not be counted where it was
/// configured so.
pub fn too_far_behind(report: &LagReport, max_seconds: f64, is_counting: bool) -> Vec<String> {
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
    match report.missing.messages {
        Some(0) => {}
        Some(missing) => reasons.push(format!("{missing} messages are missing")),
        None if is_counting => reasons.push("how many messages are missing is not known".to_owned()),
        None => {}
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
        let reasons = too_far_behind(&report(), 3_600.0, true);
        assert_eq!(
            reasons,
            ["how far ticket-consumer-group-stock of stock-lock is behind is not known", "1 messages are missing"]
        );
    }

    #[test]
    fn missing_messages_that_nobody_counted_are_a_reason_unless_nobody_should() {
        let report = LagReport { missing: watch::missing::Missing::default(), ..report() };
        let unknown = "how many messages are missing is not known".to_owned();
        assert!(too_far_behind(&report, 3_600.0, true).contains(&unknown));
        assert!(!too_far_behind(&report, 3_600.0, false).contains(&unknown));
    }

    #[test]
    fn each_that_is_too_far_behind_is_named() {
        let reasons = too_far_behind(&report(), 1.0, true);
        assert_eq!(reasons.len(), 5, "outbox, two groups, a projection, a missing message: {reasons:?}");
        assert!(reasons.contains(&"the outbox is 2.0 s behind".to_owned()), "{reasons:?}");
    }
}
