//! Who the server runs as. PostgreSQL refuses root, so root hands it to another user.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

/// The user and group a child process is to run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub uid: u32,
    pub gid: u32,
}

const OVERFLOW: Account = Account { uid: 65534, gid: 65534 };

/// `None` when we are an ordinary user: children run as we do. Data that exists stays with its owner.
pub(crate) fn choose(existing_data: &Path) -> Option<Account> {
    if !is_root() {
        return None;
    }
    let owner = fs::metadata(existing_data).ok().map(|data| Account { uid: data.uid(), gid: data.gid() });
    owner
        .filter(|account| account.uid != 0)
        .or_else(|| by_name("postgres"))
        .or_else(|| by_name("nobody"))
        .or(Some(OVERFLOW))
}

pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

impl Account {
    pub(crate) fn give(self, path: &Path) -> std::io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }

    /// Whether this user can walk down to `path`: what a checkout under /root does not allow.
    pub(crate) fn can_reach(self, path: &Path) -> bool {
        path.ancestors().skip(1).all(|dir| {
            fs::metadata(dir).is_ok_and(|meta| {
                let execute_bit = if meta.uid() == self.uid {
                    0o100
                } else if meta.gid() == self.gid {
                    0o010
                } else {
                    0o001
                };
                meta.mode() & execute_bit != 0
            })
        })
    }
}

fn by_name(name: &str) -> Option<Account> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let entry =
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&name))?;
    Some(Account { uid: entry.get(2)?.parse().ok()?, gid: entry.get(3)?.parse().ok()? })
}
