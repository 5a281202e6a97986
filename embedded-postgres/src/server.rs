//! The running server: started, watched and stopped.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::{EmbeddedPostgresConfig, EmbeddedPostgresError};

const POLL: Duration = Duration::from_millis(10);
/// Between looking for a free port and binding it, somebody else may take it.
const PORT_ATTEMPTS: u32 = 5;

/// A server that is ready for connections. Dropping it stops it.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    process: Process,
    cluster: Cluster,
    port: u16,
    stop_timeout: Duration,
}

impl EmbeddedPostgres {
    /// Starts a server on `config.data_dir`, which is made if it is not there, and waits until it is
    /// ready. Blocks; inside an async runtime use [`EmbeddedPostgres::start_async`].
    pub fn start(config: EmbeddedPostgresConfig) -> Result<Self, EmbeddedPostgresError> {
        let cluster = Cluster::open(&config)?;
        let deadline = Instant::now() + config.start_timeout;
        let mut attempt = 1;
        loop {
            let port = choose_port(config.port)?;
            let process = Process::spawn(server_command(&cluster, &config, port)?, &cluster)?;
            match wait_until_ready(&process, &cluster, deadline, config.start_timeout) {
                Ok(()) => {
                    tracing::info!(port, pid = process.pid, "PostgreSQL is ready");
                    return Ok(Self { process, cluster, port, stop_timeout: config.stop_timeout });
                }
                Err(error) => {
                    process.kill_and_wait();
                    attempt += 1;
                    retry_or_give_up(error, &config, attempt, deadline)?;
                }
            }
        }
    }

    /// [`EmbeddedPostgres::start`] for async callers.
    pub async fn start_async(config: EmbeddedPostgresConfig) -> Result<Self, EmbeddedPostgresError> {
        let path = config.data_dir.clone();
        tokio::task::spawn_blocking(move || Self::start(config))
            .await
            .unwrap_or_else(|join| Err(EmbeddedPostgresError::directory(path)(std::io::Error::other(join))))
    }

    /// The address of the database `postgres`, password included.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of another database of this server.
    pub fn url_of(&self, database: &str) -> String {
        let port = self.port;
        match &self.cluster.password {
            Some(password) => {
                format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}")
            }
            None => format!("postgres://postgres@127.0.0.1:{port}/{database}"),
        }
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How the server ended, if it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.process.exit_status()
    }

    /// Rolls back what is open, writes a checkpoint and ends.
    pub fn stop(self) -> Result<(), EmbeddedPostgresError> {
        self.shut_down()
    }

    /// Ends at once, as a crash would; the next start recovers.
    pub fn kill(self) {
        self.process.kill_and_wait();
    }

    fn shut_down(&self) -> Result<(), EmbeddedPostgresError> {
        self.process.signal(libc::SIGINT);
        if self.process.wait(self.stop_timeout) {
            return Ok(());
        }
        // Loses nothing: the next start recovers from the log.
        tracing::warn!(pid = self.process.pid, "PostgreSQL is slow to stop");
        self.process.signal(libc::SIGQUIT);
        if self.process.wait(self.stop_timeout) {
            return Ok(());
        }
        Err(EmbeddedPostgresError::StopTimeout { pid: self.process.pid, seconds: self.stop_timeout.as_secs() * 2 })
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            tracing::error!(%error, "PostgreSQL is still running");
        }
    }
}

fn choose_port(wanted: Option<u16>) -> Result<u16, EmbeddedPostgresError> {
    let port = wanted.unwrap_or(0);
    TcpListener::bind(("127.0.0.1", port))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|_| EmbeddedPostgresError::PortTaken { port })
}

fn server_command(
    cluster: &Cluster,
    config: &EmbeddedPostgresConfig,
    port: u16,
) -> Result<Command, EmbeddedPostgresError> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&cluster.log)
        .map_err(EmbeddedPostgresError::directory(&cluster.log))?;
    // Data that nobody will read again needs no orderly end.
    let death_signal = if config.fsync { libc::SIGINT } else { libc::SIGQUIT };
    let mut command = cluster.launcher.command("postgres", death_signal, Some(&cluster.data));
    command.arg("-D").arg(cluster.data.path());
    for setting in settings(config, port) {
        command.args(["-c", &setting]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Ok(command)
}

fn settings(config: &EmbeddedPostgresConfig, port: u16) -> Vec<String> {
    let on_off = if config.fsync { "on" } else { "off" };
    vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        format!("max_connections={}", config.max_connections),
        format!("shared_buffers={}MB", config.shared_buffers_mib),
        format!("fsync={on_off}"),
        format!("full_page_writes={on_off}"),
        "synchronous_commit=on".to_owned(),
        "max_wal_size=2GB".to_owned(),
        "checkpoint_timeout=15min".to_owned(),
        "password_encryption=scram-sha-256".to_owned(),
        "log_checkpoints=off".to_owned(),
        // Compiling a plan costs more than our short statements take.
        "jit=off".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
    ]
}

