//! The last minutes as lines: what the history has, and then what is measured while somebody watches.

use std::collections::{BTreeMap, VecDeque};

use watch::LagReport;
use watch::history::Sample;

/// Moments kept; a screen is not wider.
const MAX_POINTS: usize = 240;

/// The values of one line, oldest first; a moment that is not known has none.
pub type Line = VecDeque<Option<f64>>;

/// All lines.
#[derive(Debug, Default)]
pub struct Series {
    pub outbox_pending: Line,
    pub outbox_age_seconds: Line,
    pub sent_per_second: Line,
    pub critical_time_p99_ms: Line,
    /// Messages by group.
    pub groups: BTreeMap<String, Line>,
}

impl Series {
    /// What was before: a sample may stand for several seconds.
    pub fn of_past(samples: &[Sample]) -> Self {
        let mut series = Self::default();
        for sample in samples {
            push(&mut series.outbox_pending, Some(sample.outbox_pending as f64));
            push(&mut series.outbox_age_seconds, Some(sample.outbox_age_seconds));
            push(&mut series.sent_per_second, sample.sent_per_second);
            push(&mut series.critical_time_p99_ms, sample.critical_time_p99_ms);
            for (group, messages) in sample.group_lag_messages.0.iter() {
                push(series.groups.entry(group.clone()).or_default(), messages.map(|messages| messages as f64));
            }
        }
        series
    }

    /// One more moment.
    pub fn add(&mut self, report: &LagReport) {
        push(&mut self.outbox_pending, Some(report.outbox.pending_messages as f64));
        let age_ms = report.outbox.oldest_unsent_age_ms.unwrap_or(0);
        push(&mut self.outbox_age_seconds, Some(age_ms as f64 / 1_000.0));
        push(&mut self.sent_per_second, report.outbox.sent_per_second);
        push(&mut self.critical_time_p99_ms, report.order_visible.p99_ms);
        let mut groups: BTreeMap<&str, Option<i64>> = BTreeMap::new();
        for consumer in &report.consumers {
            let known = groups.entry(&consumer.group).or_insert(Some(0));
            *known = known.zip(consumer.lag_messages).map(|(known, more)| known + more);
        }
        for (group, messages) in groups {
            push(self.groups.entry(group.to_owned()).or_default(), messages.map(|messages| messages as f64));
        }
    }
}

fn push(line: &mut Line, value: Option<f64>) {
    if line.len() == MAX_POINTS {
        line.pop_front();
    }
    line.push_back(value);
}

/// The last values of a line in so many characters: as high as they are against the highest shown, `·` where unknown.
pub fn sparkline(line: &Line, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown: Vec<Option<f64>> = line.iter().skip(line.len().saturating_sub(width)).copied().collect();
    let highest = shown.iter().flatten().fold(0.0, |highest, value| f64::max(highest, *value));
    let bar = |value: &Option<f64>| match value {
        None => '·',
        Some(value) if highest <= 0.0 || *value <= 0.0 => BARS[0],
        // Anything above nothing is seen to be more than nothing.
        Some(value) => BARS[((value / highest * 7.0).ceil() as usize).clamp(1, 7)],
    };
    shown.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_its_last_values_and_gaps_as_gaps() {
        let line: Line = [Some(9.0), Some(0.0), None, Some(0.1), Some(8.0)].into();
        assert_eq!(sparkline(&line, 4), "▁·▂█");
        assert_eq!(sparkline(&[Some(0.0), Some(0.0)].into(), 4), "▁▁");
        assert_eq!(sparkline(&Line::new(), 4), "");
    }

    #[test]
    fn a_line_remembers_so_much_and_no_more() {
        let mut line = Line::new();
        for value in 0..1_000 {
            push(&mut line, Some(f64::from(value)));
        }
        assert_eq!((line.len(), line.back()), (MAX_POINTS, Some(&Some(999.0))));
    }
}
