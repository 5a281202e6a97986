//! Databases for tests: one server a test process, a fresh database a call, nothing left behind.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{EmbeddedPostgres, EmbeddedPostgresConfig, EmbeddedPostgresError};

/// An empty database on the server of this test process.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    /// Where to connect.
    pub url: String,
}

/// A fresh, empty database. The first call in a process starts the server; it ends, and its files go,
/// with the process, also when a test panics. Panics when there is no server to be had.
pub fn database() -> TestDatabase {
    match try_database() {
        Ok(database) => database,
        // Only tests come here, and a test without its database has failed.
        Err(error) => panic!("{error}"),
    }
}

fn try_database() -> Result<TestDatabase, EmbeddedPostgresError> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let (admin, url) = {
        let mut shared = shared();
        let server = match &mut *shared {
            Some(server) => server,
            empty => empty.insert(TestServer::start()?),
        };
        (server.postgres.url(), server.postgres.url_of(&name))
    };
    create_database(admin, name)?;
    Ok(TestDatabase { url })
}

/// On a thread of its own: the blocking client must not run inside a test's async runtime.
fn create_database(admin: String, name: String) -> Result<(), EmbeddedPostgresError> {
    let create = move || {
        postgres::Client::connect(&admin, postgres::NoTls)?
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))
    };
    match std::thread::spawn(create).join() {
        Ok(created) => Ok(created?),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

struct TestServer {
    postgres: EmbeddedPostgres,
    dir: PathBuf,
    _lock: File,
}

static SHARED: Mutex<Option<TestServer>> = Mutex::new(None);

fn shared() -> MutexGuard<'static, Option<TestServer>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestServer {
    fn start() -> Result<Self, EmbeddedPostgresError> {
        let base = base_dir();
        let dir = base.join(std::process::id().to_string());
        let prepare = || {
            fs::create_dir_all(&base)?;
            // Else another process could take our directory, not locked yet, for a dead one.
            let _nobody_else_cleans = lock_file(&base.join("cleaning.lock"), libc::LOCK_EX)?;
            remove_dead(&base);
            fs::create_dir_all(&dir)?;
            try_lock(&dir)
        };
        let lock = prepare().map_err(EmbeddedPostgresError::directory(&dir))?;
        let postgres = EmbeddedPostgres::start(EmbeddedPostgresConfig::for_tests(&dir))?;
        // SAFETY: the function is an `extern "C" fn()` without preconditions.
        unsafe {
            libc::atexit(remove_at_exit);
        }
        Ok(Self { postgres, dir, _lock: lock })
    }
}

/// A static is never dropped; a process killed before this runs is cleaned up after by the next one.
extern "C" fn remove_at_exit() {
    if let Some(server) = shared().take() {
        server.postgres.kill();
        // What stays is removed by the next test process.
        let _ = fs::remove_dir_all(&server.dir);
    }
}

/// One base a user, so that one user's leftovers are never another's to remove.
fn base_dir() -> PathBuf {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let uid = unsafe { libc::geteuid() };
    std::env::temp_dir().join(format!("order-ledger-tests-{uid}"))
}

/// Directories of test processes that are gone: nobody holds their lock.
fn remove_dead(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if try_lock(&entry.path()).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn try_lock(dir: &Path) -> std::io::Result<File> {
    lock_file(&dir.join("test-process.lock"), libc::LOCK_EX | libc::LOCK_NB)
}

fn lock_file(path: &Path, operation: i32) -> std::io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    // SAFETY: flock takes an open descriptor, which `file` holds.
    if unsafe { libc::flock(file.as_raw_fd(), operation) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(file)
}
