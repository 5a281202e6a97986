//! `[tracing]`: spans of what an order goes through, to an OpenTelemetry collector.

use serde::{Deserialize, Serialize};

use super::bounds::{between, invalid};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracingSection {
    /// Base URL of the collector's OTLP/HTTP receiver, such as `http://collector:4318`; none: no traces, at no cost.
    pub otlp_endpoint: Option<String>,
    /// Of the traces that begin here, so many are recorded; one that comes with a request is, if its caller says so.
    pub sample_ratio: f64,
    /// Spans that wait for the collector; further ones are dropped and counted.
    pub max_queue_spans: usize,
    /// Spans sent at once.
    pub max_batch_spans: usize,
    /// How long spans are collected before they are sent.
    pub export_interval_ms: u64,
    /// A collector that has not answered by then has failed; its spans are dropped and counted.
    pub export_timeout_ms: u64,
}

impl Default for TracingSection {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            sample_ratio: 1.0,
            max_queue_spans: 8_192,
            max_batch_spans: 512,
            export_interval_ms: 1_000,
            export_timeout_ms: 5_000,
        }
    }
}

impl TracingSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if self.otlp_endpoint.as_ref().is_some_and(|url| !is_url(url)) {
            return Err(invalid("tracing.otlp_endpoint", "must start with http:// or https://"));
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(invalid("tracing.sample_ratio", "must be between 0 and 1"));
        }
        between("tracing.max_queue_spans", self.max_queue_spans as u64, 1, 1_000_000)?;
        between("tracing.max_batch_spans", self.max_batch_spans as u64, 1, 10_000)?;
        between("tracing.export_interval_ms", self.export_interval_ms, 1, 60_000)?;
        between("tracing.export_timeout_ms", self.export_timeout_ms, 1, 60_000)
    }
}
