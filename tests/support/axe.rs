//! axe-core, which judges whether a page can be used by those who do not see it, or use no mouse. It is no part of the
//! project: npm fetches it into a cache, and where that can't be done the check says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::browser::Browser;

const PACKAGE: &str = "axe-core@4";

/// The script that judges.
pub struct Axe {
    script: String,
    only: Option<&'static str>,
}

impl Axe {
    /// None, and said so, where npm is not there or can't fetch it.
    pub fn fetch_if_available() -> Option<Self> {
        let script = cached().or_else(|| {
            fetch();
            cached()
        });
        if script.is_none() {
            eprintln!("skipped: npm could not fetch {PACKAGE}, so nobody judges how accessible the pages are");
        }
        script.map(|script| Self { script, only: None })
    }

    /// The same, judging by one of its rules only.
    pub fn only(&self, rule: &'static str) -> Self {
        Self { script: self.script.clone(), only: Some(rule) }
    }

    /// What is seriously or critically wrong with the page that is shown.
    pub async fn findings(&self, browser: &Browser) -> Vec<String> {
        if browser.script("return typeof axe", vec![]).await != json!("object") {
            browser.script(&self.script, vec![]).await;
        }
        let run = "const done = arguments[arguments.length - 1]; \
             axe.run(document, {resultTypes: ['violations'], ...arguments[0]}) \
             .then((result) => done(result.violations), (error) => done(String(error)))";
        let rules = self.only.map_or(json!({}), |rule| json!({"runOnly": {"type": "rule", "values": [rule]}}));
        let violations = browser.page.execute_async(run, vec![rules]).await.unwrap();
        let violations = violations.as_array().unwrap_or_else(|| panic!("axe failed: {violations}"));
        violations
            .iter()
            .filter(|one| one["impact"] == "serious" || one["impact"] == "critical")
            .map(in_words)
            .collect()
    }
}

fn in_words(violation: &Value) -> String {
    let nodes = violation["nodes"].as_array().into_iter().flatten();
    let places: Vec<String> = nodes.take(3).map(|node| node["html"].as_str().unwrap_or_default().to_owned()).collect();
    format!("{} ({}): {}", violation["help"], violation["impact"], places.join(" | "))
}

fn directory() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.unwrap_or_else(std::env::temp_dir).join("order-ledger").join("axe-core-4")
}

fn cached() -> Option<String> {
    std::fs::read_to_string(directory().join("package").join("axe.min.js")).ok()
}

/// Into a directory beside it first, so that a test next to this one never reads half a file.
fn fetch() {
    let directory = directory();
    let Some(parent) = directory.parent().filter(|parent| std::fs::create_dir_all(parent).is_ok()) else { return };
    let Ok(unpacked) = tempfile::Builder::new().prefix("axe-core-").tempdir_in(parent) else { return };
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(unpacked.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !run("npm", &["pack", PACKAGE]) {
        return;
    }
    let packed = std::fs::read_dir(unpacked.path()).into_iter().flatten().flatten().map(|entry| entry.path());
    let Some(packed) = packed.into_iter().find(|path| path.extension().is_some_and(|end| end == "tgz")) else { return };
    if run("tar", &["-xzf", &packed.to_string_lossy()]) && std::fs::rename(unpacked.path(), &directory).is_ok() {
        // It has its own place now.
        let _ = unpacked.keep();
    }
}
