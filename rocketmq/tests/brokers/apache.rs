//! Apache RocketMQ, started privately by the script in the workspace's `tests/`.

use std::process::{Command, ExitStatus};

use async_trait::async_trait;
use embedded_broker::Ports;
use messaging::conformance::Outage;
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/apache-rocketmq/apache-rocketmq.sh");

pub struct ApacheProcess {
    ports: Ports,
    dir: TempDir,
}

impl ApacheProcess {
    /// `None`, and a line that says so, where Java or Maven are missing.
    pub fn start_if_available(test: &str) -> Option<Self> {
        match script("available", &[]).unwrap().code() {
            Some(0) => {}
            Some(1) => {
                eprintln!("SKIPPED {test}: Apache RocketMQ needs Java 11 or newer and Maven");
                return None;
            }
            other => panic!("apache-rocketmq.sh available ended with {other:?}"),
        }
        let apache = Self { ports: embedded_broker::free_ports().unwrap(), dir: tempfile::tempdir().unwrap() };
        let ports = [apache.ports.name_server.to_string(), apache.ports.broker.to_string()];
        apache.command("start", &ports);
        Some(apache)
    }

    pub fn name_server(&self) -> String {
        format!("127.0.0.1:{}", self.ports.name_server)
    }

    fn command(&self, command: &str, more: &[String]) {
        let data_dir = self.dir.path().to_str().unwrap().to_owned();
        let arguments: Vec<String> = std::iter::once(data_dir).chain(more.iter().cloned()).collect();
        assert!(script(command, &arguments).unwrap().success(), "apache-rocketmq.sh {command} failed");
    }
}

impl Drop for ApacheProcess {
    fn drop(&mut self) {
        self.command("stop", &[]);
    }
}

#[async_trait]
impl Outage for ApacheProcess {
    async fn stop_broker(&self) {
        self.command("kill-broker", &[]);
    }

    async fn start_broker(&self) {
        self.command("start-broker", &[]);
    }
}

fn script(command: &str, arguments: &[String]) -> std::io::Result<ExitStatus> {
    Command::new(SCRIPT)
        .arg(command)
        .args(arguments)
        .env("APACHE_ROCKETMQ_OWNER_PID", std::process::id().to_string())
        .status()
}
