//! The command line. Every command that prints data takes `--json`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use figment::Figment;

use crate::config::Config;
use crate::exit::Outcome;
use crate::{commands, logging, roles, up};

/// An event-sourced order ledger with an outbox relay, for ticketing.
#[derive(Debug, Parser)]
#[command(name = "order-ledger", version, about, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub struct Global {
    /// TOML file with the configuration.
    #[arg(long, global = true, value_name = "FILE", env = "ORDER_LEDGER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where `up` keeps its state, and where the other commands find the instance.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the REST interface.
    #[arg(long, global = true, value_name = "ADDR")]
    pub listen: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything: Postgres, broker and all roles; prints where, and a first curl.
    Up,
    /// Run the REST interface.
    Serve,
    /// Run the outbox relay: one is active, further ones stand by.
    Relay,
    /// Run the processors.
    Process(ProcessArgs),
    /// Run the projections.
    Project,
    /// Bring the database schema up to date.
    Migrate,
    /// Create the topics on the broker, with 8 read and 8 write queues each.
    Topics(JsonArgs),
    /// Print a bearer token, valid for 24 hours.
    Token(TokenArgs),
    /// Print events as NDJSON.
    Events(commands::events::EventsArgs),
    /// Send messages of the past again, with the same ids: dry run first, limited in rate, resumable.
    Replay(commands::replay::ReplayArgs),
    /// Show how far the outbox, the consumers and the projections are behind.
    Lag(commands::lag::LagArgs),
    /// Build read models anew beside the ones that are shown, verify them, and swap.
    Rebuild(commands::rebuild::RebuildArgs),
    /// Which orders go through the broker: show, set, ramp up, compare.
    Rollout(commands::rollout::RolloutArgs),
    /// List the sagas of the orders, find those that are stuck, and decide about one.
    Sagas(SagasArgs),
    /// Messages that could not be applied: list, group by cause, show, redrive, discard.
    DeadLetters(commands::dead_letters::DeadLettersArgs),
    /// Check the invariants; exits 1 and names each violation.
    Verify(JsonArgs),
    /// Print the effective configuration, secrets masked.
    Config(JsonArgs),
    /// Load and comparison runs.
    Bench(commands::bench::BenchArgs),
    /// The embedded broker, as `up` runs it in a process of its own.
    #[command(hide = true)]
    EmbeddedBroker(up::broker::BrokerArgs),
}

#[derive(Debug, Clone, Copy, Args)]
pub struct JsonArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ProcessArgs {
    /// Only these processors: order, stock, payment, notification, sms, email, cache, deadlines, redrives. Default: all.
    #[arg(long = "role", value_delimiter = ',', value_name = "ROLE")]
    pub roles: Vec<String>,
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The user the token speaks for.
    #[arg(long)]
    pub user: i64,
    /// user, operator, auditor or admin; may be repeated.
    #[arg(long = "role", value_delimiter = ',', default_value = "user")]
    pub roles: Vec<String>,
    /// Rollout group; may be repeated.
    #[arg(long = "group", value_delimiter = ',')]
    pub groups: Vec<String>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SagasArgs {
    #[command(subcommand)]
    pub command: Option<SagasCommand>,
    /// running, stuck, completed or compensated. Default: all.
    #[arg(long)]
    pub status: Option<String>,
    /// Where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum SagasCommand {
    /// Try again what hangs, or have it count as done. Both are recorded.
    Resolve(ResolveSagaArgs),
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("action").required(true).args(["retry", "skip"])))]
pub struct ResolveSagaArgs {
    #[arg(value_name = "ORDER")]
    pub order_id: String,
    /// Apply the order's dead letters again, and ask again for what is to be undone.
    #[arg(long)]
    pub retry: bool,
    /// What is to be undone counts as done: tickets go back on sale, refunds are complete as `manual:<reason>`.
    #[arg(long, requires = "reason")]
    pub skip: bool,
    /// Why; goes into the ledger.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

impl Cli {
    pub fn run(self) -> Outcome {
        let config = self.global.load()?;
        logging::init(&config.log);
        match self.command {
            Command::Up => up::run(config, self.global.config),
            Command::Serve => roles::serve::run(config),
            Command::Relay => roles::relay::run(config),
            Command::Process(args) => roles::process::run(config, &args.roles),
            Command::Project => roles::project::run(config),
            Command::Migrate => commands::migrate::run(config),
            Command::Topics(args) => commands::topics::run(config, args.json),
            Command::Token(args) => commands::token::run(config, &args),
            Command::Events(args) => commands::events::run(config, &args),
            Command::Replay(args) => commands::replay::run(config, &args),
            Command::Lag(args) => commands::lag::run(config, &args),
            Command::Rebuild(args) => commands::rebuild::run(config, args),
            Command::Rollout(args) => commands::rollout::run(config, args),
            Command::Sagas(args) => commands::sagas::run(config, &args),
            Command::DeadLetters(args) => commands::dead_letters::run(config, args),
            Command::Verify(args) => commands::verify::run(config, args.json),
            Command::Config(args) => commands::config::run(&config, args.json),
            Command::Bench(args) => commands::bench::run(config, args),
            Command::EmbeddedBroker(args) => up::broker::run(args),
        }
    }
}

impl Global {
    fn load(&self) -> Result<Config, crate::exit::Failure> {
        Config::load(self.config.as_deref(), |mut figment: Figment| {
            if let Some(directory) = &self.data_dir {
                figment = figment.merge(("data_dir", directory));
            }
            if let Some(listen) = &self.listen {
                figment = figment.merge(("http.listen", listen));
            }
            figment
        })
    }
}
