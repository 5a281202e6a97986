//! The directory on disk: made once, completely or not at all, and opened by one server at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::account::{self, Account};
use crate::launch::{Launcher, Reachable};
use crate::{Authentication, EmbeddedPostgresConfig, EmbeddedPostgresError, binaries};

type Result<T> = std::result::Result<T, EmbeddedPostgresError>;

const POLL: Duration = Duration::from_millis(10);
/// A log beyond this is set aside at the next start.
const LOG_KEPT_BYTES: u64 = 8 * 1024 * 1024;

/// A data directory, ready for a server; nobody else can open it while this lives.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub launcher: Launcher,
    pub data: Reachable,
    pub log: PathBuf,
    pub password: Option<String>,
    home: PathBuf,
    _lock: File,
}

impl Cluster {
    pub(crate) fn open(config: &EmbeddedPostgresConfig) -> Result<Self> {
        let home = config.data_dir.as_path();
        fs::create_dir_all(home).map_err(EmbeddedPostgresError::directory(home))?;
        let deadline = Instant::now() + config.start_timeout;
        let lock = lock(home)?;
        let data = home.join("data");
        wait_for_previous_server(home, deadline)?;

        let account = account::choose(&data);
        let launcher = binaries::find(config, account, data_version(&data))?;
        if data_version(&data).is_none() {
            create(&launcher, config)?;
        }
        Ok(Self {
            data: Reachable::new(&data, account)?,
            log: rotate_log(home)?,
            password: read_password(home)?,
            launcher,
            home: home.to_owned(),
            _lock: lock,
        })
    }

    /// PostgreSQL's own sign, the one pg_ctl waits for: line 1 is the pid, line 8 the status.
    pub(crate) fn is_ready(&self, pid: u32) -> bool {
        let pid_file = fs::read_to_string(pid_file(&self.home)).unwrap_or_default();
        let mut lines = pid_file.lines();
        lines.next() == Some(&pid.to_string()) && lines.nth(6).is_some_and(|status| status.trim() == "ready")
    }

    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 12;
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

/// Held by us and released by the kernel when we end, so that it can never be stale.
fn lock(home: &Path) -> Result<File> {
    let path = home.join("lock");
    let directory = |source| EmbeddedPostgresError::Directory { path: path.clone(), source };
    let mut file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(directory)?;
    // SAFETY: flock takes an open descriptor, which `file` holds.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        let mut pid = String::new();
        file.read_to_string(&mut pid).map_err(directory)?;
        return Err(EmbeddedPostgresError::InUse { path: home.to_owned(), pid: pid.trim().to_owned() });
    }
    file.set_len(0).map_err(directory)?;
    write!(file, "{}", std::process::id()).map_err(directory)?;
    Ok(file)
}

