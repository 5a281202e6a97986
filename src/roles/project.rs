//! `order-ledger project`: keeps the read models; of several instances one is active per read model.

use std::time::Duration;

use projections::{Checkpoints, Projections, ProjectorConfig};

use super::{consumer_config, run_role};
use crate::config::Config;
use crate::exit::Outcome;

pub fn run(config: Config) -> Outcome {
    run_role(config, |environment| async move {
        let projections = Projections {
            pool: environment.pool.clone(),
            broker: environment.broker.clone(),
            checkpoints: Checkpoints::new(environment.pool.clone()),
            config: projector_config(&environment.config),
            consumer: consumer_config(&environment.config),
        };
        environment.beside_metrics(projections.run(environment.shutdown.clone())).await
    })
}

fn projector_config(config: &Config) -> ProjectorConfig {
    ProjectorConfig {
        poll_interval: Duration::from_millis(config.projection.poll_interval_ms),
        max_events_per_batch: i64::try_from(config.projection.max_batch_events).unwrap_or(i64::MAX),
        ..ProjectorConfig::default()
    }
}
