//! Health, metrics, the API's own description, and what no handler answers.

use std::collections::BTreeSet;

use api::RateLimit;
use serde_json::Value;

use crate::support::{Answer, Call, TestApi, USER, delete, get, post, put};

#[tokio::test]
async fn readiness_needs_postgres_and_its_schema_but_no_broker() {
    let api = TestApi::start().await;
    assert_eq!(api.call(get("/livez")).await.text, "ok");
    let ready = api.call(get("/readyz")).await;
    assert_eq!(ready.status, 200);
    assert_eq!(ready.text, r#"{"ready":true,"postgres":"up","migrations":"up","broker":"unknown"}"#);

    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 1").execute(&api.pool).await.unwrap();
    let not_migrated = api.call(get("/readyz")).await;
    assert_eq!(not_migrated.status, 503);
    assert_eq!(not_migrated.body["migrations"], "down");

    api.pool.close().await;
    let away = api.call(get("/readyz")).await;
    assert_eq!((away.status, away.body["postgres"].as_str()), (503, Some("down")));
}

#[tokio::test]
async fn a_query_without_its_database_is_503_and_tells_nothing_of_it() {
    let api = TestApi::start().await;
    api.pool.close().await;
    let answer = api.call(get("/v1/orders").user(USER)).await;
    assert_eq!(answer.problem(), (503, "unavailable", ""));
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!answer.text.to_lowercase().contains("pool"), "{}", answer.text);
}

#[tokio::test]
async fn a_query_that_fails_by_our_fault_is_500_and_tells_nothing_of_it() {
    let api = TestApi::start().await;
    sqlx::query("DROP VIEW read_models.orders").execute(&api.pool).await.unwrap();
    let answer = api.call(get("/v1/orders").user(USER)).await;
    assert_eq!(answer.problem(), (500, "internal_error", ""));
    assert!(!answer.text.contains("read_models"), "{}", answer.text);
}

#[tokio::test]
async fn metrics_are_text() {
    let api = TestApi::start().await;
    let metrics = api.call(get("/metrics")).await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert_eq!(metrics.text, "ledger_commands_total 0\n");
}

#[tokio::test]
async fn the_description_lists_every_call_that_is_served() {
    let api = TestApi::start().await;
    let document = api.call(get("/openapi.json")).await.body;
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let served: BTreeSet<(String, String)> =
        CALLS.iter().map(|(method, path)| (method.to_string(), path.to_string())).collect();
    assert_eq!(documented, served);

    for (method, path) in &documented {
        let response = api.respond(call(method, &path.replace("{", "").replace("}", "")).admin()).await;
        if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
            // It is served, and has no end.
            continue;
        }
        let answer = Answer::read(response).await;
        assert_ne!(answer.body["code"], "not_found", "{method} {path}");
        assert_ne!(answer.status, 405, "{method} {path}");
    }
}

