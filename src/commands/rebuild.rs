//! `order-ledger rebuild`: builds read models anew beside the ones that are shown, compares, and swaps. Works on the database,
//! so it needs no running instance; a rebuild that is left behind is gone on with by the next, or by `project`.

mod bars;
mod told;

use anyhow::Context;
use clap::Args;
use processors::audit;
use projections::rebuild::{self, Claim, last, last_of_all, resume_or_request};
use projections::{NAMES, ProjectionError, Rebuild, RebuildConfig, RebuildState, Rebuilder, lag};
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{pool, rebuild_config, runtime};
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::roles::cancel_on_signal;
use bars::Bars;

/// How the record of actions names who did something from here: who may run this has the database anyway.
const ACTOR: &str = "cli";

#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// orders, stock, notifications, sagas.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All of them, side by side.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Build and compare, say which rows differ, and show nothing of it. Exits 1 when any does.
    #[arg(long)]
    dry_run: bool,
    /// Show the version again that was shown before the last rebuild.
    #[arg(long, conflicts_with_all = ["dry_run", "status"])]
    rollback: bool,
    /// Say what is shown and how the last rebuilds went, or how far they are.
    #[arg(long, conflicts_with = "dry_run")]
    status: bool,
    /// How much of the time it works, instead of `projection.rebuild_max_busy_percent`: more is sooner over, and slower for
    /// those who look meanwhile.
    #[arg(long, value_name = "1-100", value_parser = clap::value_parser!(u32).range(1..=100), conflicts_with_all = ["rollback", "status"])]
    busy_percent: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(config: Config, args: RebuildArgs) -> Outcome {
    let names = names(&args)?;
    runtime()?.block_on(async {
        let pool = pool(&config).await?;
        if args.status {
            return status(&pool, &names, args.json).await;
        }
        if args.rollback {
            return rollback(&pool, &names, args.json).await;
        }
        let configured = rebuild_config(&config);
        let max_busy_percent = args.busy_percent.unwrap_or(configured.max_busy_percent);
        let rebuilder = Rebuilder::new(pool.clone(), RebuildConfig { max_busy_percent, ..configured });
        build(&pool, &rebuilder, &names, &args).await
    })
}

fn names(args: &RebuildArgs) -> Result<Vec<&'static str>, Failure> {
    if args.all || (args.status && args.names.is_empty()) {
        return Ok(NAMES.to_vec());
    }
    let known = NAMES.join(", ");
    if args.names.is_empty() {
        return Err(Failure::Usage(format!("rebuild what? Name one or more of {known}, or use --all")));
    }
    let mut names = Vec::new();
    for wanted in &args.names {
        let found = NAMES.into_iter().find(|name| name == wanted);
        let name = found.ok_or_else(|| Failure::Usage(format!("there is no projection called {wanted}: {known}")))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

async fn status(pool: &PgPool, names: &[&str], json: bool) -> Outcome {
    let rebuilds = last_of_all(pool).await?;
    let shown: Vec<_> = lag(pool).await?.into_iter().filter(|lag| names.contains(&lag.name.as_str())).collect();
    let rebuild_of = |name: &str| rebuilds.iter().find(|rebuild| rebuild.name == name);
    if json {
        let items: Vec<_> = shown.iter().map(|lag| told::status_json(lag, rebuild_of(&lag.name))).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "items": items }))?);
        return Ok(());
    }
    for lag in &shown {
        println!("{}", told::status(lag, rebuild_of(&lag.name)));
    }
    Ok(())
}

async fn rollback(pool: &PgPool, names: &[&'static str], json: bool) -> Outcome {
    let mut shown = Vec::new();
    // All of them or none.
    let mut transaction = pool.begin().await?;
    for name in names {
        let version = rebuild::rollback(&mut transaction, name).await?;
        let detail = json!({ "version": version });
        let action = audit::Action { actor: ACTOR, action: "projection.rollback", subject: name, detail };
        audit::record(&mut *transaction, action).await?;
        shown.push((name, version));
    }
    transaction.commit().await?;
    if json {
        let items: Vec<_> =
            shown.iter().map(|(name, version)| json!({ "name": name, "activeVersion": version })).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "items": items }))?);
    } else {
        shown.iter().for_each(|(name, version)| println!("{name}: version {version} is shown again"));
    }
    Ok(())
}

