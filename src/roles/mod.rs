//! The long-running roles: each a process, each stopped by SIGTERM or Ctrl-C after finishing what it accepted.

pub mod parts;
pub mod payment;
pub mod process;
pub mod project;
pub mod relay;
pub mod serve;

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use messaging::{Broker, RuntimeConfig};
use metrics_exporter_prometheus::PrometheusHandle;
use processors::Policy;
use sqlx::PgPool;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::commands::{broker, pool, runtime};
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::traces::Traces;
use crate::{logging, metrics};

/// What every role works with.
struct Environment {
    config: Config,
    pool: PgPool,
    broker: Arc<dyn Broker>,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
}

/// Connects, runs the role until it is told to stop, and lets go of what it shares.
fn run_role<F, Work>(config: Config, role: &str, work: F) -> Outcome
where
    F: FnOnce(Environment) -> Work,
    Work: Future<Output = anyhow::Result<()>>,
{
    logging::take_panics();
    let outcome =
        runtime().map_err(Into::into).and_then(|runtime| runtime.block_on(connect_and_run(config, role, work)));
    outcome.map_err(|error| {
        // Where `log.filter` keeps this from the log, it is said as any command says it.
        if !tracing::enabled!(tracing::Level::ERROR) {
            return Failure::Failed(error);
        }
        tracing::error!(role, error = format!("{error:#}"), "the role can't go on");
        Failure::Told
    })
}

async fn connect_and_run<F, Work>(config: Config, role: &str, work: F) -> anyhow::Result<()>
where
    F: FnOnce(Environment) -> Work,
    Work: Future<Output = anyhow::Result<()>>,
{
    let shutdown = CancellationToken::new();
    cancel_on_signal(shutdown.clone())?;
    let metrics = metrics::install(&config)?;
    let traces = Traces::start(&config.tracing, role)?;
    let pool = pool(&config).await?;
    let broker = broker(&config)?;
    let environment = Environment { config, pool, broker: broker.clone(), metrics, shutdown };
    let outcome = work(environment).await;
    broker.close().await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    outcome
}

pub fn cancel_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        shutdown.cancel();
    });
    Ok(())
}

impl Environment {
    /// The work of a role that has no HTTP interface of its own, beside `/metrics`.
    async fn beside_metrics(&self, work: impl Future<Output = ()>) -> anyhow::Result<()> {
        let serving = metrics::serve(self.config.metrics.listen, self.metrics.clone(), self.shutdown.clone());
        let (served, ()) = tokio::join!(serving, work);
        served
    }

    /// Names this process among those of its kind, in leases.
    fn holder(&self, role: &str) -> String {
        format!("{role}-{}-{}", std::process::id(), uuid::Uuid::new_v4().simple())
    }
}

pub(crate) fn policy(config: &Config) -> Policy {
    // Validated to be at most ten years, which fits.
    let seconds = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Policy {
        order_expire_after_seconds: seconds(config.order.expire_after_seconds),
        lock_time_seconds: seconds(config.stock.lock_time_seconds),
        payment_expected_seconds: seconds(config.payment.expected_seconds),
        payment_query_after_seconds: seconds(config.payment.query_after_seconds),
        payment_give_up_after_seconds: seconds(config.payment.give_up_after_seconds),
        cancel_confirmed: config.order.cancel_confirmed,
    }
}

fn consumer_config(config: &Config) -> RuntimeConfig {
    RuntimeConfig {
        consumer_group: config.rocketmq.consumer.group.clone(),
        max_batch_messages: config.rocketmq.consumer.consume_message_batch_max_size,
        max_attempts: config.consumer.max_attempts,
        ..RuntimeConfig::default()
    }
}

/// Where the REST interface answers.
fn public_url(config: &Config) -> String {
    config.http.public_url.clone().unwrap_or_else(|| format!("http://{}", config.http.listen))
}

fn missing(key: &str) -> anyhow::Error {
    let variable = key.to_uppercase().replace('.', "__");
    anyhow!("configuration: {key} is missing: set LEDGER__{variable}, or start `order-ledger up`, which makes its own")
}
