//! Spans on their way to the collector: a bounded queue, and one task that sends what is in it. Nobody who does the work of the
//! ledger ever waits for it: what finds the queue full, or the collector away, is dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use event_store::span;
use metrics::{counter, describe_counter};
use opentelemetry::KeyValue;
use opentelemetry::global;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::{Notify, mpsc};
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
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(traces_url(endpoint))
            .with_timeout(timeout)
            .build()
            .context("configuration: tracing.otlp_endpoint")?;
        exporter.set_resource(&resource);
        let (queue, spans) = queue(config.max_queue_spans, config.max_batch_spans);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio))))
            .with_span_processor(queue)
            .build();
        global::set_tracer_provider(provider);
        span::turn_on(global::tracer("order-ledger"));
        let ending = CancellationToken::new();
        let sender = Sender {
            exporter,
            spans,
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
    max_batch: usize,
    batch_is_full: Arc<Notify>,
}

struct FromQueue {
    queue: mpsc::Receiver<SpanData>,
    max_batch: usize,
    batch_is_full: Arc<Notify>,
}

fn queue(max_spans: usize, max_batch: usize) -> (ToQueue, FromQueue) {
    let (sender, receiver) = mpsc::channel(max_spans);
    let batch_is_full = Arc::new(Notify::new());
    let ends = batch_is_full.clone();
    (ToQueue { queue: sender, max_batch, batch_is_full }, FromQueue { queue: receiver, max_batch, batch_is_full: ends })
}

impl SpanProcessor for ToQueue {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            counter!(DROPPED).increment(1);
        }
        if self.queue.max_capacity() - self.queue.capacity() >= self.max_batch {
            self.batch_is_full.notify_one();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

struct Sender<E> {
    exporter: E,
    spans: FromQueue,
    interval: Duration,
    timeout: Duration,
    is_failing: bool,
}

impl<E: SpanExporter> Sender<E> {
    async fn run(mut self, ending: CancellationToken) {
        while !ending.is_cancelled() {
            let is_time_for_all = tokio::select! {
                () = ending.cancelled() => true,
                () = self.spans.batch_is_full.notified() => false,
                () = tokio::time::sleep(self.interval) => true,
            };
            while self.spans.queue.len() >= self.spans.max_batch {
                self.send_batch().await;
            }
            if is_time_for_all {
                self.send_batch().await;
            }
        }
        // Those that ended while the rest was sent.
        while !self.spans.queue.is_empty() {
            self.send_batch().await;
        }
    }

    async fn send_batch(&mut self) {
        let FromQueue { queue, max_batch, .. } = &mut self.spans;
        if queue.is_empty() {
            return;
        }
        let mut batch = Vec::with_capacity(queue.len().min(*max_batch));
        queue.recv_many(&mut batch, *max_batch).await;
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
    #![allow(clippy::unwrap_used)]
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};

    use super::*;

    #[derive(Debug)]
    struct Counted(mpsc::UnboundedSender<usize>);

    impl SpanExporter for Counted {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.send(batch.len()).unwrap();
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_full_batch_leaves_at_once_and_the_rest_at_the_end() {
        let (to_queue, spans) = queue(100, 3);
        let (counted, mut batches) = mpsc::unbounded_channel();
        let hour = Duration::from_secs(3_600);
        let sender = Sender { exporter: Counted(counted), spans, interval: hour, timeout: hour, is_failing: false };
        let ending = CancellationToken::new();
        let sending = tokio::spawn(sender.run(ending.clone()));
        let provider = SdkTracerProvider::builder().with_span_processor(to_queue).build();
        let begin_and_end = |spans| (0..spans).for_each(|_| drop(provider.tracer("test").start("span")));

        begin_and_end(3);
        let sent = tokio::time::timeout(Duration::from_secs(30), batches.recv()).await;
        assert_eq!(sent.unwrap(), Some(3), "nobody waited for the hour");
        begin_and_end(2);
        ending.cancel();
        sending.await.unwrap();
        assert_eq!(batches.recv().await, Some(2));
    }

    #[test]
    fn the_path_of_the_signal_is_added_once() {
        for endpoint in ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"] {
            assert_eq!(traces_url(endpoint), "http://c:4318/v1/traces");
        }
    }
}
