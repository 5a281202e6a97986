//! One order is one trace, over all processes that it went through.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AttributeValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::{Value, json};
use support::Instance;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(60);
const TICKET_TYPE: i64 = 2001;

/// A span as the collector got it.
#[derive(Clone, Debug)]
struct Span {
    service: String,
    name: String,
    kind: i32,
    trace: String,
    id: String,
    parent: String,
    links: usize,
    attributes: HashMap<String, String>,
}

/// A collector: OTLP over HTTP, as far as traces go.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    serving: JoinHandle<()>,
}

impl Collector {
    async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::new(Mutex::new(Vec::new()));
        let routes = Router::new().route("/v1/traces", post(take)).with_state(spans.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Collector { url, spans, serving }
    }

    fn of_trace(&self, trace: &str) -> Vec<Span> {
        self.spans.lock().unwrap().iter().filter(|span| span.trace == trace).cloned().collect()
    }
}

async fn take(State(spans): State<Arc<Mutex<Vec<Span>>>>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in request.resource_spans {
        let of_resource = resource.resource.unwrap_or_default().attributes;
        let service = texts(of_resource).remove("service.name").unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.lock().unwrap().push(Span {
                service: service.clone(),
                name: span.name,
                kind: span.kind,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span.links.len(),
                attributes: texts(span.attributes),
            });
        }
    }
}