async fn build(pool: &PgPool, rebuilder: &Rebuilder, names: &[&'static str], args: &RebuildArgs) -> Outcome {
    let claims = claim_all(pool, rebuilder, names).await?;
    if let Err(refused) = request_all(pool, names, args.dry_run).await {
        release_all(rebuilder, claims).await?;
        return Err(refused.into());
    }
    let shutdown = CancellationToken::new();
    cancel_on_signal(shutdown.clone())?;
    let bars = Bars::default();
    let mut tasks = JoinSet::new();
    for (name, claim) in claims {
        let (rebuilder, shutdown) = (rebuilder.clone(), shutdown.clone());
        let bar = bars.add(name);
        tasks.spawn(async move {
            let outcome = rebuilder.carry_out(claim, &|rebuild| bar.show(rebuild), &shutdown).await;
            bar.finish();
            (name, outcome)
        });
    }
    let mut ended = tasks.join_all().await;
    ended.sort_by_key(|(name, _)| names.iter().position(|wanted| wanted == name));
    let (mut rebuilds, mut failures) = (Vec::new(), Vec::new());
    for (name, outcome) in ended {
        match outcome.with_context(|| stays(name)) {
            Ok(Some(rebuild)) => rebuilds.push(rebuild),
            Ok(None) => failures.push(anyhow::anyhow!("{name}: a newer program is rebuilding it")),
            Err(error) => failures.push(error),
        }
    }
    tell(&rebuilds, &failures, args)
}

/// All of them or none: a rebuild that runs elsewhere refuses the whole command, and nothing is changed.
async fn claim_all(
    pool: &PgPool,
    rebuilder: &Rebuilder,
    names: &[&'static str],
) -> anyhow::Result<Vec<(&'static str, Claim)>> {
    let mut claims = Vec::new();
    for name in names {
        match rebuilder.claim(name).await? {
            Some(claim) => claims.push((*name, claim)),
            None => {
                release_all(rebuilder, claims).await?;
                return Err(refusal(last(pool, name).await?, name));
            }
        }
    }
    Ok(claims)
}

async fn release_all(rebuilder: &Rebuilder, claims: Vec<(&'static str, Claim)>) -> anyhow::Result<()> {
    for (_, claim) in claims {
        rebuilder.release(claim).await?;
    }
    Ok(())
}

/// How far the one is that runs.
fn refusal(running: Option<Rebuild>, name: &str) -> anyhow::Error {
    let hint = "`order-ledger rebuild --status` tells how far it is; if its process died, it can be gone on with in some seconds";
    match running {
        Some(rebuild) if rebuild.is_open() => anyhow::Error::new(rebuild.runs()).context(hint),
        _ => anyhow::anyhow!("{name}: a rebuild is running already; {hint}"),
    }
}

/// All of them or none: one that was left behind may have been for something else.
async fn request_all(pool: &PgPool, names: &[&'static str], dry_run: bool) -> anyhow::Result<()> {
    let mut transaction = pool.begin().await?;
    let mut gone_on_with = Vec::new();
    for name in names {
        let requested = resume_or_request(&mut transaction, name, dry_run, ACTOR).await;
        let (rebuild, resumed) = requested.map_err(|refused| waits(refused, name))?;
        let detail =
            json!({ "version": rebuild.version, "dryRun": dry_run, "resumedAt": resumed.then_some(rebuild.position) });
        let action = audit::Action { actor: ACTOR, action: "projection.rebuild", subject: name, detail };
        audit::record(&mut *transaction, action).await?;
        if resumed {
            gone_on_with.push(rebuild);
        }
    }
    transaction.commit().await?;
    for Rebuild { name, position, version, .. } in gone_on_with {
        eprintln!("{name}: going on at position {position} with version {version}");
    }
    Ok(())
}

/// Nobody works on it: its lease is ours.
fn waits(refused: ProjectionError, name: &str) -> anyhow::Error {
    let ProjectionError::RebuildRuns { dry_run, .. } = &refused else { return refused.into() };
    let option = if *dry_run { " --dry-run" } else { "" };
    let hint = format!("nobody works on it, `order-ledger rebuild {name}{option}` goes on with it");
    anyhow::Error::new(refused).context(hint)
}

/// What went well first.
fn tell(rebuilds: &[Rebuild], failures: &[anyhow::Error], args: &RebuildArgs) -> Outcome {
    if args.json {
        let items: Vec<_> = rebuilds.iter().map(told::json).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "items": items }))?);
    } else {
        rebuilds.iter().for_each(|rebuild| println!("{}", told::ended(rebuild)));
    }
    let is_good = |rebuild: &Rebuild| {
        rebuild.state == RebuildState::Done && !(rebuild.dry_run && rebuild.unchanged() == Some(false))
    };
    failures.iter().for_each(|failure| eprintln!("order-ledger: {failure:#}"));
    if failures.is_empty() && rebuilds.iter().all(is_good) { Ok(()) } else { Err(Failure::Told) }
}

fn stays(name: &str) -> String {
    format!("{name}: what is built so far is kept, `order-ledger rebuild {name}` goes on with it")
}
