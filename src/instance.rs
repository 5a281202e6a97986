//! A running instance as others find it: `<data dir>/up.json`, and the secrets `up` made for itself.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};

/// What `up` tells the world once everything is ready. Mode 0600: it holds secrets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Instance {
    pub http: String,
    pub database_url: String,
    pub name_server: String,
    pub admin_token: String,
    pub payment_callback_secret: String,
    pub pids: BTreeMap<String, u32>,
}

impl Instance {
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("up.json")
    }

    /// The instance that runs, or last ran, on this data directory.
    pub fn find(data_dir: &Path) -> Option<Instance> {
        let text = std::fs::read_to_string(Self::path(data_dir)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Replaces the file at once: a reader sees the old one or the new one.
    pub fn publish(&self, data_dir: &Path) -> anyhow::Result<()> {
        write_private(&Self::path(data_dir), &serde_json::to_vec_pretty(self)?)
    }

    pub fn withdraw(data_dir: &Path) {
        // Already gone is as good.
        let _ = std::fs::remove_file(Self::path(data_dir));
    }
}

/// Keys made at the first start of a data directory, kept so that tokens outlive a restart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Secrets {
    pub token_key: String,
    pub payment_callback_secret: String,
}

impl Secrets {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("secrets.json")
    }

    pub fn find(data_dir: &Path) -> Option<Secrets> {
        serde_json::from_str(&std::fs::read_to_string(Self::path(data_dir)).ok()?).ok()
    }

    pub fn find_or_make(data_dir: &Path) -> anyhow::Result<Secrets> {
        if let Some(found) = Self::find(data_dir) {
            return Ok(found);
        }
        let secrets = Secrets {
            token_key: Alphanumeric.sample_string(&mut rand::rng(), 48),
            // Alphanumeric text whose length is a multiple of four is valid base64, as Standard Webhooks asks.
            payment_callback_secret: format!("whsec_{}", Alphanumeric.sample_string(&mut rand::rng(), 32)),
        };
        write_private(&Self::path(data_dir), &serde_json::to_vec_pretty(&secrets)?)?;
        Ok(secrets)
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension("json.new");
    let _ = std::fs::remove_file(&temporary);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_secrets_are_private_and_outlive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let first = Secrets::find_or_make(directory.path()).unwrap();
        let second = Secrets::find_or_make(directory.path()).unwrap();
        assert_eq!(first.token_key, second.token_key);
        let mode = std::fs::metadata(directory.path().join("secrets.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
