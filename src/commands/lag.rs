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

use std::io::{ErrorKind, IsTerminal, Write};
use std::pin::pin;
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
        let shown = if !args.watch {
            print_and_judge(&monitor, args, config.watch.missing_interval_seconds > 0).await
        } else if !args.json && std::io::stdout().is_terminal() {
            screen::watch(&monitor, &pool).await.map(|()| Vec::new())
        } else {
            print_until_ctrl_c(&monitor, args.json).await.map(|()| Vec::new())
        };
        broker.close().await;
        shown
    })?;
    for reason in &behind {
        eprintln!("{reason}");
    }
    if behind.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

/// Answers what is too far behind.
async fn print_and_judge(monitor: &LagMonitor, args: &LagArgs, is_counting: bool) -> anyhow::Result<Vec<String>> {
    let report = monitor.current().await?;
    // Whoever reads no further may still want to know how it ends.
    print_one(&report, args.json)?;
    Ok(args.max_seconds.map(|max| judge::too_far_behind(&report, max, is_counting)).unwrap_or_default())
}

async fn print_until_ctrl_c(monitor: &LagMonitor, json: bool) -> anyhow::Result<()> {
    // One for all rounds, whatever they do: a signal that nobody waits for is lost.
    let mut ctrl_c = pin!(tokio::signal::ctrl_c());
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let measuring = async {
            ticks.tick().await;
            monitor.current().await
        };
        let report = tokio::select! {
            _ = &mut ctrl_c => return Ok(()),
            report = measuring => report?,
        };
        if !print_one(&report, json)? {
            return Ok(());
        }
    }
}

/// Answers whether somebody still reads.
fn print_one(report: &LagReport, json: bool) -> anyhow::Result<bool> {
    let text = match json {
        true => serde_json::to_string(&LagBody::from(report))? + "\n",
        false => plain::table(report),
    };
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
