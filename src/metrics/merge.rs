//! Several roles' metrics as one Prometheus text.
//!
//! Every role registers every name, so the same series comes from several: counters and histograms are added up, of
//! gauges the one that is known wins over NaN (two that are known: the larger, as a lag should not be hidden).

use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
struct Family {
    help: Option<String>,
    kind: Option<String>,
    /// Series with labels, in the order they were first seen.
    order: Vec<String>,
    values: HashMap<String, f64>,
}

pub fn merge(texts: &[String]) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for text in texts {
        read(text, &mut families);
    }
    let mut merged = String::new();
    for (name, family) in families {
        if let Some(help) = &family.help {
            merged.push_str(&format!("# HELP {name} {help}\n"));
        }
        if let Some(kind) = &family.kind {
            merged.push_str(&format!("# TYPE {name} {kind}\n"));
        }
        for series in &family.order {
            merged.push_str(&format!("{series} {}\n", family.values[series]));
        }
    }
    merged
}

/// A summary's quantiles come and go like gauges.
fn only_grows(kind: &str, series: &str) -> bool {
    kind != "gauge" && !(kind == "summary" && series.contains("quantile="))
}

/// What only grows.
pub fn without_gauges(text: &str) -> String {
    let mut kind = "untyped";
    let mut kept = String::new();
    for line in text.lines() {
        if let Some((_, of_family)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind = of_family;
        }
        // What a family is for stands before its kind.
        if only_grows(kind, line) || line.starts_with("# HELP ") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Whether anything counts less than before: it does so in another process. Both texts are without gauges.
pub fn has_fallen(before: &str, now: &str) -> bool {
    let before: HashMap<&str, f64> = before.lines().filter_map(sample).collect();
    now.lines().filter_map(sample).any(|(series, value)| before.get(series).is_some_and(|before| value < *before))
}

fn read(text: &str, families: &mut BTreeMap<String, Family>) {
    // The kind may stand on a line before any sample of a histogram's `_bucket`, `_sum` and `_count`.
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            families.entry(name.to_owned()).or_default().help.get_or_insert_with(|| help.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            current = name.to_owned();
            families.entry(current.clone()).or_default().kind.get_or_insert_with(|| kind.to_owned());
        } else if let Some((series, value)) = sample(line) {
            let name = series.split('{').next().unwrap_or(series);
            let family =
                if name.starts_with(&current) && !current.is_empty() { current.clone() } else { name.to_owned() };
            add(families.entry(family).or_default(), series, value);
        }
    }
}

fn sample(line: &str) -> Option<(&str, f64)> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    Some((series, value.parse().ok()?))
}

fn add(family: &mut Family, series: &str, value: f64) {
    let only_grows = only_grows(family.kind.as_deref().unwrap_or("untyped"), series);
    match family.values.get_mut(series) {
        None => {
            family.order.push(series.to_owned());
            family.values.insert(series.to_owned(), value);
        }
        Some(known) if only_grows => *known += value,
        // f64::max prefers the number over NaN.
        Some(known) => *known = known.max(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_a_known_gauge_wins_over_an_unknown_one() {
        let serve = "# TYPE sent_total counter\nsent_total{topic=\"a\"} 0\n# TYPE lag gauge\nlag NaN\n";
        let relay = "# TYPE sent_total counter\nsent_total{topic=\"a\"} 7\n# TYPE lag gauge\nlag 3\n";
        assert_eq!(
            merge(&[serve.into(), relay.into()]),
            "# TYPE lag gauge\nlag 3\n# TYPE sent_total counter\nsent_total{topic=\"a\"} 7\n"
        );
    }

    #[test]
    fn what_nobody_knows_stays_unknown() {
        let text = "# TYPE lag gauge\nlag NaN\n".to_owned();
        assert_eq!(merge(&[text.clone(), text.clone()]), text);
    }

    #[test]
    fn of_a_peer_that_is_away_only_what_grows_is_kept() {
        let text = "# HELP lag Behind\n# TYPE lag gauge\nlag 3\n# HELP sent_total Sent\n# TYPE sent_total counter\nsent_total 7\n";
        assert_eq!(
            without_gauges(text),
            "# HELP lag Behind\n# HELP sent_total Sent\n# TYPE sent_total counter\nsent_total 7\n"
        );
    }

    #[test]
    fn of_two_quantiles_the_larger_is_shown_and_no_sum() {
        let text = "# TYPE n summary\nn{quantile=\"0.5\"} 3\nn_sum 12\nn_count 4\n".to_owned();
        assert_eq!(
            merge(&[text.clone(), text.replace(" 3", " 5")]),
            "# TYPE n summary\nn{quantile=\"0.5\"} 5\nn_sum 24\nn_count 8\n"
        );
        assert!(!has_fallen(&without_gauges(&text), &without_gauges(&text.replace(" 3", " 1"))));
    }

    #[test]
    fn the_parts_of_a_histogram_stay_together() {
        let text =
            "# TYPE t histogram\nt_bucket{le=\"1\"} 2\nt_bucket{le=\"+Inf\"} 3\nt_sum 4.5\nt_count 3\n".to_owned();
        let merged = merge(&[text.clone(), text]);
        assert_eq!(merged, "# TYPE t histogram\nt_bucket{le=\"1\"} 4\nt_bucket{le=\"+Inf\"} 6\nt_sum 9\nt_count 6\n");
    }
}
