//! Spans of messages, as OpenTelemetry's messaging conventions and those of RocketMQ have them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use event_store::span;
use messaging::telemetry::Sending;
use messaging::{SendError, Topic};
use opentelemetry::global;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use support::{World, outgoing};
use uuid::Uuid;

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Kept {
    fn take(&self, kind: SpanKind) -> Vec<SpanData> {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        all.into_iter().filter(|span| span.span_kind == kind).collect()
    }
}

fn attributes(span: &SpanData) -> BTreeMap<String, String> {
    span.attributes.iter().map(|pair| (pair.key.to_string(), pair.value.to_string())).collect()
}

fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let everywhere = [("messaging.system", "rocketmq"), ("messaging.rocketmq.namespace", "")];
    everywhere.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn spans_of_sends_of_messages_and_of_batches_say_what_the_conventions_want() {
    let kept = Kept::default();
    global::set_tracer_provider(SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build());
    span::turn_on(global::tracer("test"));
    let topic = Topic::OrderCreate.name();
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    let messages: Vec<_> = (1..).zip(ids).map(|(number, id)| outgoing(id, "0001", number)).collect();

    Sending::begin(topic, &messages).unwrap().end(Some(&SendError::Unavailable("away".to_owned())));
    let sends = kept.take(SpanKind::Producer);
    assert_eq!(sends.len(), 2, "one a message, of which none has a count");
    for (send, message) in sends.iter().zip(&messages) {
        assert_eq!(send.name, format!("send {topic}"));
        let wanted = expected(&[
            ("messaging.operation.name", "send"),
            ("messaging.operation.type", "send"),
            ("messaging.destination.name", topic),
            ("messaging.message.id", &message.message_id.to_string()),
            ("messaging.rocketmq.message.tag", &message.event_type),
            ("error.type", "unavailable"),
        ]);
        assert_eq!(attributes(send), wanted);
        assert!(matches!(send.status, Status::Error { .. }));
    }

    let mut world = World::new().await;
    for message in messages.clone() {
        world.send_message(message).await;
    }
    world.settle().await;
    let processing = kept.take(SpanKind::Consumer);
    assert!(processing.iter().all(|span| span.name == format!("process {topic}")), "{processing:#?}");
    let (batches, singles): (Vec<_>, Vec<_>) =
        processing.iter().partition(|span| attributes(span).contains_key("messaging.batch.message_count"));
    let [batch] = batches[..] else { panic!("{processing:#?}") };
    let group = attributes(batch)["messaging.consumer.group.name"].clone();
    let of_processing = [
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", topic),
        ("messaging.consumer.group.name", &group),
    ];
    let wanted = expected(&[&of_processing[..], &[("messaging.batch.message_count", "2")]].concat());
    assert_eq!(attributes(batch), wanted);
    assert_eq!(singles.len(), 2);
    for single in singles {
        let id = attributes(single)["messaging.message.id"].clone();
        assert!(ids.iter().any(|sent| sent.to_string() == id), "{id}");
        let of_message = [("messaging.message.id", id.as_str()), ("ledger.outcome", "applied")];
        assert_eq!(attributes(single), expected(&[&of_processing[..], &of_message].concat()));
        assert_eq!(single.links.len(), 1, "to its batch");
    }
}
