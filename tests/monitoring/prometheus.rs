//! A private Prometheus, where the package is installed.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{eventually, free_port};

pub const POLL_INTERVAL: Duration = Duration::from_millis(500);
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A scrape waits for a role that hangs, for two seconds.
const SCRAPE_INTERVAL: &str = "3s";

/// Says so where it is not.
pub fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed (Debian's package: prometheus)");
    }
    found
}

/// Dropped: killed.
pub struct Prometheus {
    child: Child,
    address: String,
    http: reqwest::Client,
    _directory: TempDir,
}

/// One series of an answer.
#[derive(Debug)]
pub struct Sample {
    pub labels: Value,
    pub value: f64,
}

impl Prometheus {
    /// Scrapes one instance, and evaluates the rules every second.
    pub fn start(target: &str, rules: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("order-ledger-prometheus-").tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let config = format!(
            "global: {{ scrape_interval: {SCRAPE_INTERVAL}, scrape_timeout: {SCRAPE_INTERVAL}, evaluation_interval: 1s }}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n  - job_name: order-ledger\n    static_configs: [{{ targets: [\"{target}\"] }}]\n"
        );
        std::fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        std::fs::write(directory.path().join("rules.yml"), rules).unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        eventually("Prometheus to listen", START_TIMEOUT, || std::net::TcpStream::connect(&address).ok());
        Self { child, address, http: reqwest::Client::new(), _directory: directory }
    }

    /// What an expression is now; what is wrong with it otherwise.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>, String> {
        let url = format!("http://{}/api/v1/query", self.address);
        let answer =
            self.http.get(url).query(&[("query", expression)]).send().await.map_err(|error| error.to_string())?;
        let body: Value = answer.json().await.map_err(|error| error.to_string())?;
        if body["status"] != "success" {
            return Err(body["error"].as_str().unwrap_or("no answer").to_owned());
        }
        let sample = |result: &Value| Sample {
            labels: result["metric"].clone(),
            value: result["value"][1].as_str().and_then(|value| value.parse().ok()).unwrap_or(f64::NAN),
        };
        // A vector; a number alone is none.
        Ok(body["data"]["result"].as_array().unwrap().iter().filter(|result| result.is_object()).map(sample).collect())
    }

    /// Returns once it has seen the target, so that what happens from now on is an increase to it.
    pub async fn await_first_scrape(&self) {
        let since = Instant::now();
        while !self.query("up == 1").await.is_ok_and(|samples| !samples.is_empty()) {
            assert!(since.elapsed() < START_TIMEOUT, "Prometheus does not reach its target");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The names of the alerts that fire, each once.
    pub async fn firing(&self) -> Vec<String> {
        let samples = self.query("count by (alertname) (ALERTS{alertstate=\"firing\"})").await.unwrap_or_default();
        samples.iter().map(|sample| sample.labels["alertname"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
