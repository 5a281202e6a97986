use std::sync::Arc;
use std::time::Duration;

use outbox_relay::health;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::cohort::InstanceMode;
use crate::error::RolloutError;
use crate::fallback::{self, Health, Thresholds};
use crate::in_force::{InForce, Rollout};
use crate::metric;
use crate::samples::{SampleConfig, Samples};
use crate::store::{self, CHANNEL, Stored};

/// How a process follows the rollout.
#[derive(Debug, Clone)]
pub struct RolloutConfig {
    /// The guarantee behind the notifications: no change takes longer to be noticed.
    pub poll_interval_ms: u64,
    pub instance: InstanceMode,
    pub thresholds: Thresholds,
    pub samples: SampleConfig,
}

impl Default for RolloutConfig {
    fn default() -> Self {
        Self {
            poll_interval_ms: 250,
            instance: InstanceMode::Policy,
            thresholds: Thresholds { outbox_age_limit_ms: 30_000, recover_after_ms: 10_000, silent_relay_ms: 5_000 },
            samples: SampleConfig::default(),
        }
    }
}

/// Keeps the [`Rollout`] of this process up to date.
pub struct Watcher {
    pool: PgPool,
    config: RolloutConfig,
    in_force: watch::Sender<Arc<InForce>>,
    samples: Arc<Samples>,
}

/// Reads the policy, so that the first request is taken by it and not by a guess.
pub async fn start(pool: PgPool, config: RolloutConfig) -> Result<(Rollout, Watcher), RolloutError> {
    let stored = store::load(&pool).await?;
    let (sender, receiver) = watch::channel(Arc::new(in_force(&stored, stored.fallback.is_active)));
    let samples = Arc::new(Samples::new(config.samples.clone()));
    let rollout = Rollout::new(receiver, config.instance, samples.clone());
    let mut watcher = Watcher { pool, config, in_force: sender, samples };
    watcher.step().await?;
    Ok((rollout, watcher))
}

impl Watcher {
    /// Follows the policy and writes samples until told to stop.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (pool, samples) = (self.pool.clone(), self.samples.clone());
        tokio::join!(self.follow(&shutdown), samples.write_until(&pool, &shutdown));
    }

    /// Looks once at the policy and at the broker, and switches if it must.
    pub async fn step(&mut self) -> Result<(), RolloutError> {
        let broker = async { health::observe(&self.pool).await.map_err(RolloutError::from) };
        let (stored, broker) = tokio::try_join!(store::load(&self.pool), broker)?;
        let thresholds = &self.config.thresholds;
        let health = Health::judge(&broker, thresholds);
        let next = fallback::next_move(stored.policy.fallback, health, &stored.fallback, thresholds);
        let is_fallback_active = fallback::make(&self.pool, next, &stored.fallback).await?;
        let in_force = in_force(&stored, is_fallback_active);
        metric::show(&in_force);
        self.in_force.send_if_modified(|known| {
            let is_news = **known != in_force;
            if is_news {
                *known = Arc::new(in_force);
            }
            is_news
        });
        Ok(())
    }

    async fn follow(&mut self, shutdown: &CancellationToken) {
        let changed = Arc::new(Notify::new());
        let _listening = listen(self.pool.clone(), Arc::clone(&changed));
        let poll_interval = Duration::from_millis(self.config.poll_interval_ms);
        let mut is_failing = false;
        while !shutdown.is_cancelled() {
            match self.step().await {
                Ok(()) => is_failing = false,
                // The last known policy stays in force: without the database no order is taken anyway.
                Err(error) if !std::mem::replace(&mut is_failing, true) => {
                    tracing::warn!(%error, "the rollout cannot be read; the last known policy stays in force");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = changed.notified() => {}
                () = tokio::time::sleep(poll_interval) => {}
            }
        }
    }
}

fn in_force(stored: &Stored, is_fallback_active: bool) -> InForce {
    InForce { policy: stored.policy.clone(), version: stored.version, is_fallback_active }
}

/// Polling is the guarantee, so a lost connection is no hurry.
const RECONNECT_WAIT: Duration = Duration::from_secs(1);

fn listen(pool: PgPool, changed: Arc<Notify>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            if let Err(error) = await_changes(&pool, &changed).await {
                tracing::debug!(%error, "cannot listen for changes of the rollout; polling goes on");
            }
            tokio::time::sleep(RECONNECT_WAIT).await;
        }
    }))
}

async fn await_changes(pool: &PgPool, changed: &Notify) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        listener.recv().await?;
        changed.notify_one();
    }
}