fn texts(attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>) -> HashMap<String, String> {
    let text = |value: AttributeValue| match value {
        AttributeValue::StringValue(text) => text,
        AttributeValue::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().filter_map(|pair| Some((pair.key, text(pair.value?.value?)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_is_one_trace_from_the_request_to_the_read_model() {
    let collector = Collector::start().await;
    let instance = Instance::start(&[
        ("LEDGER__TRACING__OTLP_ENDPOINT", &collector.url),
        ("LEDGER__TRACING__EXPORT_INTERVAL_MS", "100"),
        ("LEDGER__TRACING__EXPORT_TIMEOUT_MS", "2000"),
        ("LEDGER__LOG__FORMAT", "json"),
    ]);
    let client = instance.client();
    client.put_on_sale(TICKET_TYPE, 100).await;

    // A trace begins with the request.
    let order = client.place(12345, TICKET_TYPE, 1).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    let traceparent = traceparent_of(&instance, &order);
    let trace = traceparent.split('-').nth(1).unwrap().to_owned();
    let hops = [
        ("order-ledger-serve", "POST /v1/orders", SpanKind::Server),
        ("order-ledger-relay", "send order-create", SpanKind::Producer),
        ("order-ledger-process", "process order-create", SpanKind::Consumer),
        ("order-ledger-relay", "send stock-lock", SpanKind::Producer),
        ("order-ledger-process", "process stock-lock", SpanKind::Consumer),
        ("order-ledger-relay", "send order-status-update", SpanKind::Producer),
        ("order-ledger-project", "process order-status-update", SpanKind::Consumer),
        ("order-ledger-project", "apply orders", SpanKind::Client),
    ];
    let spans = until_all_are_there(&collector, &trace, &hops).await;
    let of = |hop: usize| spans.iter().filter(move |span| span.service == hops[hop].0 && span.name == hops[hop].1);
    for (hop, (_, name, kind)) in hops.iter().enumerate() {
        assert!(of(hop).all(|span| span.kind == *kind as i32), "{name}");
        if hop > 0 {
            let is_below = of(hop).any(|span| of(hop - 1).any(|parent| parent.id == span.parent));
            assert!(is_below, "{name} is below {}: {spans:#?}", hops[hop - 1].1);
        }
    }
    let request = of(0).next().unwrap();
    assert_eq!((request.parent.as_str(), request.id.as_str()), ("", traceparent.split('-').nth(2).unwrap()));
    assert_eq!(request.attributes["http.route"], "/v1/orders");
    assert_eq!(request.attributes["http.response.status_code"], "202");
    let append = spans.iter().find(|span| span.name == "append" && span.parent == request.id).unwrap();
    assert_eq!(append.attributes["db.system.name"], "postgresql");
    let process = of(2).next().unwrap();
    assert_eq!(process.attributes["messaging.system"], "rocketmq");
    assert_eq!(process.attributes["messaging.destination.name"], "order-create");
    assert_eq!(process.attributes["messaging.consumer.group.name"], "ticket-consumer-group-order");
    assert_eq!(process.attributes["messaging.operation.type"], "process");
    assert!(process.attributes["messaging.message.id"].len() == 36);
    let named: Vec<String> = spans.iter().map(|span| format!("{span:?}")).collect();
    assert!(!named.iter().any(|span| span.contains("12345")), "no user's content: {named:#?}");
    assert!(spans.iter().filter(|span| span.name.starts_with("process ")).all(|span| span.links <= 1));

    // A caller's trace is gone on with, and one that is not sampled is left alone.
    let sampled = "4bf92f3577b34da6a3ce929d0e0e4736";
    let unsampled = "5bf92f3577b34da6a3ce929d0e0e4736";
    place_within(&instance, &format!("00-{unsampled}-00f067aa0ba902b7-00")).await;
    let order = place_within(&instance, &format!("00-{sampled}-00f067aa0ba902b7-01")).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    let spans = until_all_are_there(&collector, sampled, &hops).await;
    assert!(spans.iter().any(|span| span.name == "POST /v1/orders" && span.parent == "00f067aa0ba902b7"));
    assert!(collector.of_trace(unsampled).is_empty());

    // A failure is one line, which names the trace.
    let nothing_on_sale = post_order(&instance, 9_999, &format!("00-{sampled}-00f067aa0ba902b7-01")).await;
    assert!(nothing_on_sale.status().is_client_error(), "{nothing_on_sale:?}");
    let refused = |line: &Value| line["message"] == "request refused" && line["route"] == "/v1/orders";
    let lines = support::eventually("the refusal to be logged", SOON, || {
        let lines: Vec<Value> = log_lines(&instance).into_iter().filter(refused).collect();
        (!lines.is_empty()).then_some(lines)
    });
    assert_eq!((lines.len(), lines[0]["trace_id"].as_str()), (1, Some(sampled)), "{lines:?}");

    // Without the collector everything goes on, with one line of each process.
    collector.serving.abort();
    for _ in 0..5 {
        let order = client.place(12345, TICKET_TYPE, 1).await;
        client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    }
    support::eventually("spans to be counted as dropped", SOON, || {
        let text = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(client.metrics()));
        let dropped = text.lines().find_map(|line| line.strip_prefix("ledger_trace_spans_dropped_total "))?;
        (dropped.parse::<f64>().unwrap() > 0.0).then_some(())
    });
    instance.assert_settled();
    let told = |line: &Value| line["message"].to_string().contains("the trace collector does not take spans");
    let lines = log_lines(&instance).into_iter().filter(told).count();
    assert!((1..=4).contains(&lines), "{lines} lines of four processes");
}

async fn until_all_are_there(collector: &Collector, trace: &str, hops: &[(&str, &str, SpanKind)]) -> Vec<Span> {
    let deadline = Instant::now() + SOON;
    loop {
        let spans = collector.of_trace(trace);
        let missing: Vec<_> = hops
            .iter()
            .filter(|(service, name, _)| !spans.iter().any(|span| span.service == *service && span.name == *name))
            .collect();
        if missing.is_empty() {
            return spans;
        }
        assert!(Instant::now() < deadline, "missing {missing:?} in {spans:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the order's first event says of where it came from.
fn traceparent_of(instance: &Instance, order: &str) -> String {
    let output = instance.run(&["events", "--stream", &format!("order-{order}"), "--limit", "1"]);
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    event["metadata"]["traceparent"].as_str().unwrap_or_else(|| panic!("{event}")).to_owned()
}

async fn place_within(instance: &Instance, traceparent: &str) -> String {
    let answer = post_order(instance, TICKET_TYPE, traceparent).await;
    assert_eq!(answer.status(), 202);
    answer.json::<Value>().await.unwrap()["orderId"].as_str().unwrap().to_owned()
}

async fn post_order(instance: &Instance, ticket_type: i64, traceparent: &str) -> reqwest::Response {
    let info = instance.info();
    let body = json!({"userId": 12345, "showId": 1001, "ticketTypeId": ticket_type, "quantity": 1});
    let request = reqwest::Client::new()
        .post(format!("{}/v1/orders", info["http"].as_str().unwrap()))
        .bearer_auth(info["admin_token"].as_str().unwrap())
        .header("idempotency-key", uuid::Uuid::new_v4().to_string())
        .header("traceparent", traceparent)
        .json(&body);
    request.send().await.unwrap()
}

/// What all processes have logged, as JSON; what is written at this moment is left out.
fn log_lines(instance: &Instance) -> Vec<Value> {
    let logs = std::fs::read_dir(instance.data_dir().join("logs")).unwrap().flatten();
    let texts = logs.map(|log| std::fs::read_to_string(log.path()).unwrap_or_default());
    texts.flat_map(|text| text.lines().flat_map(serde_json::from_str).collect::<Vec<Value>>()).collect()
}
