//! `ops/prometheus`: read here, judged by promtool.

use std::collections::BTreeSet;
use std::process::Command;

use yaml_rust2::{Yaml, YamlLoader};

use crate::prometheus::is_installed;
use crate::{ops, runbook, text};

/// One rule of the file.
pub struct Rule {
    /// The alert's or the record's name.
    pub name: String,
    pub expression: String,
    pub is_alert: bool,
    pub severity: Option<String>,
    pub annotations: Vec<(String, String)>,
}

pub fn rules() -> Vec<Rule> {
    let document = YamlLoader::load_from_str(&text("prometheus/rules.yml")).unwrap().remove(0);
    let groups = document["groups"].as_vec().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_vec().unwrap().iter().map(rule)).collect()
}

pub fn alerts() -> impl Iterator<Item = Rule> {
    rules().into_iter().filter(|rule| rule.is_alert)
}

fn rule(node: &Yaml) -> Rule {
    let string = |node: &Yaml| node.as_str().map(str::to_owned);
    let annotations = node["annotations"].as_hash().into_iter().flatten();
    Rule {
        name: string(&node["alert"]).or_else(|| string(&node["record"])).unwrap(),
        expression: string(&node["expr"]).unwrap(),
        is_alert: !node["alert"].is_badvalue(),
        severity: string(&node["labels"]["severity"]),
        annotations: annotations.map(|(name, text)| (string(name).unwrap(), string(text).unwrap())).collect(),
    }
}

#[test]
fn promtool_finds_nothing_wrong_and_every_rule_does_what_its_tests_say() {
    if !is_installed("promtool") {
        return;
    }
    for arguments in [
        &["check", "config", "prometheus.yml"][..],
        &["check", "rules", "rules.yml"],
        &["test", "rules", "rules_test.yml", "slo_test.yml"],
    ] {
        let output = Command::new("promtool").args(arguments).current_dir(ops("prometheus")).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "promtool {arguments:?}:\n{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn the_three_alerts_of_the_seed_document_are_there() {
    let wanted = [
        ("MessageBacklog", "> 1000", "warning"),
        ("ConsumeFailureRate", "> 0.05", "critical"),
        ("BrokerDown", "== 0", "critical"),
    ];
    for (name, condition, severity) in wanted {
        let alert = alerts().find(|alert| alert.name == name).unwrap_or_else(|| panic!("there is no {name}"));
        assert!(alert.expression.contains(condition), "{name}: {}", alert.expression);
        assert_eq!(alert.severity.as_deref(), Some(severity), "{name}");
    }
}

#[test]
fn every_alert_says_how_bad_it_is_what_it_saw_and_where_to_read_on() {
    let sections: BTreeSet<String> = runbook::sections().into_iter().map(|section| section.name).collect();
    let mut used = BTreeSet::new();
    for alert in alerts() {
        let annotation = |name: &str| {
            let found = alert.annotations.iter().find(|(of, _)| of == name).map(|(_, text)| text.clone());
            found.filter(|text| !text.is_empty()).unwrap_or_else(|| panic!("{} has no {name}", alert.name))
        };
        assert!(["warning", "critical"].contains(&alert.severity.as_deref().unwrap()), "{}", alert.name);
        annotation("summary");
        let description = annotation("description");
        assert!(
            description.contains("{{ $value") || description.contains("{{ $labels"),
            "{}: {description}",
            alert.name
        );
        assert_eq!(annotation("runbook_url"), format!("ops/RUNBOOK.md#{}", alert.name.to_lowercase()));
        assert!(sections.contains(&alert.name), "ops/RUNBOOK.md has no page for {}", alert.name);
        used.insert(alert.name);
    }
    assert_eq!(sections, used, "pages of the runbook, and alerts");
}

#[test]
fn every_alert_is_tested_both_ways() {
    let tests = ["prometheus/rules_test.yml", "prometheus/slo_test.yml"]
        .map(|path| YamlLoader::load_from_str(&text(path)).unwrap().remove(0));
    let checks: Vec<&Yaml> = tests
        .iter()
        .flat_map(|document| document["tests"].as_vec().unwrap())
        .flat_map(|test| test["alert_rule_test"].as_vec().into_iter().flatten())
        .collect();
    for alert in alerts() {
        let of_alert = || checks.iter().filter(|check| check["alertname"].as_str() == Some(&alert.name));
        assert!(of_alert().any(|check| !check["exp_alerts"].is_badvalue()), "{} never fires", alert.name);
        assert!(of_alert().any(|check| check["exp_alerts"].is_badvalue()), "{} is never silent", alert.name);
    }
}