fn wait_until_ready(
    process: &Process,
    cluster: &Cluster,
    deadline: Instant,
    start_timeout: Duration,
) -> Result<(), EmbeddedPostgresError> {
    while !cluster.is_ready(process.pid) {
        if let Some(status) = process.exit_status() {
            return Err(EmbeddedPostgresError::StartFailed {
                status: status.to_string(),
                log: cluster.log.clone(),
                log_tail: cluster.log_tail(),
            });
        }
        if Instant::now() > deadline {
            return Err(EmbeddedPostgresError::StartTimeout {
                seconds: start_timeout.as_secs(),
                log: cluster.log.clone(),
                log_tail: cluster.log_tail(),
            });
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// A port lost in the race is tried again; so is data that the last backends of a killed server still hold.
fn retry_or_give_up(
    error: EmbeddedPostgresError,
    config: &EmbeddedPostgresConfig,
    attempt: u32,
    deadline: Instant,
) -> Result<(), EmbeddedPostgresError> {
    let EmbeddedPostgresError::StartFailed { log_tail, .. } = &error else {
        return Err(error);
    };
    if log_tail.contains("Address already in use") {
        return match config.port {
            Some(port) => Err(EmbeddedPostgresError::PortTaken { port }),
            None if attempt <= PORT_ATTEMPTS => Ok(()),
            None => Err(error),
        };
    }
    if log_tail.contains("pre-existing shared memory block") && Instant::now() < deadline {
        thread::sleep(POLL * 10);
        return Ok(());
    }
    Err(error)
}

/// The child, and the thread that spawned it.
///
/// Linux sends the death signal when the spawning *thread* ends. So the thread that spawns stays and
/// waits for its child: it ends before the child only if the whole process does.
#[derive(Debug)]
struct Process {
    pid: u32,
    exit: Arc<(Mutex<Option<ExitStatus>>, Condvar)>,
}

impl Process {
    fn spawn(command: Command, cluster: &Cluster) -> Result<Self, EmbeddedPostgresError> {
        let program = cluster.launcher.bin_dir.join("postgres");
        let exit = Arc::new((Mutex::new(None), Condvar::new()));
        let (started, start) = channel();
        let watcher = Arc::clone(&exit);
        let spawned =
            thread::Builder::new().name("postgres".to_owned()).spawn(move || watch(command, &started, &watcher));
        let spawn_error = |source| EmbeddedPostgresError::Spawn { program, source };
        match spawned.and_then(|_| receive(&start)) {
            Ok(pid) => Ok(Self { pid, exit }),
            Err(source) => Err(spawn_error(source)),
        }
    }

    fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: i32) {
        if self.exit_status().is_none() {
            // SAFETY: kill has no memory preconditions; the pid is our child's until it is waited for.
            unsafe {
                libc::kill(self.pid.cast_signed(), signal);
            }
        }
    }

    /// Whether it has ended by then.
    fn wait(&self, timeout: Duration) -> bool {
        let (status, ended) = &*self.exit;
        let status = status.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, _) = ended
            .wait_timeout_while(status, timeout, |status| status.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        status.is_some()
    }

    fn kill_and_wait(&self) {
        const KILL_TIMEOUT: Duration = Duration::from_secs(10);
        self.signal(libc::SIGQUIT);
        if !self.wait(KILL_TIMEOUT) {
            self.signal(libc::SIGKILL);
            self.wait(KILL_TIMEOUT);
        }
    }
}

type Started = std::io::Result<u32>;

fn watch(
    mut command: Command,
    started: &std::sync::mpsc::Sender<Started>,
    exit: &(Mutex<Option<ExitStatus>>, Condvar),
) {
    let spawned: std::io::Result<Child> = command.spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            // The receiver waits for exactly this; without one there is nobody to tell.
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(child.id()));
    // wait fails only for a child that is not ours.
    if let Ok(status) = child.wait() {
        *exit.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        exit.1.notify_all();
    }
}

fn receive(start: &Receiver<Started>) -> Started {
    const SPAWN_TIMEOUT: Duration = Duration::from_secs(30);
    match start.recv_timeout(SPAWN_TIMEOUT) {
        Ok(started) => started,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(std::io::Error::other("the process could not be spawned"))
        }
    }
}
