//! `docs/seed-document.md` names files, tests, commands and configuration keys: they are there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[test]
fn every_file_and_test_it_names_is_there() {
    let mut checked = 0;
    for span in spans() {
        let (path, test) = span.split_once("::").map_or((span.as_str(), None), |(path, test)| (path, Some(test)));
        if !is_path(path) {
            continue;
        }
        assert!(root().join(path).exists(), "there is no {path}");
        if let Some(test) = test {
            let text = std::fs::read_to_string(root().join(path)).unwrap();
            assert!(text.contains(&format!("fn {test}(")), "there is no {test} in {path}");
        }
        checked += 1;
    }
    assert!(checked > 100, "only {checked} files were named");
}

#[test]
fn every_command_it_names_is_there() {
    let help = order_ledger(&["--help"]);
    let commands: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    for span in spans() {
        // Variables may stand before it.
        let Some((_, rest)) = span.split_once("order-ledger ") else { continue };
        let command = rest.split_whitespace().next().unwrap();
        assert!(commands.contains(&command), "`{span}`: order-ledger has no command {command}");
    }
}

#[test]
fn every_configuration_key_it_names_is_there() {
    let config: Value = serde_json::from_str(&order_ledger(&["config", "--json"])).unwrap();
    let is_key = |span: &str| {
        let allowed = |character: char| character.is_ascii_lowercase() || "._".contains(character);
        let first = span.split('.').next().unwrap_or_default();
        span.contains('.') && span.chars().all(allowed) && config[first].is_object()
    };
    for key in spans().iter().filter(|span| is_key(span)) {
        let pointer = format!("/{}", key.replace('.', "/"));
        assert!(config.pointer(&pointer).is_some(), "there is no key {key}");
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backticks, outside of blocks.
fn spans() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/seed-document.md")).unwrap();
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Begins with a directory of ours.
fn is_path(span: &str) -> bool {
    let first = span.split('/').next().unwrap_or_default();
    span.contains('/') && !span.contains(' ') && !first.is_empty() && Path::new(&root().join(first)).is_dir()
}

fn order_ledger(arguments: &[&str]) -> String {
    let output = Command::new(support::binary()).args(arguments).output().unwrap();
    assert!(output.status.success(), "order-ledger {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