/// A server whose parent was killed shuts down by itself; its pid file may also name a process long
/// gone, or by now somebody else's.
fn wait_for_previous_server(home: &Path, deadline: Instant) -> Result<()> {
    let path = pid_file(home);
    while let Ok(content) = fs::read_to_string(&path) {
        let pid = content.lines().next().unwrap_or_default().trim();
        if !serves(pid, &home.join("data")) {
            return fs::remove_file(&path).map_err(EmbeddedPostgresError::directory(&path));
        }
        if Instant::now() > deadline {
            return Err(EmbeddedPostgresError::InUse { path: home.to_owned(), pid: pid.to_owned() });
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Whether that process is a server on this data: a server's working directory is its data directory.
fn serves(pid: &str, data: &Path) -> bool {
    let process = Path::new("/proc").join(pid);
    let is_postgres = fs::read_to_string(process.join("comm")).is_ok_and(|name| name.starts_with("postgres"));
    let works_elsewhere = match (fs::read_link(process.join("cwd")), data.canonicalize()) {
        (Ok(directory), Ok(data)) => directory != data,
        // Another user's process keeps it to itself.
        _ => false,
    };
    is_postgres && !works_elsewhere
}

fn pid_file(home: &Path) -> PathBuf {
    home.join("data/postmaster.pid")
}

fn data_version(data: &Path) -> Option<u32> {
    let version = fs::read_to_string(data.join("PG_VERSION")).ok()?;
    version.trim().parse().ok()
}

/// Made under another name and renamed when complete: an interrupted start leaves nothing half done.
fn create(launcher: &Launcher, config: &EmbeddedPostgresConfig) -> Result<()> {
    let home = config.data_dir.as_path();
    let (partial, data) = (home.join("data.partial"), home.join("data"));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(EmbeddedPostgresError::directory(&partial))?;
    }
    make_private_dir(&partial, launcher.account).map_err(EmbeddedPostgresError::directory(&partial))?;
    let reachable = Reachable::new(&partial, launcher.account)?;
    initdb(launcher, &reachable, config.fsync)?;
    if config.authentication == Authentication::Password {
        require_password(launcher, &reachable, home, &partial)?;
    }
    fs::rename(&partial, &data).map_err(EmbeddedPostgresError::directory(&data))
}

fn make_private_dir(path: &Path, account: Option<Account>) -> std::io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    account.map_or(Ok(()), |account| account.give(path))
}

fn initdb(launcher: &Launcher, data: &Reachable, fsync: bool) -> Result<()> {
    let mut command = launcher.command("initdb", libc::SIGKILL, Some(data));
    command
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
        .args(["--locale=C", "--pgdata"])
        .arg(data.path());
    if !fsync {
        command.arg("--no-sync");
    }
    let output = command
        .output()
        .map_err(|source| EmbeddedPostgresError::Spawn { program: launcher.bin_dir.join("initdb"), source })?;
    succeeded(data.path(), &output)
}

/// Sets the password in single-user mode, before anybody could connect without one.
fn require_password(launcher: &Launcher, data: &Reachable, home: &Path, partial: &Path) -> Result<()> {
    let password = write_new_password(home)?;
    let program = launcher.bin_dir.join("postgres");
    let spawn_error = |source| EmbeddedPostgresError::Spawn { program: program.clone(), source };
    let mut child = launcher
        .command("postgres", libc::SIGKILL, Some(data))
        .args(["--single", "-D"])
        .arg(data.path())
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(spawn_error)?;
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "ALTER ROLE postgres PASSWORD '{password}'").map_err(spawn_error)?;
    }
    succeeded(data.path(), &child.wait_with_output().map_err(spawn_error)?)?;
    // The file is there and keeps its owner; only what it says changes. On loopback the password may travel as it is: a
    // SCRAM exchange costs a client built without optimisation a third of a second of processor time a connection.
    let rules = partial.join("pg_hba.conf");
    fs::write(&rules, "host all all 127.0.0.1/32 password\n").map_err(EmbeddedPostgresError::directory(&rules))
}

fn succeeded(data: &Path, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(EmbeddedPostgresError::InitFailed {
        path: data.to_owned(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn password_file(home: &Path) -> PathBuf {
    home.join("password")
}

fn write_new_password(home: &Path) -> Result<String> {
    let path = password_file(home);
    let write = || -> std::io::Result<String> {
        let mut random = [0u8; 24];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let password = random.iter().map(|byte| format!("{byte:02x}")).collect();
        OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?
            .write_all(String::as_bytes(&password))?;
        Ok(password)
    };
    write().map_err(EmbeddedPostgresError::directory(&path))
}

fn read_password(home: &Path) -> Result<Option<String>> {
    let path = password_file(home);
    match fs::read_to_string(&path) {
        Ok(password) => Ok(Some(password)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EmbeddedPostgresError::directory(path)(error)),
    }
}

fn rotate_log(home: &Path) -> Result<PathBuf> {
    let log = home.join("log");
    if fs::metadata(&log).is_ok_and(|meta| meta.len() > LOG_KEPT_BYTES) {
        let previous = home.join("log.previous");
        fs::rename(&log, &previous).map_err(EmbeddedPostgresError::directory(&previous))?;
    }
    Ok(log)
}
