//! How a program of PostgreSQL is run: as whom, where, and until when.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::EmbeddedPostgresError;
use crate::account::Account;

/// The binaries, and the account they run under.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    pub bin_dir: PathBuf,
    pub account: Option<Account>,
}

impl Launcher {
    /// A command that receives `death_signal` when the *thread* that spawns it ends.
    pub(crate) fn command(&self, program: &str, death_signal: i32, data: Option<&Reachable>) -> Command {
        let mut command = Command::new(self.bin_dir.join(program));
        // A working directory the account may not enter makes initdb fail.
        command.current_dir("/").env("LC_ALL", "C").env("TZ", "UTC");
        // Ctrl-C in a terminal reaches our own group only: we stop the server once those who use it have finished.
        command.process_group(0);
        for inherited in ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGOPTIONS"] {
            command.env_remove(inherited);
        }
        if let Some(Account { uid, gid }) = self.account {
            command.uid(uid).gid(gid);
        }
        let parent = std::process::id();
        let keep_open = data.and_then(Reachable::descriptor);
        // SAFETY: the closure runs between fork and exec, and calls only async-signal-safe functions.
        unsafe {
            command.pre_exec(move || before_exec(parent, death_signal, keep_open));
        }
        command
    }
}

/// Runs after the change of user, which would clear the death signal.
fn before_exec(parent: u32, death_signal: i32, keep_open: Option<RawFd>) -> std::io::Result<()> {
    // SAFETY: prctl, getppid and fcntl are async-signal-safe; the descriptor is open in the parent.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, death_signal) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        if libc::getppid().cast_unsigned() != parent {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        if let Some(descriptor) = keep_open
            && libc::fcntl(descriptor, libc::F_SETFD, 0) != 0
        {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A directory under a name that the account can open.
///
/// A checkout in /root lies behind a directory (mode 0700) that no other user may pass. An open
/// descriptor passes: the child inherits it and knows the directory as /proc/self/fd/N.
#[derive(Debug)]
pub(crate) struct Reachable {
    path: PathBuf,
    through: Option<File>,
}

impl Reachable {
    pub(crate) fn new(path: &Path, account: Option<Account>) -> Result<Self, EmbeddedPostgresError> {
        let directory = |source| EmbeddedPostgresError::Directory { path: path.to_owned(), source };
        let path = path.canonicalize().map_err(directory)?;
        if account.is_none_or(|account| account.can_reach(&path)) {
            return Ok(Self { path, through: None });
        }
        let through = File::open(&path).map_err(directory)?;
        Ok(Self { path: PathBuf::from(format!("/proc/self/fd/{}", through.as_raw_fd())), through: Some(through) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn descriptor(&self) -> Option<RawFd> {
        self.through.as_ref().map(AsRawFd::as_raw_fd)
    }
}
