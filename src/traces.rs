//! Spans on their way to the collector: a bounded queue, and one task that sends what is in it. Nobody who does the work of the
//! ledger ever waits for it: what finds the queue full, or the collector away, is dropped and counted.

use std::time::Duration;

use anyhow::Context as _;
use event_store::span;
use metrics::{counter, describe_counter};
use opentelemetry::KeyValue;
use opentelemetry::global;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::TracingSection;

const EXPORTED: &str = "ledger_trace_spans_exported_total";
const DROPPED: &str = "ledger_trace_spans_dropped_total";

/// Has the series there from the start.
pub fn register_metrics() {
    describe_counter!(EXPORTED, "Spans the collector took");
    describe_counter!(DROPPED, "Spans lost: the queue was full, or the collector did not take them");
    counter!(EXPORTED).increment(0);
    counter!(DROPPED).increment(0);
}

/// The traces of this process, while it runs.
pub struct Traces {
    ending: CancellationToken,
    task: JoinHandle<()>,
    flush_timeout: Duration,
}

impl Traces {
    /// Turns spans on where a collector is configured. `role` is the last part of the service's name.
    pub fn start(config: &TracingSection, role: &str) -> anyhow::Result<Option<Traces>> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
        let timeout = Duration::from_millis(config.export_timeout_ms);
        let resource = Resource::builder()
            .with_service_name(format!("order-ledger-{role}"))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
            .build();
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(traces_url(endpoint))
            .with_timeout(timeout)
            .build()
            .context("configuration: tracing.otlp_endpoint")?;
        exporter.set_resource(&resource);
        let (queue, spans) = mpsc::channel(config.max_queue_spans);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio))))
            .with_span_processor(ToQueue { queue })
            .build();
        global::set_tracer_provider(provider);
        span::turn_on(global::tracer("order-ledger"));
        let ending = CancellationToken::new();
        let sender = Sender {
            exporter,
            spans,
            max_batch: config.max_batch_spans,
            interval: Duration::from_millis(config.export_interval_ms),
            timeout,
            is_failing: false,
        };
        let task = tokio::spawn(sender.run(ending.clone()));
        Ok(Some(Traces { ending, task, flush_timeout: timeout + Duration::from_secs(1) }))
    }

    /// Sends what is left, for as long as one export may take.
    pub async fn finish(self) {
        self.ending.cancel();
        // A collector that does not answer holds up no shutdown.
        let _ = tokio::time::timeout(self.flush_timeout, self.task).await;
    }
}

/// As the OTLP specification has it: the signal's path below the base.
fn traces_url(endpoint: &str) -> String {
    let base = endpoint.trim_end_matches('/');
    if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") }
}

#[derive(Debug)]
struct ToQueue {
    queue: mpsc::Sender<SpanData>,
}

impl SpanProcessor for ToQueue {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            counter!(DROPPED).increment(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

struct Sender {
    exporter: SpanExporter,
    spans: mpsc::Receiver<SpanData>,
    max_batch: usize,
    interval: Duration,
    timeout: Duration,
    is_failing: bool,
}

impl Sender {
    async fn run(mut self, ending: CancellationToken) {
        while !ending.is_cancelled() {
            tokio::select! {
                () = ending.cancelled() => {}
                () = tokio::time::sleep(self.interval) => {}
            }
            while self.spans.len() >= self.max_batch {
                self.send_batch().await;
            }
            self.send_batch().await;
        }
        // Those that ended while the rest was sent.
        while !self.spans.is_empty() {
            self.send_batch().await;
        }
    }

    async fn send_batch(&mut self) {
        if self.spans.is_empty() {
            return;
        }
        let mut batch = Vec::with_capacity(self.max_batch.min(self.spans.len()));
        self.spans.recv_many(&mut batch, self.max_batch).await;
        let spans = batch.len() as u64;
        let answer = tokio::time::timeout(self.timeout, self.exporter.export(batch)).await;
        let problem = match answer {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {:?}", self.timeout)),
        };
        match problem {
            None => {
                counter!(EXPORTED).increment(spans);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the trace collector takes spans again");
                }
            }
            Some(reason) => {
                counter!(DROPPED).increment(spans);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(reason, "the trace collector does not take spans: they are dropped until it does");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_signal_is_added_once() {
        for endpoint in ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"] {
            assert_eq!(traces_url(endpoint), "http://c:4318/v1/traces");
        }
    }
}
