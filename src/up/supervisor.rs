//! Children: started, watched, restarted, stopped in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

const FIRST_RESTART_DELAY: Duration = Duration::from_millis(200);
const LONGEST_RESTART_DELAY: Duration = Duration::from_secs(5);
/// A child that lived this long has recovered: its next restart is quick again.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// Roles get this long to finish what they accepted; servers to flush.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const LOG_TAIL_BYTES: usize = 2_000;

/// What to start, again and again.
#[derive(Debug, Clone)]
pub struct ChildSpec {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

impl ChildSpec {
    /// This binary, in another role.
    pub fn role(name: &str, environment: BTreeMap<String, String>) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            program: std::env::current_exe().context("cannot find this program's file")?,
            arguments: vec![name.to_owned()],
            environment,
        })
    }
}

struct Supervised {
    spec: ChildSpec,
    child: Option<Child>,
    started_at: Instant,
    restart_at: Instant,
    restart_delay: Duration,
    health_url: Option<String>,
}

/// Children in the order of their start; they are stopped in the reverse order.
pub struct Supervisor {
    logs: PathBuf,
    children: Vec<Supervised>,
}

impl Supervisor {
    pub fn new(logs: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        Ok(Self { logs, children: Vec::new() })
    }

    pub fn start(&mut self, spec: ChildSpec, health_url: Option<String>) -> anyhow::Result<()> {
        let child = spawn(&spec, &self.logs)?;
        let now = Instant::now();
        self.children.push(Supervised {
            spec,
            child: Some(child),
            started_at: now,
            restart_at: now,
            restart_delay: FIRST_RESTART_DELAY,
            health_url,
        });
        Ok(())
    }

    pub fn expect_healthy(&mut self, name: &str, url: String) {
        if let Some(supervised) = self.children.iter_mut().find(|child| child.spec.name == name) {
            supervised.health_url = Some(url);
        }
    }

    pub fn pids(&self) -> BTreeMap<String, u32> {
        let pid = |child: &Supervised| Some((child.spec.name.clone(), child.child.as_ref()?.id()?));
        self.children.iter().filter_map(pid).collect()
    }

    /// The end of a child's log, for the message that says why it could not start.
    pub fn log_tail(&self, name: &str) -> String {
        let text = std::fs::read(self.logs.join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_TAIL_BYTES)..]).trim().to_owned()
    }

    pub fn exited(&mut self, name: &str) -> bool {
        self.children
            .iter_mut()
            .filter(|child| child.spec.name == name)
            .any(|child| child.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None))))
    }

    pub async fn wait_until_healthy(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        let deadline = Instant::now() + timeout;
        let waiting: Vec<(String, String)> = self
            .children
            .iter()
            .filter_map(|child| Some((child.spec.name.clone(), child.health_url.clone()?)))
            .collect();
        for (name, url) in waiting {
            while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                if self.exited(&name) {
                    bail!("{name} ended while starting:\n{}", self.log_tail(&name));
                }
                if Instant::now() > deadline {
                    bail!("{name} was not ready within {timeout:?}:\n{}", self.log_tail(&name));
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
        Ok(())
    }

    /// Restarts what has died; true when anything runs under a new process id.
    pub fn step(&mut self) -> bool {
        let mut any_restarted = false;
        for supervised in &mut self.children {
            any_restarted |= supervised.restart_if_dead(&self.logs);
        }
        any_restarted
    }

    /// The last started goes first: the roles finish while their servers are there.
    pub async fn stop_all(&mut self) {
        while let Some(mut supervised) = self.children.pop() {
            let Some(child) = supervised.child.as_mut() else { continue };
            let Some(pid) = child.id() else { continue };
            terminate(pid);
            if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
                tracing::warn!(child = supervised.spec.name, "did not end in time: killed");
                let _ = child.kill().await;
            }
        }
    }
}

impl Supervised {
    /// True when a new process runs.
    fn restart_if_dead(&mut self, logs: &Path) -> bool {
        if let Some(child) = self.child.as_mut() {
            let Ok(Some(status)) = child.try_wait() else { return false };
            tracing::warn!(child = self.spec.name, %status, "ended: it will be restarted");
            self.child = None;
            if self.started_at.elapsed() > STABLE_AFTER {
                self.restart_delay = FIRST_RESTART_DELAY;
            }
            self.restart_at = Instant::now() + self.restart_delay;
            self.restart_delay = (self.restart_delay * 2).min(LONGEST_RESTART_DELAY);
        }
        if Instant::now() < self.restart_at {
            return false;
        }
        match spawn(&self.spec, logs) {
            Ok(child) => {
                self.child = Some(child);
                self.started_at = Instant::now();
                true
            }
            Err(error) => {
                tracing::error!(child = self.spec.name, error = %format!("{error:#}"), "could not be restarted");
                self.restart_at = Instant::now() + LONGEST_RESTART_DELAY;
                false
            }
        }
    }
}

fn spawn(spec: &ChildSpec, logs: &Path) -> anyhow::Result<Child> {
    let path = logs.join(format!("{}.log", spec.name));
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.arguments)
        .envs(&spec.environment)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A group of its own: Ctrl-C reaches `up` alone, which then stops everything in order.
        .process_group(0)
        .kill_on_drop(true);
    // SAFETY: prctl is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
    command.spawn().with_context(|| format!("cannot start {} ({})", spec.name, spec.program.display()))
}

fn terminate(pid: u32) {
    // SAFETY: kill has no memory effects; the child is ours and not yet reaped, so the pid is its own.
    unsafe {
        libc::kill(pid as i32, libc::SIGTERM);
    }
}
