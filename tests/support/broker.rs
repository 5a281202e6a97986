//! A RocketMQ of the test's own: the embedded one, beside the instance, so that nobody restarts it but the test.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{binary, eventually, free_broker_ports};

/// Dropped: killed.
pub struct Broker {
    directory: TempDir,
    ports: (u16, u16),
    child: Option<Child>,
}

impl Broker {
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("order-ledger-broker-").tempdir().unwrap();
        let mut broker = Self { directory, ports: free_broker_ports(), child: None };
        broker.up();
        broker
    }

    pub fn name_server(&self) -> String {
        format!("127.0.0.1:{}", self.ports.0)
    }

    /// Again, on the same data.
    pub fn up(&mut self) {
        let log = File::options().create(true).append(true).open(self.directory.path().join("broker.log")).unwrap();
        let (name_server, broker) = self.ports;
        let mut command = Command::new(binary());
        command.arg("embedded-broker").arg("--store").arg(self.directory.path().join("store"));
        command.args(["--name-server-port", &name_server.to_string(), "--broker-port", &broker.to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        for port in [name_server, broker] {
            eventually("the broker to listen", Duration::from_secs(60), || {
                std::net::TcpStream::connect(("127.0.0.1", port)).ok()
            });
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
