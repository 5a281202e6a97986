//! `order-ledger process`: the consumers that decide, and the deadlines. Start several to scale out.

use std::time::Duration;

use api::{IDEMPOTENCY_SCOPE_PREFIX, WEBHOOK_SCOPE_PREFIX};
use event_store::Ledger;
use event_store::housekeeping::{self, KeyRetention};
use messaging::dead_letter::given_up::{GivenUpReader, TakenFor};
use messaging::dead_letter::redrives;
use messaging::dead_letter::redrives::runner::{RedriveConfig, RedriveRunner};
use messaging::{ConsumerRuntime, INBOX_SCOPE_PREFIX, RuntimeConfig, dead_letter, inbox};
use processors::commands::RefundRetries;
use processors::deadlines::{DeadlineConfig, DeadlineParts, DeadlineRunner};
use processors::handlers::{self, ProcessorParts, QUIET_ON_REPLAY};
use processors::payment_result;
use projections::{SagaWatch, SagaWatchConfig};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::parts::{processor_parts, redrive_handlers};
use super::payment::{provider, result_sender};
use super::{Environment, consumer_config, run_role};
use crate::commands::{ledger_config, pool};
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::metrics::consumers_of;

const DEADLINES: &str = "deadlines";
const REDRIVES: &str = "redrives";
const CACHE: &str = "cache";
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(600);
const FORGOTTEN_AT_ONCE: i64 = 50_000;

pub fn run(config: Config, roles: &[String]) -> Outcome {
    let known = |role: &str| [DEADLINES, REDRIVES].contains(&role) || handlers::NAMES.contains(&role);
    if let Some(unknown) = roles.iter().find(|role| !known(role)) {
        let names = handlers::NAMES.join(", ");
        return Err(Failure::Usage(format!("unknown role {unknown}: one of {names}, {DEADLINES}, {REDRIVES}")));
    }
    if config.cache.redis_url.is_none() && roles.iter().any(|role| role == CACHE) {
        let why = "role cache needs cache.redis_url: without it each `serve` keeps its own cache current";
        return Err(Failure::Usage(why.to_owned()));
    }
    run_role(config, "process", |environment| async move {
        let ledger = Ledger::start(environment.pool.clone(), ledger_config(&environment.config)).await?;
        let redrives = pool(&environment.config).await?;
        let work = process(&environment, &ledger, redrives, roles)?;
        environment.beside_metrics(work).await?;
        ledger.close().await;
        Ok(())
    })
}

/// Everything that was asked for, side by side, until shutdown. Redrives have a pool of their own: each of their keys holds a
/// connection while its handler takes others.
fn process(
    environment: &Environment,
    ledger: &Ledger,
    redrives: PgPool,
    roles: &[String],
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let config = &environment.config;
    let wanted = |name: &str| roles.is_empty() || roles.iter().any(|role| role == name);
    let mut tasks = JoinSet::new();

    let parts = ProcessorParts {
        // Side by side are the workers of the runtime, and each calls once at a time.
        max_concurrent_calls: 1,
        ..processor_parts(config, provider(config, &environment.pool)?)?
    };
    for name in handlers::NAMES.iter().filter(|name| wanted(name)) {
        let Some(handler) = handlers::handler(name, ledger, &parts) else { continue };
        let consumer = ConsumerRuntime::new(
            environment.broker.clone(),
            environment.pool.clone(),
            handler,
            runtime_config(config, name),
        );
        tasks.spawn(consumer.run(environment.shutdown.clone()));
    }
    if wanted(REDRIVES) {
        let runner = RedriveRunner::new(
            redrives,
            redrive_handlers(ledger, &parts),
            redrive_config(config),
            environment.holder("process"),
        );
        tasks.spawn(runner.run(environment.shutdown.clone()));
        tasks.spawn(given_up_reader(environment).run(environment.shutdown.clone()));
    }
    if wanted(DEADLINES) {
        let runner = DeadlineRunner::new(DeadlineParts {
            ledger: ledger.clone(),
            policy: parts.policy,
            provider: parts.provider,
            results: result_sender(config)?,
            config: deadline_config(config),
        });
        tasks.spawn(runner.run(environment.shutdown.clone()));
        let watch = SagaWatch::new(environment.pool.clone(), saga_watch_config(config));
        tasks.spawn(watch.run(environment.shutdown.clone()));
        tasks.spawn(keep_house(environment.pool.clone(), config.clone(), environment.shutdown.clone()));
    }
    Ok(async move {
        tasks.join_all().await;
    })
}

/// Processors that call others get the threads of the configuration; the rest submit to the ledger, where commands are
/// worked on together anyway.
fn runtime_config(config: &Config, name: &str) -> RuntimeConfig {
    let shared = consumer_config(config);
    if !["payment", "sms", "email"].contains(&name) {
        return shared;
    }
    let threads = &config.rocketmq.consumer;
    RuntimeConfig { min_workers: threads.consume_thread_min, max_workers: threads.consume_thread_max, ..shared }
}

