//! A whole instance for a test: the real binary, real Postgres, a real broker, a free port and a private directory.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each test file uses a part of it

pub mod apache;
pub mod axe;
pub mod broker;
pub mod browser;
pub mod client;
pub mod cluster;
pub mod down;
pub mod gateway;
pub mod messages;
pub mod provider;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub use client::Client;

const START_TIMEOUT: Duration = Duration::from_secs(120);
/// An instance is six processes: several at once on two cores only wait for each other.
const INSTANCES_AT_ONCE: usize = 1;
static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// `order-ledger up` on its own data directory. Dropped: stopped, and everything it started with it.
pub struct Instance {
    child: Option<Child>,
    directory: TempDir,
    environment: Vec<(String, String)>,
    pub listen: String,
    _turn: Turn,
}

/// A further `serve` beside those of an instance, on a port of its own and without a supervisor. Dropped: killed.
pub struct ExtraServe {
    child: Option<Child>,
    command: Command,
    pub address: String,
}

impl ExtraServe {
    /// Returns when it takes requests.
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        self.child = Some(self.command.spawn().unwrap());
        eventually("the further serve to listen", START_TIMEOUT, || std::net::TcpStream::connect(&self.address).ok());
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for ExtraServe {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One of the few places for an instance; given back when dropped.
struct Turn;

impl Turn {
    fn take() -> Self {
        let mut running = RUNNING.0.lock().unwrap();
        while *running >= INSTANCES_AT_ONCE {
            running = RUNNING.1.wait(running).unwrap();
        }
        *running += 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.0.lock().unwrap() -= 1;
        RUNNING.1.notify_one();
    }
}

pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_order-ledger")
}

/// Below the range that outgoing connections come from: one of them could take it before the test does.
pub fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let start = 15_000 + (uuid::Uuid::new_v4().as_u128() % 15_000) as u16;
    (start..start + 1_000).find(is_free).expect("a free port")
}

/// Ports of a name server and a broker, which also takes the port two below its own and the one above: all four are free.
pub fn free_broker_ports() -> (u16, u16) {
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        // Below the range outgoing ports come from, so that none of them is taken meanwhile.
        let broker = 12_000 + free_port() % 3_000;
        if [broker - 2, broker - 1, broker, broker + 1].into_iter().all(is_free) {
            return (broker - 1, broker);
        }
    }
}

/// Waits for a condition; says what it waited for when it does not come.
pub fn eventually<T>(what: &str, timeout: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(since.elapsed() < timeout, "waited {timeout:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Instance {
    /// Takes the place of a setting from the next start on.
    pub fn set(&mut self, variable: &str, value: &str) {
        self.environment.retain(|(known, _)| known != variable);
        self.environment.push((variable.into(), value.into()));
    }

    pub fn start(environment: &[(&str, &str)]) -> Self {
        let turn = Turn::take();
        let mut instance = Self {
            child: None,
            directory: tempfile::Builder::new().prefix("order-ledger-test-").tempdir().unwrap(),
            environment: environment.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            listen: format!("127.0.0.1:{}", free_port()),
            _turn: turn,
        };
        instance.up();
        instance
    }

    /// Starts (again) on the same data.
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let child =
            self.command(&["up"]).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        let since = Instant::now();
        while !self.data_dir().join("up.json").exists() {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("up ended with {status}:\n{}", self.log());
            }
            assert!(since.elapsed() < START_TIMEOUT, "up was not ready in time:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ctrl-C; must end with exit code 0.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(child.id(), libc::SIGINT);
        let since = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(since.elapsed() < STOP_TIMEOUT, "up did not stop in time:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "up ended with {status}:\n{}", self.log());
    }

    /// A command of the binary that finds this instance through its data directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("LEDGER__DATA_DIR", self.data_dir())
            .env("LEDGER__HTTP__LISTEN", &self.listen)
            .envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    /// One more `serve` for the same database, as a second machine would run it.
    pub fn extra_serve(&self, environment: &[(&str, &str)]) -> ExtraServe {
        let address = format!("127.0.0.1:{}", free_port());
        let secrets: Value =
            serde_json::from_str(&std::fs::read_to_string(self.data_dir().join("secrets.json")).unwrap()).unwrap();
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.command(&["serve"]);
        command
            .env("LEDGER__HTTP__LISTEN", &address)
            .env("LEDGER__AUTH__TOKEN_KEY", secrets["token_key"].as_str().unwrap())
            .env("LEDGER__PAYMENT__CALLBACK_SECRET", secrets["payment_callback_secret"].as_str().unwrap())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut serve = ExtraServe { child: None, command, address };
        serve.up();
        serve
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// `up.json` as it is now.
    pub fn info(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.data_dir().join("up.json")).unwrap()).unwrap()
    }

    /// Reads `up.json` from a thread of its own; none once the instance is gone.
    pub fn info_reader(&self) -> impl Fn() -> Option<Value> + Send + use<> {
        let path = self.data_dir().join("up.json");
        move || serde_json::from_str(&std::fs::read_to_string(&path).ok()?).ok()
    }

    pub fn pid(&self, role: &str) -> u32 {
        self.info()["pids"][role].as_u64().unwrap_or_else(|| panic!("{role} has no pid: {}", self.info())) as u32
    }

    /// kill -9, and waits until the supervisor has a new process in its place.
    pub fn kill_and_await_restart(&self, role: &str) {
        let old = self.pid(role);
        signal(old, libc::SIGKILL);
        eventually(&format!("{role} to be restarted"), Duration::from_secs(20), || {
            (self.pid(role) != old).then_some(())
        });
    }

    pub fn client(&self) -> Client {
        let info = self.info();
        Client::new(info["http"].as_str().unwrap(), info["admin_token"].as_str().unwrap())
    }

    /// The same for a user without any role.
    pub fn client_of(&self, user: i64) -> Client {
        let output = self.run(&["token", "--user", &user.to_string()]);
        assert!(output.status.success(), "{output:?}");
        Client::new(self.info()["http"].as_str().unwrap(), String::from_utf8(output.stdout).unwrap().trim())
    }

    pub fn log(&self) -> String {
        let mut text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        if let Ok(logs) = std::fs::read_dir(self.data_dir().join("logs")) {
            for entry in logs.flatten() {
                let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let tail = log.len().saturating_sub(3_000);
                let tail = (tail..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(log.len());
                text.push_str(&format!("\n== {}\n{}", entry.path().display(), &log[tail..]));
            }
        }
        text
    }

    fn log_path(&self) -> PathBuf {
        self.data_dir().join("up.log")
    }

    /// What every whole-system test ends with: nothing unsent, no invariant broken.
    pub fn assert_settled(&self) {
        eventually("the outbox to be empty and every consumer to have caught up", Duration::from_secs(60), || {
            let output = self.run(&["lag", "--json"]);
            let lag: Value = serde_json::from_slice(&output.stdout).ok()?;
            (lag["outbox"]["pendingMessages"] == 0).then_some(())
        });
        let verify = eventually("verify to find nothing", Duration::from_secs(60), || {
            let output = self.run(&["verify", "--json"]);
            output.status.success().then_some(output)
        });
        assert!(verify.status.success());
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        signal(child.id(), libc::SIGTERM);
        let since = Instant::now();
        while since.elapsed() < STOP_TIMEOUT {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // The children die with it.
        let _ = child.kill();
        let _ = child.wait();
    }
}

pub fn signal(pid: u32, signal: i32) {
    // SAFETY: kill has no memory effects.
    unsafe {
        libc::kill(pid as i32, signal);
    }
}
