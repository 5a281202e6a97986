//! `ops/grafana/dashboard.json`: what it asks for, and that it is readable.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{rules, text};

/// What Grafana makes of `$__rate_interval`, over what the test did.
const RATE_INTERVAL: &str = "5m";
const ROWS: [&str; 13] = [
    "Overview",
    "Produce",
    "Consume",
    "Backlog",
    "Consumer health",
    "Broker: processor, memory, disk, network",
    "Outbox and relay",
    "Projections",
    "Sagas",
    "Dead letters",
    "HTTP and commands",
    "Rollout",
    "Objectives",
];

/// A query of a panel, or of the annotations.
pub struct Query {
    pub panel: String,
    /// As Prometheus gets it.
    pub expression: String,
}

pub fn queries() -> Vec<Query> {
    let dashboard = dashboard();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    let annotations = annotations.map(|annotation| (&annotation["name"], &annotation["expr"]));
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(move |target| (&panel["title"], &target["expr"]))
    });
    let query = |(panel, expression): (&Value, &Value)| Query {
        panel: panel.as_str().unwrap().to_owned(),
        expression: expression.as_str().unwrap().replace("$__rate_interval", RATE_INTERVAL),
    };
    targets.chain(annotations).map(query).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&text("grafana/dashboard.json")).unwrap()
}

fn panels() -> Vec<Value> {
    let panels = dashboard()["panels"].as_array().unwrap().clone();
    panels.into_iter().filter(|panel| panel["type"] != "row").collect()
}

#[test]
fn every_row_is_there_and_has_panels() {
    let all = dashboard()["panels"].as_array().unwrap().clone();
    let is_row = |panel: &Value| panel["type"] == "row";
    let rows: Vec<&str> = all.iter().filter(|panel| is_row(panel)).map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(rows, ROWS);
    for pair in all.windows(2) {
        assert!(!(is_row(&pair[0]) && is_row(&pair[1])), "{} is empty", pair[0]["title"]);
    }
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_asks_the_chosen_source() {
    for panel in panels() {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{title} has no description");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && targets.iter().all(|target| target["datasource"]["uid"] == "${datasource}"));
        assert!(targets.iter().all(|target| target["legendFormat"].as_str().is_some_and(|text| !text.is_empty())));
    }
    let variables = dashboard()["templating"]["list"].clone();
    assert_eq!(variables[0]["type"], "datasource", "{variables}");
}

#[test]
fn panels_have_an_id_each_and_don_t_cover_each_other() {
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in dashboard()["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_i64().unwrap()), "{} has the id of another", panel["title"]);
        let at = |name: &str| panel["gridPos"][name].as_i64().unwrap();
        for (x, y) in (0..at("w")).flat_map(|x| (0..at("h")).map(move |y| (x, y))) {
            assert!(at("x") + x < 24 && cells.insert((at("x") + x, at("y") + y)), "{} is covered", panel["title"]);
        }
    }
}

#[test]
fn every_recorded_series_a_panel_asks_for_is_recorded() {
    let records: BTreeSet<String> = rules::rules().into_iter().map(|rule| rule.name).collect();
    for query in queries() {
        let is_name = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
        let words = query.expression.split(|character: char| !is_name(character));
        for name in words.filter(|word| word.starts_with("ledger:")) {
            assert!(records.contains(name), "{} asks for {name}", query.panel);
        }
    }
}