/// One key at a time of each redrive, where the pool does not have more.
fn redrive_config(config: &Config) -> RedriveConfig {
    let defaults = RedriveConfig::default();
    let connections = usize::try_from(config.database.max_connections).unwrap_or(usize::MAX);
    let max_redrives = defaults.max_redrives.min(connections).max(1);
    let max_keys = config.consumer.redrive_keys_at_once.min((connections / max_redrives).saturating_sub(1)).max(1);
    RedriveConfig { max_redrives, max_keys, ..defaults }
}

fn given_up_reader(environment: &Environment) -> GivenUpReader {
    let config = &environment.config;
    let consumers = consumers_of(config)
        .map(|(consumer, topics)| TakenFor { consumer, topics, is_quiet_on_replay: QUIET_ON_REPLAY.contains(consumer) })
        .collect();
    GivenUpReader::new(
        environment.broker.clone(),
        environment.pool.clone(),
        &config.rocketmq.consumer.group,
        consumers,
        Duration::from_millis(config.consumer.given_up_interval_ms),
    )
}

fn deadline_config(config: &Config) -> DeadlineConfig {
    let defaults = DeadlineConfig::default();
    let refund_retries = RefundRetries {
        max_attempts: config.saga.max_compensation_attempts,
        first_pause_ms: config.saga.compensation_retry_ms,
        ..defaults.refund_retries
    };
    DeadlineConfig { refund_retries, ..defaults }
}

fn saga_watch_config(config: &Config) -> SagaWatchConfig {
    SagaWatchConfig {
        interval: Duration::from_millis(config.saga.watch_interval_ms),
        stuck_after: Duration::from_secs(config.saga.stuck_after_seconds),
        ..SagaWatchConfig::default()
    }
}

/// Forgets keys that nothing can be sent again under, and dead letters that were done with long ago.
async fn keep_house(pool: sqlx::PgPool, config: Config, shutdown: CancellationToken) {
    let inbox_retention = Duration::from_secs(config.ledger.inbox_retention_seconds);
    let dead_letter_retention = Duration::from_secs(config.consumer.dead_letter_retention_seconds);
    let sample_retention = Duration::from_secs(config.rollout.sample_retention_seconds);
    let retention = |scope_prefix: &str, keep_for| KeyRetention {
        scope_prefix: scope_prefix.to_owned(),
        keep_for,
        except: Vec::new(),
    };
    let retentions = [
        retention(IDEMPOTENCY_SCOPE_PREFIX, Duration::from_secs(config.ledger.idempotency_retention_seconds)),
        retention(WEBHOOK_SCOPE_PREFIX, inbox_retention),
    ];
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(HOUSEKEEPING_INTERVAL) => {}
        }
        if let Err(error) = housekeeping::forget_old_keys(&pool, &retentions).await {
            tracing::warn!(%error, "old keys stay for now");
        }
        if let Err(error) = forget_old_inbox_keys(&pool, inbox_retention).await {
            tracing::warn!(%error, "old inbox keys stay for now");
        }
        if let Err(error) = rollout::forget_older_than(&pool, sample_retention, FORGOTTEN_AT_ONCE).await {
            tracing::warn!(%error, "old samples of the rollout stay for now");
        }
        if let Err(error) = inbox::forget_older_than(&pool, inbox_retention, FORGOTTEN_AT_ONCE).await {
            tracing::warn!(%error, "old inbox rows stay for now");
        }
        if let Err(error) = dead_letter::forget_resolved(&pool, dead_letter_retention, FORGOTTEN_AT_ONCE).await {
            tracing::warn!(%error, "old dead letters stay for now");
        }
        if let Err(error) = redrives::forget_ended(&pool, dead_letter_retention, FORGOTTEN_AT_ONCE).await {
            tracing::warn!(%error, "old redrives stay for now");
        }
        if let Err(error) = payment_result::forget_older_than(&pool, inbox_retention, FORGOTTEN_AT_ONCE).await {
            tracing::warn!(%error, "old records of told results stay for now");
        }
    }
}

async fn forget_old_inbox_keys(pool: &sqlx::PgPool, keep_for: Duration) -> anyhow::Result<u64> {
    let retention =
        KeyRetention { scope_prefix: INBOX_SCOPE_PREFIX.to_owned(), keep_for, except: inbox::needed_keys(pool).await? };
    Ok(housekeeping::forget_old_keys(pool, &[retention]).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_keys_reach_the_consumers() {
        let mut config = Config::default();
        config.rocketmq.consumer.group = "shop-consumers".into();
        config.rocketmq.consumer.consume_thread_min = 3;
        config.rocketmq.consumer.consume_thread_max = 9;
        config.rocketmq.consumer.consume_message_batch_max_size = 77;

        let caller = runtime_config(&config, "payment");
        let decider = runtime_config(&config, "stock");

        assert_eq!((caller.min_workers, caller.max_workers), (3, 9));
        assert_eq!((decider.min_workers, decider.max_workers), (1, 1), "its commands are committed together anyway");
        for runtime in [caller, decider] {
            assert_eq!((runtime.consumer_group.as_str(), runtime.max_batch_messages), ("shop-consumers", 77));
        }
    }
}
