//! One `up` a data directory.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, bail};

/// Held as long as the file is open; the kernel lets go when the process dies, however it dies.
pub fn take(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("data directory {} is not writable", data_dir.display()))?;
    // SAFETY: flock takes a descriptor that `file` keeps open.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        bail!(
            "another `order-ledger up` runs on {}: stop it, or set LEDGER__DATA_DIR to another directory",
            data_dir.display()
        );
    }
    Ok(file)
}
