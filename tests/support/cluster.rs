//! A private cluster of Apache RocketMQ, as `ops/compose.yaml` has it, where Java and Maven are installed.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::free_port;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apache-rocketmq/cluster.sh");
const ADMIN: &str = "administrator";
const CLIENT: &str = "order-ledger";
const CLUSTER: &str = "ticketing";
pub const BROKERS: [&str; 2] = ["broker-1", "broker-2"];

/// Name, read queues, write queues.
pub type Topic = (String, u64, u64);

/// Two name servers, a controller, a master and a replica, with access control. Dropped: stopped.
pub struct RocketMqCluster {
    directory: TempDir,
    passwords: Passwords,
    name_server_ports: [u16; 2],
}

struct Passwords {
    admin: String,
    client: String,
}

impl RocketMqCluster {
    /// None, and said so, where there is no Java or no Maven.
    pub fn start_if_available() -> Option<Self> {
        if !Command::new(SCRIPT).arg("available").status().unwrap().success() {
            eprintln!("skipped: Java 11 or newer and Maven are needed to run a cluster of Apache RocketMQ");
            return None;
        }
        let [name_server_1, name_server_2, controller] = [0, 1, 2].map(|_| free_port());
        let brokers = free_broker_ports();
        let cluster = Self {
            directory: tempfile::Builder::new().prefix("order-ledger-cluster-").tempdir().unwrap(),
            passwords: Passwords { admin: secret(), client: secret() },
            name_server_ports: [name_server_1, name_server_2],
        };
        let ports = [name_server_1, name_server_2, controller, brokers[0], brokers[1]].map(|port| port.to_string());
        cluster.run("start", &ports.each_ref().map(String::as_str));
        Some(cluster)
    }

    pub fn name_servers(&self) -> String {
        self.name_server_ports.map(|port| format!("127.0.0.1:{port}")).join(";")
    }

    /// Of the user that order-ledger connects as.
    pub fn credentials(&self) -> (&str, &str) {
        (CLIENT, &self.passwords.client)
    }

    /// kill -9.
    pub fn kill(&self, server: &str) {
        self.run("kill", &[server]);
    }

    /// Starts it again, on the same data.
    pub fn start_again(&self, server: &str) {
        self.run("again", &[server]);
    }

    /// The broker that is master now, by what the name servers tell clients.
    pub fn master(&self) -> &'static str {
        let list = self.mqadmin(&["clusterList", "-n", &self.name_servers()]);
        // Cluster, broker, id, address, …: the master is the one with id 0.
        let address = list
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|columns| columns.len() > 3 && columns[1] == "broker-a" && columns[2] == "0")
            .map(|columns| columns[3].to_owned())
            .unwrap_or_else(|| panic!("no master in\n{list}"));
        let port = |server: &str| std::fs::read_to_string(self.path().join(format!("{server}.port"))).unwrap();
        let is_it = |server: &&str| address.ends_with(&format!(":{}", port(server).trim()));
        BROKERS.into_iter().find(is_it).unwrap_or_else(|| panic!("{address} is none of ours"))
    }

    /// The cluster's topics with their read and write queues, as the admin tool sees them.
    pub fn topics(&self) -> Vec<Topic> {
        let directory = self.path().join("exported");
        let path = directory.to_str().unwrap();
        self.mqadmin(&["exportMetadata", "-n", &self.name_servers(), "-c", CLUSTER, "-t", "-f", path]);
        topics_in(&directory.join("topic.json"))
    }

    /// The topics a broker knows by itself.
    pub fn topics_of(&self, broker: &str) -> Vec<Topic> {
        topics_in(&self.path().join(broker).join("config/topics.json"))
    }

    /// The admin tool's output, as the administrator.
    pub fn mqadmin(&self, arguments: &[&str]) -> String {
        let output = self.command("mqadmin", arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn run(&self, command: &str, arguments: &[&str]) {
        let status = self.command(command, arguments).status().unwrap();
        assert!(status.success(), "cluster.sh {command} {arguments:?} failed; logs are in {}", self.path().display());
    }

    fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut script = Command::new(SCRIPT);
        script
            .arg(command)
            .arg(self.path())
            .args(arguments)
            .env("APACHE_ROCKETMQ_OWNER_PID", std::process::id().to_string())
            .env("ROCKETMQ_ADMIN_USER", ADMIN)
            .env("ROCKETMQ_ADMIN_PASSWORD", &self.passwords.admin)
            .env("ROCKETMQ_CLIENT_USER", CLIENT)
            .env("ROCKETMQ_CLIENT_PASSWORD", &self.passwords.client);
        script
    }
}

impl Drop for RocketMqCluster {
    fn drop(&mut self) {
        let _ = self.command("stop", &[]).status();
    }
}

fn topics_in(path: &Path) -> Vec<Topic> {
    let config: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap_or_default()).unwrap_or_default();
    let topics = config["topicConfigTable"].as_object().cloned().unwrap_or_default();
    let queues = |topic: &Value, key: &str| topic[key].as_u64().unwrap_or_default();
    topics.iter().map(|(name, of)| (name.clone(), queues(of, "readQueueNums"), queues(of, "writeQueueNums"))).collect()
}

fn secret() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Each broker also takes the two ports below its own and the one above.
fn free_broker_ports() -> [u16; 2] {
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        // Below the range outgoing ports come from, so that none of them is taken meanwhile.
        let first = 16_000 + free_port() % 3_000;
        if (first - 2..first + 8).all(is_free) {
            return [first, first + 6];
        }
    }
}
