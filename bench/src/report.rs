//! What a run found, as a table for people and as JSON for scripts.

use serde::Serialize;

use crate::load::Sample;

/// One contestant: the median of its rounds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub name: String,
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Of the baseline it is held against, by name.
    pub against: Option<String>,
    pub ratio: Option<f64>,
    pub target_ratio: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub title: String,
    pub rows: Vec<Row>,
    pub notes: Vec<String>,
}

impl Report {
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new(), notes: Vec::new() }
    }

    pub fn add(&mut self, name: &str, rounds: &[Sample]) {
        let mut rounds = rounds.to_vec();
        rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        let Some(median) = rounds.get(rounds.len() / 2) else { return };
        self.rows.push(Row {
            name: name.to_owned(),
            per_second: median.per_second,
            p50_ms: median.p50_ms,
            p99_ms: median.p99_ms,
            against: None,
            ratio: None,
            target_ratio: None,
        });
    }

    /// Holds one row against another; says nothing when either is missing.
    pub fn compare(&mut self, name: &str, against: &str, target_ratio: f64) {
        let rate = |rows: &[Row], name: &str| rows.iter().find(|row| row.name == name).map(|row| row.per_second);
        let Some(base) = rate(&self.rows, against).filter(|base| *base > 0.0) else { return };
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            row.against = Some(against.to_owned());
            row.ratio = Some(row.per_second / base);
            row.target_ratio = Some(target_ratio);
        }
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub fn table(&self) -> String {
        let mut table =
            format!("{}\n\n{:<44} {:>12} {:>10} {:>10}\n", self.title, "", "per second", "p50 ms", "p99 ms");
        for row in &self.rows {
            table.push_str(&format!(
                "{:<44} {:>12.0} {:>10.2} {:>10.2}",
                row.name, row.per_second, row.p50_ms, row.p99_ms
            ));
            if let (Some(ratio), Some(against), Some(target)) = (row.ratio, &row.against, row.target_ratio) {
                let mark = if ratio >= target { "reached" } else { "short of" };
                table.push_str(&format!("   {ratio:.2}x {against} ({mark} {target}x)"));
            }
            table.push('\n');
        }
        for note in &self.notes {
            table.push_str(&format!("\n{note}\n"));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_round_counts_and_a_shortfall_is_named() {
        let sample = |per_second| Sample { per_second, ..Sample::default() };
        let mut report = Report::new("t");
        report.add("base", &[sample(10.0), sample(1_000.0), sample(20.0)]);
        report.add("ours", &[sample(100.0)]);
        report.compare("ours", "base", 8.0);
        assert_eq!(report.rows[0].per_second, 20.0);
        assert!(report.table().contains("5.00x base (short of 8x)"), "{}", report.table());
    }
}
