//! The embedded broker as a child process: this test binary, started again.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};

use async_trait::async_trait;
use embedded_broker::{EmbeddedBrokerConfig, Ports};
use messaging::conformance::Outage;
use tempfile::TempDir;

const DATA_DIR: &str = "EMBEDDED_BROKER_DATA_DIR";
const PORTS: &str = "EMBEDDED_BROKER_PORTS";

/// A broker that can be killed and started again on the same data and ports. Ends with this process.
pub struct EmbeddedProcess {
    ports: Ports,
    data_dir: PathBuf,
    child: Mutex<Option<Child>>,
    _dir: Option<TempDir>,
}

impl EmbeddedProcess {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let process = Self {
            ports: embedded_broker::free_ports().unwrap(),
            data_dir: dir.path().to_path_buf(),
            child: Mutex::new(None),
            _dir: Some(dir),
        };
        process.restart();
        process
    }

    pub fn name_server(&self) -> String {
        format!("127.0.0.1:{}", self.ports.name_server)
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().as_ref().unwrap().id()
    }

    /// kill -9.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Takes connections and answers nothing, until it is thawed.
    pub fn freeze(&self) {
        signal(self.pid(), libc::SIGSTOP);
        // Its threads answer until the signal has reached each of them.
        while !is_frozen(self.pid()) {
            std::thread::yield_now();
        }
    }

    pub fn thaw(&self) {
        signal(self.pid(), libc::SIGCONT);
    }

    /// Returns when clients may connect.
    pub fn restart(&self) {
        let data_dir = self.data_dir.to_str().unwrap();
        let ports = format!("{} {}", self.ports.name_server, self.ports.broker);
        let child = this_binary_as("embedded::broker_process", &[(DATA_DIR, data_dir), (PORTS, &ports)]);
        *self.child.lock().unwrap() = Some(child);
    }
}

/// As far as this system can tell.
fn is_frozen(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    // The state is the word after the name, which is in parentheses; a thread without any has ended.
    let state = |stat: String| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'));
    threads.flatten().all(|thread| std::fs::read_to_string(thread.path().join("stat")).map_or(true, state))
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: kill has no memory effects; the child is ours and not yet reaped, so the pid is its own.
    unsafe {
        libc::kill(pid as i32, signal);
    }
}

impl Drop for EmbeddedProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

#[async_trait]
impl Outage for EmbeddedProcess {
    async fn stop_broker(&self) {
        self.kill();
    }

    async fn start_broker(&self) {
        self.restart();
    }
}

/// Starts an ignored test of this binary as a process of its own, and waits until it says that it is [`READY`].
pub fn this_binary_as(test: &str, environment: &[(&str, &str)]) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains(READY));
    assert!(ready, "{test} ended before it was ready");
    child
}

/// What a process prints when it may be used.
pub const READY: &str = "the process is ready";

/// One broker for all tests that leave it alone.
pub fn shared() -> &'static EmbeddedProcess {
    static SHARED: LazyLock<EmbeddedProcess> = LazyLock::new(EmbeddedProcess::start);
    &SHARED
}

/// Not a test: the broker's process. It ends when its standard input does, so with the test process.
#[test]
#[ignore = "started by the other tests as a process of its own"]
fn broker_process() {
    let Ok(data_dir) = std::env::var(DATA_DIR) else { return };
    let ports = std::env::var(PORTS).unwrap();
    let (name_server, broker) = ports.split_once(' ').unwrap();
    let ports = Ports { name_server: name_server.parse().unwrap(), broker: broker.parse().unwrap() };
    let (orphaned, until_orphaned) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = orphaned.send(());
    });
    let ready = |_| println!("{READY}");
    let until_orphaned = async move { drop(until_orphaned.await) };
    embedded_broker::run(EmbeddedBrokerConfig::new(&data_dir, ports), ready, until_orphaned).unwrap();
    let _ = std::fs::remove_dir_all(data_dir);
}
