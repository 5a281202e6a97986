//! One order is one trace, over all processes that it went through.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AttributeValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::{Value, json};
use support::Instance;
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(60);
const TICKET_TYPE: i64 = 2001;
const ROLES: [&str; 4] = ["serve", "relay", "process", "project"];

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
    taken: Taken,
}

#[derive(Clone, Default)]
struct Taken {
    spans: Arc<Mutex<Vec<Span>>>,
    /// It takes nothing any more, also over connections that are open.
    is_away: Arc<AtomicBool>,
}

impl Collector {
    async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taken = Taken::default();
        let routes = Router::new().route("/v1/traces", post(take)).with_state(taken.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Collector { url, taken }
    }

    fn of_trace(&self, trace: &str) -> Vec<Span> {
        self.taken.spans.lock().unwrap().iter().filter(|span| span.trace == trace).cloned().collect()
    }
}

async fn take(State(taken): State<Taken>, body: Bytes) -> StatusCode {
    if taken.is_away.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in request.resource_spans {
        let of_resource = resource.resource.unwrap_or_default().attributes;
        let service = texts(of_resource).remove("service.name").unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            taken.spans.lock().unwrap().push(Span {
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
    StatusCode::OK
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
    let counted = spans.iter().filter(|span| span.attributes.contains_key("messaging.batch.message_count"));
    assert_eq!(counted.count(), 0, "no span of this trace is a batch's");
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
    let lines_before = log_lines(&instance, "serve").len();
    let refused = refused_request(&instance, sampled).await;
    // Once a later one is told, nothing is still to be said of this one.
    let later = refused_request(&instance, unsampled).await;
    let lines = support::eventually("both refusals to be logged", SOON, || {
        let lines = log_lines(&instance, "serve").split_off(lines_before);
        lines.iter().any(|line| line["request_id"] == *later).then_some(lines)
    });
    let is_of_it = |line: &&Value| line.to_string().contains(&refused) || line.to_string().contains(sampled);
    let of_it: Vec<&Value> = lines.iter().filter(is_of_it).collect();
    let [line] = of_it[..] else { panic!("{of_it:#?}") };
    assert_eq!((line["trace_id"].as_str(), line["message"].as_str()), (Some(sampled), Some("request refused")));
    assert!(lines.iter().all(|line| line["level"] == "INFO"), "nor is it told in other words: {lines:#?}");

    // Without the collector everything goes on, with one line of each process.
    let told = || {
        let is_told = |line: &Value| line["message"].to_string().contains("the trace collector does not take spans");
        ROLES.map(|role| log_lines(&instance, role).into_iter().filter(is_told).count())
    };
    let told_before = told();
    collector.taken.is_away.store(true, Ordering::SeqCst);
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
    let told_since: Vec<usize> = told().iter().zip(told_before).map(|(now, before)| now - before).collect();
    assert!(told_since.iter().all(|lines| *lines <= 1) && told_since.contains(&1), "of {ROLES:?}: {told_since:?}");
}

#[test]
fn a_role_that_can_t_go_on_says_so_in_one_line_of_the_format_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let said = |format: &str| {
        let output = Command::new(support::binary())
            .args(["relay", "--data-dir", directory.path().to_str().unwrap()])
            .env("LEDGER__LOG__FORMAT", format)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };

    let json = said("json");
    let line: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!((&line["level"], &line["role"]), (&json!("ERROR"), &json!("relay")), "{json}");
    assert!(line["error"].as_str().unwrap().contains("LEDGER__DATABASE__URL"), "{json}");

    let text = said("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(" ERROR ") && text.contains("LEDGER__DATABASE__URL"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours in a file: {text}");
}

async fn until_all_are_there(collector: &Collector, trace: &str, hops: &[(&str, &str, SpanKind)]) -> Vec<Span> {
    let deadline = Instant::now() + SOON;
    loop {
        let spans = collector.of_trace(trace);
        let of = |hop: usize| spans.iter().filter(move |span| span.service == hops[hop].0 && span.name == hops[hop].1);
        // One of the same name may be there already, that is below another.
        let is_there = |hop: usize| match hop.checked_sub(1) {
            Some(before) => of(hop).any(|span| of(before).any(|parent| parent.id == span.parent)),
            None => of(hop).next().is_some(),
        };
        let missing: Vec<_> = (0..hops.len()).filter(|hop| !is_there(*hop)).map(|hop| hops[hop]).collect();
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

/// An order for what is not on sale; gives the request's id.
async fn refused_request(instance: &Instance, trace: &str) -> String {
    let answer = post_order(instance, 9_999, &format!("00-{trace}-00f067aa0ba902b7-01")).await;
    assert!(answer.status().is_client_error(), "{answer:?}");
    answer.headers()["x-request-id"].to_str().unwrap().to_owned()
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

/// What a role has logged, each line of it JSON; one that is being written at this moment is left out.
fn log_lines(instance: &Instance, role: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(instance.data_dir().join(format!("logs/{role}.log"))).unwrap();
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{role}: {error}: {line}"));
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(read).collect()
}
