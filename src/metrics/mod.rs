//! `/metrics` of a role, and of a whole instance: under `up`, `serve` answers for all roles.

mod merge;
mod names;

pub use names::consumers_of;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use futures_util::future::join_all;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const PEER_TIMEOUT: Duration = Duration::from_secs(2);
/// Seconds. From a cached decision to a broker that was away.
const DURATION_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Installs the recorder and registers every name, so that each is there from the start; `groups` is what the consumer
/// groups are called.
pub fn install(groups: &str) -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &DURATION_BUCKETS)
        .context("metric buckets")?
        .install_recorder()
        .context("metrics recorder")?;
    names::register(groups);
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

/// This role's metrics and those of its peers as one text. A peer that does not answer is left out.
pub async fn render_all(handle: &PrometheusHandle, client: &reqwest::Client, peers: &[String]) -> String {
    let fetch = |url: &String| {
        let request = client.get(url).timeout(PEER_TIMEOUT).send();
        async move { request.await.ok()?.error_for_status().ok()?.text().await.ok() }
    };
    let mut texts = vec![handle.render()];
    texts.extend(join_all(peers.iter().map(fetch)).await.into_iter().flatten());
    merge::merge(&texts)
}
