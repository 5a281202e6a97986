//! `/metrics` of a role, and of a whole instance: under `up`, `serve` answers for all roles.

pub mod broker;
mod merge;
mod names;
mod peers;

pub use names::{consumers_of, watched_consumers};
pub use peers::Peers;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Seconds. From a cached decision to a broker that was away.
const DURATION_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Installs the recorder and registers every name, so that each is there from the start.
pub fn install(config: &Config) -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &DURATION_BUCKETS)
        .context("metric buckets")?
        .install_recorder()
        .context("metrics recorder")?;
    names::register(config);
    Ok(handle)
}

/// Serves `/metrics` and `/livez` until shutdown.
pub async fn serve(
    listen: Option<SocketAddr>,
    handle: PrometheusHandle,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen} (metrics.listen)"))?;
    tracing::info!(address = %listener.local_addr()?, "metrics are served");
    let render = move || {
        let handle = handle.clone();
        async move { handle.render() }
    };
    let router = Router::new().route("/metrics", get(render)).route("/livez", get(|| async { "ok" }));
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await?;
    Ok(())
}
