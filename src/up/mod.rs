//! `order-ledger up`: everything on one machine, each role a process of its own, restarted when it dies.

pub mod broker;
mod lock;
mod ports;
mod postgres;
mod progress;
mod supervisor;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use api::auth::{Role, TokenKey, mint_token};
use domain::UserId;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::{migrate, pool, topics};
use crate::config::Config;
use crate::exit::Outcome;
use crate::instance::{Instance, Secrets};
use postgres::SupervisedPostgres;
use progress::Progress;
use supervisor::{ChildSpec, Supervisor};

/// How long a role may take to answer `/livez` before the start counts as failed.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
const ADMIN_USER: i64 = 1;
const ADMIN_TOKEN_TTL: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Runs until Ctrl-C or SIGTERM.
pub fn run(config: Config, config_file: Option<PathBuf>) -> Outcome {
    // Children die with the thread that started them (PR_SET_PDEATHSIG), so all of them start on this one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run_until_stopped(config, config_file))?;
    Ok(())
}

async fn run_until_stopped(config: Config, config_file: Option<PathBuf>) -> anyhow::Result<()> {
    let data_dir = prepare_data_dir(config.data_dir())?;
    let _lock = lock::take(&data_dir)?;
    ports::check_free(config.http.listen)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut servers = Servers { postgres: None, processes: Supervisor::new(data_dir.join("logs"))? };
    let progress = Progress::start();

    let started = tokio::select! {
        started = start(&config, config_file.as_deref(), &data_dir, &mut servers, &progress) => started,
        _ = interrupt.recv() => Err(anyhow!("interrupted while starting")),
        _ = terminate.recv() => Err(anyhow!("terminated while starting")),
    };
    let instance = match started {
        Ok(instance) => instance,
        Err(error) => {
            progress.fail();
            servers.stop().await;
            Instance::withdraw(&data_dir);
            return Err(error);
        }
    };
    progress.finish();
    print_ready(&instance, &data_dir);
    if let Err(error) = print_due_rebuilds(&config, &instance).await {
        tracing::warn!(%error, "could not look whether read models are due for a rebuild");
    }

    tokio::select! {
        () = servers.watch(|pids| publish(&instance, pids, &data_dir)) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("stopping");
    servers.stop().await;
    Instance::withdraw(&data_dir);
    eprintln!("stopped; start again with the same data directory and everything is there");
    Ok(())
}

/// All that runs.
struct Servers {
    postgres: Option<SupervisedPostgres>,
    processes: Supervisor,
}

impl Servers {
    fn pids(&self) -> BTreeMap<String, u32> {
        let mut pids = self.processes.pids();
        if let Some(pid) = self.postgres.as_ref().and_then(SupervisedPostgres::pid) {
            pids.insert("postgres".to_owned(), pid);
        }
        pids
    }

    /// Restarts what dies and tells the new process ids. Never returns.
    async fn watch(&mut self, mut changed: impl FnMut(BTreeMap<String, u32>)) {
        let mut tick = tokio::time::interval(WATCH_INTERVAL);
        loop {
            tick.tick().await;
            let mut any_restarted = self.processes.step();
            if let Some(postgres) = &mut self.postgres {
                any_restarted |= postgres.step().await;
            }
            if any_restarted {
                changed(self.pids());
            }
        }
    }

    /// Postgres last: what the others finish must become durable.
    async fn stop(&mut self) {
        self.processes.stop_all().await;
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await;
        }
    }
}

fn prepare_data_dir(path: &Path) -> anyhow::Result<PathBuf> {
    let fail = || format!("data directory {} is not writable: set LEDGER__DATA_DIR to one that is", path.display());
    std::fs::create_dir_all(path).with_context(fail)?;
    let path = path.canonicalize().with_context(fail)?;
    let probe = path.join(".writable");
    std::fs::write(&probe, b"").with_context(fail)?;
    std::fs::remove_file(&probe).with_context(fail)?;
    Ok(path)
}

async fn start(
    config: &Config,
    config_file: Option<&Path>,
    data_dir: &Path,
    servers: &mut Servers,
    progress: &Progress,
) -> anyhow::Result<Instance> {
    let secrets = Secrets::find_or_make(data_dir)?;
    let secrets = Secrets {
        token_key: config.auth.token_key.clone().unwrap_or(secrets.token_key),
        payment_callback_secret: config.payment.callback_secret.clone().unwrap_or(secrets.payment_callback_secret),
    };

    progress.step("Postgres");
    let database_url = match &config.database.url {
        Some(url) => url.clone(),
        None => servers.postgres.insert(SupervisedPostgres::start(data_dir).await?).url(),
    };
    progress.step("RocketMQ");
    let name_server = match &config.rocketmq.name_server {
        Some(name_server) => name_server.clone(),
        None => broker::start(data_dir, &mut servers.processes).await?,
    };

    let mut effective = config.clone();
    effective.database.url = Some(database_url.clone());
    effective.rocketmq.name_server = Some(name_server.clone());
    progress.step("schema");
    migrate::migrate(&effective).await?;
    progress.step("topics");
    topics::create(&effective).await?;

    progress.step("roles");
    start_roles(config, config_file, data_dir, &database_url, &name_server, &secrets, &mut servers.processes).await?;

    let instance = Instance {
        http: format!("http://{}", config.http.listen),
        database_url,
        name_server,
        admin_token: admin_token(&secrets)?,
        payment_callback_secret: secrets.payment_callback_secret,
        pids: servers.pids(),
    };
    instance.publish(data_dir)?;
    Ok(instance)
}

