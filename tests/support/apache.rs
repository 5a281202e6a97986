//! A private Apache RocketMQ, where Java and Maven are installed.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::free_broker_ports;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apache-rocketmq/apache-rocketmq.sh");

/// A name server and a broker of its own. Dropped: stopped.
pub struct ApacheRocketMq {
    directory: TempDir,
    pub name_server: String,
}

impl ApacheRocketMq {
    /// None, and said so, where there is no Java or no Maven.
    pub fn start_if_available() -> Option<Self> {
        if !run(&["available"]) {
            eprintln!("skipped: Java 11 or newer and Maven are needed to run Apache RocketMQ");
            return None;
        }
        assert!(run(&["fetch"]), "the jars of Apache RocketMQ could not be fetched");
        let directory = tempfile::Builder::new().prefix("order-ledger-apache-").tempdir().unwrap();
        let (name_server, broker) = free_broker_ports();
        let started = run(&["start", path(directory.path()), &name_server.to_string(), &broker.to_string()]);
        assert!(started, "Apache RocketMQ did not start");
        Some(Self { directory, name_server: format!("127.0.0.1:{name_server}") })
    }

    /// kill -9.
    pub fn kill_broker(&self) {
        assert!(run(&["kill-broker", path(self.directory.path())]));
    }

    /// Again, on the same data.
    pub fn start_broker(&self) {
        assert!(run(&["start-broker", path(self.directory.path())]), "the broker did not start again");
    }
}

impl Drop for ApacheRocketMq {
    fn drop(&mut self) {
        run(&["stop", path(self.directory.path())]);
    }
}

fn run(arguments: &[&str]) -> bool {
    let mut command = Command::new("sh");
    command.arg(SCRIPT).args(arguments).env("APACHE_ROCKETMQ_OWNER_PID", std::process::id().to_string());
    command.status().unwrap().success()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
