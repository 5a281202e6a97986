//! `/metrics` of a role, and of a whole instance: under `up`, `serve` answers for all roles.

pub mod broker;
mod merge;
mod names;

pub use names::{consumers_of, watched_consumers};

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use futures_util::future::join_all;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

const PEER_TIMEOUT: Duration = Duration::from_secs(2);
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

/// The other roles' metrics, by their addresses.
///
/// Of one that does not answer the gauges are unknown, and the counters stay where they were: without them the sums would
/// fall, which looks like a restart, and jump when it is back, which looks like a burst.
pub struct Peers {
    client: reqwest::Client,
    last: Vec<(String, Mutex<String>)>,
}

impl Peers {
    pub fn new(urls: Vec<String>) -> Self {
        Self { client: reqwest::Client::new(), last: urls.into_iter().map(|url| (url, Mutex::default())).collect() }
    }

    /// This role's metrics and those of its peers as one text.
    pub async fn render_with(&self, handle: &PrometheusHandle) -> String {
        let mut texts = vec![handle.render()];
        texts.extend(join_all(self.last.iter().map(|(url, last)| self.text(url, last))).await);
        merge::merge(&texts)
    }

    async fn text(&self, url: &str, last: &Mutex<String>) -> String {
        match self.fetch(url).await {
            Some(text) => {
                last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&text);
                text
            }
            None => merge::without_gauges(&last.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    async fn fetch(&self, url: &str) -> Option<String> {
        let answer = self.client.get(url).timeout(PEER_TIMEOUT).send().await.ok()?;
        answer.error_for_status().ok()?.text().await.ok()
    }
}
