//! The embedded Postgres: restarted on the same port and data when it dies.

use std::path::Path;
use std::time::{Duration, Instant};

use embedded_postgres::{EmbeddedPostgres, EmbeddedPostgresConfig, EmbeddedPostgresError};

const RESTART_DELAY: Duration = Duration::from_secs(1);

pub struct SupervisedPostgres {
    config: EmbeddedPostgresConfig,
    server: Option<EmbeddedPostgres>,
    url: String,
    restart_at: Instant,
}

impl SupervisedPostgres {
    pub async fn start(data_dir: &Path) -> Result<Self, EmbeddedPostgresError> {
        let mut config = EmbeddedPostgresConfig::new(data_dir.join("postgres"));
        let server = EmbeddedPostgres::start_async(config.clone()).await?;
        // Whoever was told the address finds it there after a restart.
        config.port = Some(server.port());
        Ok(Self { config, url: server.url(), server: Some(server), restart_at: Instant::now() })
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(EmbeddedPostgres::pid)
    }

    /// Restarts it when it has died; true when a new process runs.
    pub async fn step(&mut self) -> bool {
        let exited = self.server.as_ref().and_then(EmbeddedPostgres::exit_status);
        if let Some(status) = exited {
            tracing::warn!(%status, "Postgres ended: it will be restarted");
            self.server = None;
            self.restart_at = Instant::now();
        }
        if self.server.is_some() || Instant::now() < self.restart_at {
            return false;
        }
        match EmbeddedPostgres::start_async(self.config.clone()).await {
            Ok(server) => {
                self.server = Some(server);
                true
            }
            Err(error) => {
                tracing::error!(%error, "Postgres could not be restarted");
                self.restart_at = Instant::now() + RESTART_DELAY;
                false
            }
        }
    }

    pub async fn stop(self) {
        let Some(server) = self.server else { return };
        // The stop blocks for as long as Postgres needs to write its checkpoint.
        let stopped = tokio::task::spawn_blocking(move || server.stop()).await;
        if let Ok(Err(error)) = stopped {
            tracing::error!(%error, "Postgres did not stop cleanly");
        }
    }
}
