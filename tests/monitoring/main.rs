//! Prometheus rules, Grafana dashboard and runbook: that they are well-formed, agree with each other, and are true of a
//! running ledger, as a real Prometheus sees it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod dashboard;
mod live;
mod prometheus;
mod rules;
mod runbook;

use std::path::PathBuf;

fn ops(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("ops").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(ops(path)).unwrap_or_else(|error| panic!("ops/{path}: {error}"))
}

/// The names of our own metrics in an expression, without what a histogram or a counter of its parts adds.
fn metrics_in(expression: &str) -> Vec<String> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = expression.split(|character: char| !is_name(character) && character != ':');
    words.filter(|word| word.starts_with("ledger_")).map(family).collect()
}

fn family(name: &str) -> String {
    let of_histogram = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
    of_histogram.unwrap_or(name).to_owned()
}
