//! The ledger's Postgres.

use serde::{Deserialize, Serialize};

use super::bounds::{between, invalid, positive};
use super::secrets::mask_password;

/// Those who listen for notifications keep one each; the rest is for work.
const MIN_CONNECTIONS: u64 = 4;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `postgres://…`; none: the instance that `up` runs in the data directory.
    pub url: Option<String>,
    pub max_connections: u32,
    pub acquire_timeout_ms: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: None, max_connections: 12, acquire_timeout_ms: 5_000 }
    }
}

impl DatabaseConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        between("database.max_connections", self.max_connections.into(), MIN_CONNECTIONS, 1_000)?;
        positive(600_000, &[("database.acquire_timeout_ms", self.acquire_timeout_ms)])?;
        if let Some(url) = &self.url
            && !(url.starts_with("postgres://") || url.starts_with("postgresql://"))
        {
            return Err(invalid("database.url", "must start with postgres://"));
        }
        Ok(())
    }

    pub(super) fn mask(&mut self) {
        self.url = self.url.take().map(|url| mask_password(&url));
    }
}