#[tokio::test]
async fn the_description_documents_each_calls_errors_and_refers_to_nothing_that_is_not_there() {
    let api = TestApi::start().await;
    let document = api.call(get("/openapi.json")).await.body;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let protected = operation.get("security").is_none();
            assert_eq!(
                protected,
                operation["responses"].get("401").is_some() && path != "/v1/payments/callback",
                "{method} {path}"
            );
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{method} {path}");
        }
    }
    for reference in references(&document) {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

const CALLS: &[(&str, &str)] = &[
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("POST", "/v1/orders"),
    ("GET", "/v1/orders"),
    ("GET", "/v1/orders/{orderId}"),
    ("GET", "/v1/orders/{orderId}/events"),
    ("GET", "/v1/orders/{orderId}/timeline"),
    ("GET", "/v1/orders/{orderId}/updates"),
    ("POST", "/v1/orders/{orderId}/payments"),
    ("POST", "/v1/orders/{orderId}/cancel"),
    ("GET", "/v1/payments/{paymentId}"),
    ("POST", "/v1/payments/callback"),
    ("POST", "/v1/ticket-types"),
    ("GET", "/v1/ticket-types"),
    ("POST", "/v1/ticket-types/{ticketTypeId}/capacity"),
    ("GET", "/v1/ticket-types/{ticketTypeId}/stock"),
    ("GET", "/v1/users/{userId}/notifications"),
    ("GET", "/v1/users/{userId}/notifications/updates"),
    ("GET", "/v1/users/{userId}/contact"),
    ("PUT", "/v1/users/{userId}/contact"),
    ("GET", "/v1/admin/lag"),
    ("GET", "/v1/admin/events"),
    ("GET", "/v1/admin/history"),
    ("GET", "/v1/admin/updates"),
    ("GET", "/v1/admin/charts/{chart}"),
    ("GET", "/v1/admin/audit"),
    ("GET", "/v1/admin/parked"),
    ("POST", "/v1/admin/parked/{parkedId}/release"),
    ("POST", "/v1/admin/parked/{parkedId}/skip"),
    ("GET", "/v1/admin/projections"),
    ("POST", "/v1/admin/projections/{name}/rebuild"),
    ("POST", "/v1/admin/projections/{name}/rollback"),
    ("GET", "/v1/admin/rollout"),
    ("PUT", "/v1/admin/rollout"),
    ("GET", "/v1/admin/rollout/status"),
    ("GET", "/v1/admin/rollout/report"),
    ("GET", "/v1/admin/dead-letters"),
    ("GET", "/v1/admin/dead-letters/groups"),
    ("GET", "/v1/admin/dead-letters/{deadLetterId}"),
    ("DELETE", "/v1/admin/dead-letters/{deadLetterId}"),
    ("POST", "/v1/admin/dead-letters/{deadLetterId}/redrive"),
    ("GET", "/v1/admin/redrives"),
    ("POST", "/v1/admin/redrives"),
    ("GET", "/v1/admin/redrives/{redriveId}"),
    ("POST", "/v1/admin/redrives/{redriveId}/cancel"),
    ("GET", "/v1/admin/sagas"),
    ("POST", "/v1/admin/sagas/{orderId}/resolve"),
];

fn call(method: &str, path: &str) -> Call {
    match method {
        "GET" => get(path),
        "POST" => post(path),
        "PUT" => put(path),
        "DELETE" => delete(path),
        other => panic!("{other} {path}"),
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| match member {
                Value::String(reference) if name == "$ref" => vec![reference.clone()],
                other => references(other),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_and_says_which_are_right() {
    let api = TestApi::start().await;
    let answer = api.call(put("/v1/orders").user(USER)).await;
    assert_eq!(answer.problem(), (405, "method_not_allowed", ""));
    let allowed: BTreeSet<&str> = answer.header("allow").split(',').map(str::trim).collect();
    assert_eq!(allowed, BTreeSet::from(["GET", "HEAD", "POST"]));
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let api = TestApi::start().await;
    let (one, two) = (api.call(get("/livez")).await, api.call(get("/nowhere")).await);
    assert_ne!(one.header("x-request-id"), "");
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn a_user_over_the_rate_limit_is_told_when_to_come_back_and_others_are_not_held_up() {
    let config = api::ApiConfig {
        rate_limit: Some(RateLimit { requests_per_second: 1, burst_requests: 2 }),
        ..Default::default()
    };
    let api = TestApi::start_with(config).await;
    for _ in 0..2 {
        assert_eq!(api.call(get("/v1/orders").user(USER)).await.status, 200);
    }
    let limited = api.call(get("/v1/orders").user(USER)).await;
    assert_eq!(limited.problem(), (429, "rate_limited", ""));
    assert_eq!(limited.header("retry-after"), "1");
    assert_eq!(api.call(get("/v1/orders").user(USER + 1)).await.status, 200);
    assert_eq!(api.call(get("/livez")).await.status, 200);
}

#[tokio::test]
async fn more_requests_at_once_than_allowed_are_refused_at_once() {
    let config = api::ApiConfig { max_in_flight_requests: 1, ..Default::default() };
    let api = TestApi::start_with(config).await;
    let waiting = api.call(get("/v1/orders?waitFor=1000&timeoutMs=300").user(USER));
    let refused = async {
        tokio::task::yield_now().await;
        api.call(get("/v1/orders").user(USER)).await
    };
    let (waited, refused) = tokio::join!(waiting, refused);
    assert_eq!(waited.problem(), (503, "not_yet_visible", "waitFor"));
    assert_eq!(refused.problem(), (503, "overloaded", ""));
    assert_eq!(api.call(get("/v1/orders").user(USER)).await.status, 200);
}
