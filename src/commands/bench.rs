//! `order-ledger bench`: load and comparison runs, each figure beside its baseline.

use std::time::Duration;

use bench::{AppendBench, ConsumeBench, HotStockBench, OrdersBench, Program, RebuildBench, RelayBench, Report};
use clap::{Args, Subcommand};
use embedded_postgres::{EmbeddedPostgres, EmbeddedPostgresConfig};

use super::{database_url, rebuild_config, runtime};
use crate::config::Config;
use crate::exit::Outcome;
use crate::instance::Instance;

/// More would be killed before they have moved on.
const MAX_KILLS: i64 = 20;

#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    run: Run,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Callers at the same time.
    #[arg(long, global = true, default_value_t = 64)]
    callers: usize,
    /// Length of one round.
    #[arg(long, global = true, default_value_t = 3)]
    seconds: u64,
    /// Rounds; the median one counts.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
}

#[derive(Debug, Subcommand)]
enum Run {
    /// Place orders: append, load + append, a lone caller.
    Append,
    /// Lock tickets of one type, all callers at once.
    HotStock,
    /// Drain the outbox to a sink that does nothing.
    Relay {
        /// Messages to drain.
        #[arg(long, default_value_t = 200_000)]
        messages: u64,
    },
    /// Work on new orders' messages, by how many are taken into one transaction.
    Consume {
        /// Messages of each round.
        #[arg(long, default_value_t = 5_000)]
        messages: usize,
    },
    /// Rebuild the read models of a large ledger while orders come in, beside a plain COPY, and what readers feel of it.
    Rebuild {
        /// Events in the ledger.
        #[arg(long, default_value_t = 1_000_000)]
        events: i64,
        /// Times it is killed (SIGKILL) in the middle, to be gone on with. `order-ledger rebuild` does it then, as a process
        /// of its own; after each kill `projection.rebuild_lease_ttl_ms` pass before it can go on.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=MAX_KILLS))]
        kills: u32,
    },
    /// Whole orders over REST against a running instance.
    Orders {
        #[arg(long, default_value_t = 2_000)]
        orders: usize,
    },
}

pub fn run(config: Config, args: BenchArgs) -> Outcome {
    let report = match &args.run {
        Run::Orders { orders } => runtime()?.block_on(whole_orders(&config, &args, *orders))?,
        _ => on_postgres(&config, &args)?,
    };
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => print!("{}", report.table()),
    }
    Ok(())
}

/// On the configured Postgres, else on one of its own, with fsync on as in production.
fn on_postgres(config: &Config, args: &BenchArgs) -> anyhow::Result<Report> {
    if let Ok(url) = database_url(config) {
        return runtime()?.block_on(measure(config, &url, args));
    }
    let directory = std::env::temp_dir().join(format!("order-ledger-bench-{}", uuid::Uuid::new_v4().simple()));
    let server = EmbeddedPostgres::start(EmbeddedPostgresConfig::new(&directory))?;
    let report = runtime()?.block_on(measure(config, &server.url(), args));
    let stopped = server.stop();
    let _ = std::fs::remove_dir_all(&directory);
    stopped?;
    report
}

async fn measure(config: &Config, url: &str, args: &BenchArgs) -> anyhow::Result<Report> {
    let (callers, round, rounds) = (args.callers, Duration::from_secs(args.seconds), args.rounds);
    match args.run {
        Run::Append => AppendBench { callers, round, rounds }.run(url).await,
        Run::HotStock => HotStockBench { callers, round, rounds }.run(url).await,
        Run::Relay { messages } => RelayBench { messages, rounds }.run(url).await,
        Run::Consume { messages } => ConsumeBench { messages, rounds }.run(url).await,
        Run::Rebuild { events, kills } => {
            let program = if kills > 0 { Some(program(config, kills)?) } else { None };
            RebuildBench { events, round, config: rebuild_config(config), program }.run(url).await
        }
        Run::Orders { orders } => anyhow::bail!("{orders} orders need an instance, not only Postgres"),
    }
}

/// This one, which rebuilds as it is configured here.
fn program(config: &Config, kills: u32) -> anyhow::Result<Program> {
    let projection = &config.projection;
    let environment = vec![
        ("LEDGER__PROJECTION__REBUILD_LEASE_TTL_MS", projection.rebuild_lease_ttl_ms.to_string()),
        ("LEDGER__PROJECTION__REBUILD_MAX_RANGE_EVENTS", projection.rebuild_max_range_events.to_string()),
        ("LEDGER__PROJECTION__REBUILD_MAX_RANGES_AT_ONCE", projection.rebuild_max_ranges_at_once.to_string()),
        ("LEDGER__PROJECTION__REBUILD_MAX_BUSY_PERCENT", projection.rebuild_max_busy_percent.to_string()),
    ];
    Ok(Program { path: std::env::current_exe()?, environment, kills })
}

async fn whole_orders(config: &Config, args: &BenchArgs, orders: usize) -> anyhow::Result<Report> {
    let instance = Instance::find(config.data_dir()).ok_or_else(|| {
        anyhow::anyhow!("no instance runs on {}: start `order-ledger up`", config.data_dir().display())
    })?;
    let bench = OrdersBench { http: instance.http, token: instance.admin_token, callers: args.callers, orders };
    bench.run(&instance.database_url).await
}
