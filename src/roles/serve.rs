//! `order-ledger serve`: the REST interface, and the sandbox payment provider where no other one is configured.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api::auth::TokenKey;
use api::{ApiConfig, ApiParts, ApiState, ConsumerGroup, MetricsText, RateLimit};
use domain::Mode;
use event_store::Ledger;
use messaging::{Topic, consumer_group};
use outbox_relay::RelayConfig;
use processors::provider::PaymentProvider;
use processors::sandbox::{self, Sandbox, SandboxConfig};
use rollout::{InstanceMode, Rollout, RolloutConfig, SampleConfig, Thresholds};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::parts::{processor_parts, redrive_handlers, stock_cache};
use super::payment::{callback_secret, provider, provider_api_key, result_callback_hosts};
use super::{Environment, missing, policy, public_url, run_role};
use crate::commands::{ledger_config, pool};
use crate::config::{self, Config};
use crate::exit::Outcome;
use crate::metrics::{Peers, consumers_of};

const SHUTDOWN_GRACE: Duration = Duration::from_secs(15);

pub fn run(config: Config) -> Outcome {
    run_role(config, "serve", |environment| async move { serve(environment).await })
}

async fn serve(environment: Environment) -> anyhow::Result<()> {
    let config = &environment.config;
    let listen = config.http.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: set LEDGER__HTTP__LISTEN to a free address"))?;
    let ledger = Ledger::start(environment.pool.clone(), ledger_config(config)).await?;
    let _outbox_lag = report_outbox_lag(&environment);
    let (rollout, watcher) = rollout::start(environment.pool.clone(), rollout_config(config)).await?;
    let state = ApiState::new(parts(&environment, ledger.clone(), rollout).await?, api_config(config)?)?;
    let watching = tokio::spawn(watcher.run(environment.shutdown.clone()));
    let mut router = api::router(state);
    let mut settling = None;
    if config.payment.provider_url.is_none() {
        let sandbox = sandbox(&environment)?;
        router = router.merge(sandbox::router(sandbox.clone()));
        settling = Some(tokio::spawn(sandbox.run(environment.shutdown.clone())));
    }
    tracing::info!(%listen, "the REST interface is served");
    api::serve(listener, router, SHUTDOWN_GRACE, environment.shutdown.clone()).await?;
    if let Some(settling) = settling {
        settling.await?;
    }
    watching.await?;
    ledger.close().await;
    Ok(())
}

/// The relay shows the same: where it hangs or is gone, somebody must still tell what waits for it.
fn report_outbox_lag(environment: &Environment) -> AbortOnDropHandle<()> {
    let every = Duration::from_millis(RelayConfig::default().lag_interval_ms);
    AbortOnDropHandle::new(tokio::spawn(outbox_relay::lag::report(environment.pool.clone(), every)))
}

async fn parts(environment: &Environment, ledger: Ledger, rollout: Rollout) -> anyhow::Result<ApiParts> {
    let config = &environment.config;
    let token_key = config.auth.token_key.as_ref().ok_or_else(|| missing("auth.token_key"))?;
    let provider = provider(&environment.config, &environment.pool)?;
    Ok(ApiParts {
        consumers: consumers(config, &ledger, provider.clone())?,
        ledger,
        queries: pool(config).await?,
        token_key: TokenKey::from_secret(token_key.as_bytes())?,
        payment_callback_secret: callback_secret(config)?,
        provider,
        rollout,
        broker: Some(environment.broker.clone()),
        stock_cache: stock_cache(environment)?,
        metrics_text: metrics_text(environment),
        shutdown: environment.shutdown.clone(),
    })
}

/// All consumers, for their lag, with what applies their dead letters after all.
fn consumers(
    config: &Config,
    ledger: &Ledger,
    provider: Arc<dyn PaymentProvider>,
) -> anyhow::Result<Vec<ConsumerGroup>> {
    let handlers = redrive_handlers(ledger, &processor_parts(config, provider)?);
    let group = |(name, topics): &(&'static str, &'static [Topic])| ConsumerGroup {
        name,
        group: consumer_group(&config.rocketmq.consumer.group, name),
        topics,
        handler: handlers.iter().find(|handler| handler.name() == *name).cloned(),
    };
    Ok(consumers_of(config).map(group).collect())
}

fn api_config(config: &Config) -> anyhow::Result<ApiConfig> {
    Ok(ApiConfig {
        max_body_bytes: config.http.max_body_bytes,
        request_timeout_ms: config.http.request_timeout_ms,
        max_in_flight_requests: config.http.max_concurrent_requests,
        rate_limit: rate_limit(config),
        max_update_streams: config.http.max_update_streams,
        update_heartbeat_ms: config.http.update_heartbeat_ms,
        max_past_events: i64::try_from(config.http.max_past_events).unwrap_or(i64::MAX),
        history_interval: Duration::from_secs(config.metrics.history_interval_seconds),
        saga_stuck_after_seconds: config.saga.stuck_after_seconds,
        max_quantity: config.order.max_quantity,
        policy: policy(config),
        result_callback_hosts: result_callback_hosts(config)?,
        sync_payment_wait_ms: config.payment.sync_wait_ms,
        max_waiting_payments: config.payment.max_sync_waits,
        ..ApiConfig::default()
    })
}

fn rollout_config(config: &Config) -> RolloutConfig {
    let rollout = &config.rollout;
    // Validated to be at most ten years, which fits.
    let milliseconds = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let defaults = RolloutConfig::default();
    RolloutConfig {
        poll_interval_ms: rollout.poll_interval_ms,
        instance: match rollout.instance_mode {
            config::InstanceMode::Policy => InstanceMode::Policy,
            config::InstanceMode::Async => InstanceMode::Always(Mode::Async),
            config::InstanceMode::Sync => InstanceMode::Always(Mode::Sync),
        },
        thresholds: Thresholds {
            outbox_age_limit_ms: milliseconds(rollout.outbox_age_limit_seconds),
            recover_after_ms: milliseconds(rollout.recover_after_seconds),
            ..defaults.thresholds
        },
        samples: SampleConfig { max_kept_orders: rollout.max_sampled_orders, ..defaults.samples },
    }
}

fn rate_limit(config: &Config) -> Option<RateLimit> {
    let requests_per_second = config.http.rate_limit_per_second?;
    Some(RateLimit { requests_per_second, burst_requests: config.http.rate_limit_burst })
}

fn sandbox(environment: &Environment) -> anyhow::Result<Sandbox> {
    let config = &environment.config;
    let sandbox = SandboxConfig {
        settle_delay_ms: config.payment.sandbox.delay_ms,
        ..SandboxConfig::new(callback_url(config), callback_secret(config)?, provider_api_key(config)?)
    };
    Ok(Sandbox::new(environment.pool.clone(), sandbox)?)
}

fn metrics_text(environment: &Environment) -> MetricsText {
    let handle = environment.metrics.clone();
    let peers = environment.config.metrics.peers.clone().unwrap_or_default();
    let urls = peers.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned);
    let peers = Arc::new(Peers::new(urls.collect()));
    Arc::new(move || {
        let (handle, peers) = (handle.clone(), peers.clone());
        Box::pin(async move { peers.render_with(&handle).await })
    })
}

fn callback_url(config: &Config) -> String {
    format!("{}/v1/payments/callback", public_url(config))
}
