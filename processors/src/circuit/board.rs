//! What one process learnt of a dependency, told to the others through a row.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::Mutex;

/// How old an answer may be: half a second, so that news are known everywhere within one.
const MAX_AGE: Duration = Duration::from_millis(500);

/// The circuit of one dependency as all processes see it.
pub struct CircuitBoard {
    pool: PgPool,
    dependency: &'static str,
    /// Held while the row is read, so that one caller asks for all.
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    open_until: Option<Instant>,
}

impl CircuitBoard {
    /// The board of a dependency in this database.
    pub fn new(pool: PgPool, dependency: &'static str) -> Self {
        Self { pool, dependency, seen: Mutex::new(None) }
    }

    /// The dependency this is about.
    pub fn dependency(&self) -> &'static str {
        self.dependency
    }

    /// How long the dependency should still be left alone; `None` when it may be tried, or nobody knows.
    pub async fn open_for(&self) -> Option<Duration> {
        let mut seen = self.seen.lock().await;
        let fresh = (*seen).filter(|seen| seen.at.elapsed() < MAX_AGE);
        let now = match fresh {
            Some(now) => now,
            None => *seen.insert(self.look().await),
        };
        let left = now.open_until?.saturating_duration_since(Instant::now());
        Some(left).filter(|left| !left.is_zero())
    }

    /// Nobody should try for so long.
    pub async fn opened(&self, pause: Duration) -> Result<(), sqlx::Error> {
        self.report("open", Some(pause)).await
    }

    /// The dependency answers.
    pub async fn closed(&self) -> Result<(), sqlx::Error> {
        self.report("closed", None).await
    }

    async fn report(&self, state: &str, pause: Option<Duration>) -> Result<(), sqlx::Error> {
        sqlx::query(include_str!("report.sql"))
            .bind(self.dependency)
            .bind(state)
            .bind(pause.map(|pause| pause.as_secs_f64()))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// A board that cannot be read stops nobody: what follows needs the database anyway, and says so better.
    async fn look(&self) -> Seen {
        let left: Result<Option<f64>, _> =
            sqlx::query_scalar(include_str!("open_for.sql")).bind(self.dependency).fetch_optional(&self.pool).await;
        let left = left.unwrap_or_else(|error| {
            tracing::debug!(%error, dependency = self.dependency, "the circuit's state cannot be read");
            None
        });
        let now = Instant::now();
        let left = left.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Seen { at: now, open_until: left.map(|left| now + left) }
    }
}
