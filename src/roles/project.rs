//! `order-ledger project`: keeps the read models and carries rebuilds out; of several instances one is active per read model.

use std::time::Duration;

use processors::audit;
use projections::{Checkpoints, ProjectionError, Projections, ProjectorConfig, Rebuilder, rebuild};
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use watch::{InvariantWatch, InvariantWatchConfig};

use super::{Environment, consumer_config, run_role};
use crate::commands::{pool, rebuild_config};
use crate::config::Config;
use crate::exit::Outcome;

/// Who asks for a rebuild that nobody asked for.
const ACTOR: &str = "system";

pub fn run(config: Config) -> Outcome {
    run_role(config, "project", |environment| async move {
        let projections = Projections {
            pool: environment.pool.clone(),
            broker: environment.broker.clone(),
            checkpoints: Checkpoints::new(environment.pool.clone()),
            config: projector_config(&environment.config),
            consumer: consumer_config(&environment.config),
        };
        let watching = watch_invariants(&environment);
        offer_rebuilds(&environment.pool, environment.config.projection.rebuild_automatically).await?;
        // Connections of their own: the projectors never wait for a rebuild's.
        let rebuilder = Rebuilder::new(pool(&environment.config).await?, rebuild_config(&environment.config));
        let work = async {
            tokio::join!(projections.run(environment.shutdown.clone()), rebuilder.attend(environment.shutdown.clone()));
            watching.join_all().await;
        };
        environment.beside_metrics(work).await
    })
}

/// What another version of the program built may show what this one would not: says so, or sees to it.
async fn offer_rebuilds(pool: &PgPool, automatically: bool) -> anyhow::Result<()> {
    for name in rebuild::due(pool).await? {
        if !automatically {
            tracing::warn!(
                projection = %name,
                "another version of the program built this read model: run `order-ledger rebuild {name}`"
            );
            continue;
        }
        match request(pool, &name).await {
            Ok(version) => tracing::info!(projection = %name, version, "another version built it: rebuilding it"),
            // Another instance was first, or it was going on before.
            Err(ProjectionError::RebuildRuns { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn request(pool: &PgPool, name: &str) -> Result<i32, ProjectionError> {
    let mut transaction = pool.begin().await?;
    let requested = rebuild::request(&mut transaction, name, false, ACTOR).await?;
    let detail = json!({ "version": requested.version, "dryRun": false });
    let action = audit::Action { actor: ACTOR, action: "projection.rebuild", subject: name, detail };
    audit::record(&mut *transaction, action).await?;
    transaction.commit().await?;
    Ok(requested.version)
}

/// The invariants that are cheap to check, from time to time, in one of the instances.
fn watch_invariants(environment: &Environment) -> JoinSet<()> {
    let config = &environment.config.watch;
    let mut tasks = JoinSet::new();
    if config.invariants_interval_seconds > 0 {
        let watch = InvariantWatchConfig {
            interval: Duration::from_secs(config.invariants_interval_seconds),
            sampled_rows: config.invariants_sampled_rows.into(),
            ..InvariantWatchConfig::default()
        };
        tasks.spawn(InvariantWatch::new(environment.pool.clone(), watch).run(environment.shutdown.clone()));
    }
    tasks
}

fn projector_config(config: &Config) -> ProjectorConfig {
    ProjectorConfig {
        poll_interval: Duration::from_millis(config.projection.poll_interval_ms),
        max_events_per_batch: i64::try_from(config.projection.max_batch_events).unwrap_or(i64::MAX),
        ..ProjectorConfig::default()
    }
}
