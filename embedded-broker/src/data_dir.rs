//! The data directory belongs to one broker at a time.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::EmbeddedBrokerError;

/// Holds the directory until dropped; the operating system lets go of it when the process dies.
#[derive(Debug)]
pub(crate) struct Claim {
    _lock: File,
}

pub(crate) fn claim(data_dir: &Path) -> Result<Claim, EmbeddedBrokerError> {
    let unwritable = |error: std::io::Error| EmbeddedBrokerError::DataDir {
        path: data_dir.to_path_buf(),
        reason: error.to_string(),
    };
    // The broker writes its settings into both before it creates them.
    for part in ["store/config", "name-server"] {
        std::fs::create_dir_all(data_dir.join(part)).map_err(unwritable)?;
    }
    let lock = File::create(data_dir.join("broker.lock")).map_err(unwritable)?;
    match lock.try_lock() {
        Ok(()) => Ok(Claim { _lock: lock }),
        Err(TryLockError::WouldBlock) => Err(EmbeddedBrokerError::DataDirInUse { path: data_dir.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(unwritable(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_second_broker_is_told_that_the_directory_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let first = claim(dir.path()).unwrap();

        let second = claim(dir.path()).unwrap_err();

        assert!(second.to_string().contains("in use by another broker"), "{second}");
        drop(first);
        claim(dir.path()).expect("free again once the first one is gone");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a-file");
        std::fs::write(&file, "").unwrap();

        let error = claim(&file).unwrap_err().to_string();

        assert!(error.contains("a-file") && !error.contains('\n'), "{error}");
    }
}
