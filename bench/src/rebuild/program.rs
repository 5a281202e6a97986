//! The rebuild as people run it, killed in the middle: the real program, which gets SIGKILL, is awaited to be gone, and is
//! started again.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use event_store::read;
use projections::rebuild::last_of_all;
use projections::{Rebuild, RebuildState};
use sqlx::PgPool;
use tokio::process::{Child, Command};

use super::people::{Looking, Readers};
use super::{REBUILT, Rebuilt};
use crate::BenchDatabase;

/// Between two looks at how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// The dead one's connections end and its leases run out before that.
const MAX_WAIT: Duration = Duration::from_secs(900);
/// How its connections are called.
const APPLICATION: &str = "order-ledger";

/// The program that rebuilds, and how it is configured.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub environment: Vec<(&'static str, String)>,
    /// Times it is killed, at evenly spread positions.
    pub kills: u32,
}

/// How far each of them is.
pub(super) type Positions = [i64; REBUILT.len()];

/// One run of it, from start to start again.
struct Run<'a> {
    program: &'a Program,
    database: &'a BenchDatabase,
    pool: &'a PgPool,
}

impl Program {
    /// Rebuilds all of them, with the kills; each must be one rebuild that goes on where it was.
    pub(super) async fn rebuild(
        &self,
        database: &BenchDatabase,
        pool: &PgPool,
        readers: &Arc<Readers>,
    ) -> anyhow::Result<Rebuilt> {
        let run = Run { program: self, database, pool };
        let head = read::head(pool).await?;
        let mut rebuilt = Rebuilt::default();
        for kill in 1..=self.kills {
            let due_at = head * i64::from(kill) / i64::from(self.kills + 1);
            let (looking, started) = (Looking::start(readers), Instant::now());
            let mut child = run.start()?;
            let left = rebuilt.left_at.last().copied().unwrap_or_default();
            let reached = run.await_all_beyond(due_at, left, &mut child).await;
            child.kill().await?;
            rebuilt.working += started.elapsed();
            rebuilt.reads.join(looking.stop().await?);
            reached.with_context(|| format!("before kill {kill}"))?;
            run.await_none("its connections to end", include_str!("../../sql/connections_of.sql"), APPLICATION).await?;
            rebuilt.left_at.push(run.positions().await?.context("the rebuild is gone after the kill")?);
            run.await_none("its leases to run out", include_str!("../../sql/leases_held.sql"), "rebuild-%").await?;
        }
        let (looking, started) = (Looking::start(readers), Instant::now());
        let output = run.start()?.wait_with_output().await?;
        rebuilt.working += started.elapsed();
        rebuilt.reads.join(looking.stop().await?);
        ensure!(output.status.success(), "the rebuild failed: {}", told(&output));
        run.ensure_gone_on_with(&rebuilt.left_at).await?;
        Ok(rebuilt)
    }
}

impl Run<'_> {
    /// Dropped, it is killed.
    fn start(&self) -> anyhow::Result<Child> {
        Command::new(&self.program.path)
            .arg("rebuild")
            .args(REBUILT)
            .arg("--json")
            .env("LEDGER__DATABASE__URL", self.database.url())
            .envs(self.program.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.path.display()))
    }

    /// Returns when each of them is there and has moved on from where it was left, and never before it.
    async fn await_all_beyond(&self, due_at: i64, left: Positions, child: &mut Child) -> anyhow::Result<()> {
        let beyond = self.look_until_all_beyond(due_at, left, child);
        tokio::time::timeout(MAX_WAIT, beyond).await.with_context(|| format!("waited in vain for {due_at}"))?
    }

    async fn look_until_all_beyond(&self, due_at: i64, left: Positions, child: &mut Child) -> anyhow::Result<()> {
        loop {
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("it ended by itself ({status}): take more events, or smaller ranges");
            }
            if let Some(now) = self.positions().await? {
                let began_again = now.iter().zip(left).any(|(now, left)| *now < left);
                ensure!(!began_again, "it was left at {left:?} and is at {now:?}");
                if now.iter().zip(left).all(|(now, left)| *now >= due_at && *now > left) {
                    return Ok(());
                }
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Of all of them, while they are being built; `None` while one is not begun.
    async fn positions(&self) -> anyhow::Result<Option<Positions>> {
        let rebuilds = last_of_all(self.pool).await?;
        let mut positions = Positions::default();
        for (name, position) in REBUILT.into_iter().zip(&mut positions) {
            let Some(rebuild) = rebuilds.iter().find(|rebuild| rebuild.name == name) else { return Ok(None) };
            ensure!(
                rebuild.state == RebuildState::Running,
                "{name} was built already: take more events, or smaller ranges"
            );
            *position = rebuild.position;
        }
        Ok(Some(positions))
    }

    async fn await_none(&self, what: &str, count: &'static str, of: &str) -> anyhow::Result<()> {
        let none = async {
            while sqlx::query_scalar::<_, i64>(count).bind(of).fetch_one(self.pool).await? > 0 {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            Ok(())
        };
        tokio::time::timeout(MAX_WAIT, none).await.with_context(|| format!("waited in vain for {what}"))?
    }

    /// One record each, which says that it was gone on with at the positions where it was left.
    async fn ensure_gone_on_with(&self, left_at: &[Positions]) -> anyhow::Result<()> {
        for (n, name) in REBUILT.into_iter().enumerate() {
            let records: i64 = sqlx::query_scalar("select count(*) from projection.rebuild where name = $1")
                .bind(name)
                .fetch_one(self.pool)
                .await?;
            ensure!(records == 1, "{name}: {records} rebuilds instead of one");
            let gone_on_at: Vec<Option<i64>> =
                sqlx::query_scalar(include_str!("../../sql/resumed_at.sql")).bind(name).fetch_all(self.pool).await?;
            let expected: Vec<_> = std::iter::once(None).chain(left_at.iter().map(|left| Some(left[n]))).collect();
            ensure!(gone_on_at == expected, "{name}: gone on with at {gone_on_at:?} instead of {expected:?}");
        }
        Ok(())
    }
}

/// All of them are over, and what they built is what was shown.
pub(super) fn ensure_verified(rebuilds: &[Rebuild]) -> anyhow::Result<()> {
    for name in REBUILT {
        let rebuild = rebuilds.iter().find(|rebuild| rebuild.name == name).context("it was rebuilt")?;
        let is_good = rebuild.state == RebuildState::Done && rebuild.unchanged() == Some(true);
        ensure!(is_good, "not verified: {rebuild:?}");
    }
    Ok(())
}

fn told(output: &Output) -> String {
    format!("{} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
