//! `order-ledger lag`: how far the outbox, each consumer group and each projection are behind, how long orders take, and what
//! is missing. What is not known is shown as unknown, never as 0.

mod judge;
mod keys;
mod plain;
#[cfg(test)]
mod samples;
mod screen;
mod series;
mod view;

use std::io::IsTerminal;
use std::time::Duration;

use api::LagBody;
use clap::Args;
use watch::{LagMonitor, LagReport};

use super::{broker, pool, runtime};
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::metrics::watched_consumers;

const WATCH_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct LagArgs {
    /// Print JSON, as `GET /v1/admin/lag` answers; with --watch one line each time.
    #[arg(long)]
    pub json: bool,
    /// Show it live until q or Ctrl-C; without a terminal print it again every second.
    #[arg(long)]
    pub watch: bool,
    /// Exit 1 when anything is further behind than this, or not known.
    #[arg(long, value_name = "SECONDS", conflicts_with = "watch")]
    pub max_seconds: Option<f64>,
}

pub fn run(config: Config, args: &LagArgs) -> Outcome {
    let behind = runtime()?.block_on(async {
        let pool = pool(&config).await?;
        let broker = broker(&config)?;
        let monitor = LagMonitor::new(pool.clone(), Some(broker.clone()), watched_consumers(&config));
        let shown = match args.watch && !args.json && std::io::stdout().is_terminal() {
            true => screen::watch(&monitor, &pool).await.map(|()| Vec::new()),
            false => print(&monitor, args).await,
        };
        broker.close().await;
        shown
    })?;
    for reason in &behind {
        eprintln!("{reason}");
    }
    if behind.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

/// Once, or until Ctrl-C; answers what is too far behind.
async fn print(monitor: &LagMonitor, args: &LagArgs) -> anyhow::Result<Vec<String>> {
    loop {
        let report = monitor.current().await?;
        print_one(&report, args.json)?;
        if !args.watch {
            return Ok(args.max_seconds.map(|max| judge::too_far_behind(&report, max)).unwrap_or_default());
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(Vec::new()),
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
    }
}

fn print_one(report: &LagReport, json: bool) -> anyhow::Result<()> {
    match json {
        true => println!("{}", serde_json::to_string(&LagBody::from(report))?),
        false => print!("{}", plain::table(report)),
    }
    Ok(())
}