/// Read models that another version of the program built may show what this one would not.
async fn print_due_rebuilds(config: &Config, instance: &Instance) -> anyhow::Result<()> {
    let mut effective = config.clone();
    effective.database.url = Some(instance.database_url.clone());
    let pool = pool(&effective).await?;
    let due = projections::rebuild::due(&pool).await?;
    pool.close().await;
    if due.is_empty() {
        return Ok(());
    }
    let names = due.join(" ");
    match config.projection.rebuild_automatically {
        true => println!("\nBuilt by another version of the program, and being rebuilt: {names}"),
        false => println!("\nBuilt by another version of the program: {names}. Run\n\n  order-ledger rebuild {names}"),
    }
    Ok(())
}

fn admin_token(secrets: &Secrets) -> anyhow::Result<String> {
    let key = TokenKey::from_secret(secrets.token_key.as_bytes())?;
    Ok(mint_token(&key, UserId::new(ADMIN_USER)?, &[Role::Admin], &[], ADMIN_TOKEN_TTL)?)
}

#[allow(clippy::too_many_arguments)] // what a role needs to know of the others, each once
async fn start_roles(
    config: &Config,
    config_file: Option<&Path>,
    data_dir: &Path,
    database_url: &str,
    name_server: &str,
    secrets: &Secrets,
    supervisor: &mut Supervisor,
) -> anyhow::Result<()> {
    let mut environment = BTreeMap::from([
        ("LEDGER__DATABASE__URL".to_owned(), database_url.to_owned()),
        ("LEDGER__ROCKETMQ__NAME_SERVER".to_owned(), name_server.to_owned()),
        ("LEDGER__DATA_DIR".to_owned(), data_dir.display().to_string()),
        ("LEDGER__HTTP__LISTEN".to_owned(), config.http.listen.to_string()),
        ("LEDGER__AUTH__TOKEN_KEY".to_owned(), secrets.token_key.clone()),
        ("LEDGER__PAYMENT__CALLBACK_SECRET".to_owned(), secrets.payment_callback_secret.clone()),
    ]);
    if let Some(file) = config_file {
        environment.insert("ORDER_LEDGER_CONFIG".to_owned(), file.canonicalize()?.display().to_string());
    }
    let mut listeners = BTreeMap::new();
    for role in ["relay", "process", "project"] {
        listeners.insert(role, format!("127.0.0.1:{}", ports::free()?));
    }
    let peers: Vec<String> = listeners.values().map(|address| format!("http://{address}/metrics")).collect();

    for role in ["serve", "relay", "process", "project"] {
        let mut environment = environment.clone();
        let health = match listeners.get(role) {
            Some(address) => {
                environment.insert("LEDGER__METRICS__LISTEN".to_owned(), address.clone());
                format!("http://{address}/livez")
            }
            None => {
                environment.insert("LEDGER__METRICS__PEERS".to_owned(), peers.join(","));
                format!("http://{}/livez", config.http.listen)
            }
        };
        supervisor.start(ChildSpec::role(role, environment)?, None)?;
        supervisor.expect_healthy(role, health);
    }
    supervisor.wait_until_healthy(READY_TIMEOUT).await
}

fn publish(instance: &Instance, pids: BTreeMap<String, u32>, data_dir: &Path) {
    let now = Instance { pids, ..instance.clone() };
    if let Err(error) = now.publish(data_dir) {
        tracing::warn!(error = %error, "up.json could not be replaced");
    }
}

fn print_ready(instance: &Instance, data_dir: &Path) {
    println!(
        "order-ledger is ready\n\n  REST       {http}\n  instance   {file}\n  Postgres   {database}\n  RocketMQ   {name_server}\n  logs       {logs}\n",
        http = instance.http,
        file = Instance::path(data_dir).display(),
        database = instance.database_url,
        name_server = instance.name_server,
        logs = data_dir.join("logs").display(),
    );
    println!(
        "Try:\n\n  TOKEN=$(grep -o '\"admin_token\": *\"[^\"]*' {file} | cut -d'\"' -f4)\n  curl -H \"Authorization: Bearer $TOKEN\" {http}/v1/admin/lag\n\nCtrl-C stops everything.",
        file = Instance::path(data_dir).display(),
        http = instance.http,
    );
}
