//! The stream a console lives on: one measurement a second, shared.

use std::collections::HashSet;
use std::time::Duration;

use api::ApiConfig;
use api::auth::Role;
use axum::body::BodyDataStream;
use futures_util::StreamExt;
use serde_json::Value;

use crate::support::{TestApi, USER, get};

const PATIENCE: Duration = Duration::from_secs(20);

async fn open(api: &TestApi) -> BodyDataStream {
    let response = api.respond(get("/v1/admin/updates").role(9, Role::Auditor)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

/// The next event, and its data.
async fn next_event(stream: &mut BodyDataStream) -> (String, Value) {
    loop {
        let chunk =
            tokio::time::timeout(PATIENCE, stream.next()).await.expect("nothing came in time").unwrap().unwrap();
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if let (Some(event), Some(data)) = (field("event"), field("data")) {
            return (event.to_owned(), serde_json::from_str(data).unwrap());
        }
    }
}

/// The next measurement.
async fn measured(stream: &mut BodyDataStream) -> Value {
    let (event, data) = next_event(stream).await;
    assert_eq!(event, "measurement", "{data}");
    data
}

/// Waits for an event with which the condition holds.
async fn until(stream: &mut BodyDataStream, condition: impl Fn(&str, &Value) -> bool) -> Value {
    let looking = async {
        loop {
            let (event, data) = next_event(stream).await;
            if condition(&event, &data) {
                return data;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("the event that was waited for")
}

#[tokio::test]
async fn measurements_go_on_and_say_what_has_changed() {
    let api = TestApi::with_stock().await;
    let mut stream = open(&api).await;
    let before = measured(&mut stream).await;
    assert_eq!((&before["deadLetters"], &before["isFallingBack"]), (&0.into(), &false.into()), "{before}");
    api.place_order("one").await;
    sqlx::query(include_str!("admin/dead_letter.sql")).execute(&api.pool).await.unwrap();

    let head = api.events().await;
    let after = until(&mut stream, |_, next| next["lag"]["head"] == head && next["deadLetters"] == 1).await;
    assert_eq!(after["lag"]["outbox"]["pendingMessages"], 3, "stock-sync, order-create, order-status-update");
}

#[tokio::test]
async fn all_who_look_get_the_same_measurement() {
    let api = TestApi::start().await;
    let mut first = open(&api).await;
    measured(&mut first).await;
    let mut second = open(&api).await;
    let (mut to_first, mut to_second) = (HashSet::new(), HashSet::new());
    let shared = async {
        // One of them may be a measurement ahead.
        while to_first.is_disjoint(&to_second) {
            let (one, other) = tokio::join!(measured(&mut first), measured(&mut second));
            to_first.insert(one["at"].to_string());
            to_second.insert(other["at"].to_string());
        }
    };
    tokio::time::timeout(PATIENCE, shared).await.expect("a measurement that both get");
}

#[tokio::test]
async fn what_was_measured_for_others_is_not_told_twice() {
    let api = TestApi::start().await;
    let mut stream = open(&api).await;
    let mut told = HashSet::new();
    for _ in 0..4 {
        let next = measured(&mut stream).await;
        assert!(told.insert(next["at"].to_string()), "{next}");
        // So that the next measurement is one that somebody else had made.
        api.call(get("/v1/admin/lag").admin()).await;
    }
}

#[tokio::test]
async fn where_nothing_can_be_measured_everybody_is_told_and_nobody_gets_what_is_old() {
    let api = TestApi::start().await;
    let mut stream = open(&api).await;
    measured(&mut stream).await;
    api.pool.close().await;
    let unavailable = until(&mut stream, |event, _| event == "unavailable").await;
    assert_eq!(unavailable["code"], "unavailable", "{unavailable}");
    assert!(unavailable["lastAt"].is_string(), "since when: {unavailable}");
    let (event, told) = next_event(&mut open(&api).await).await;
    assert_eq!((event.as_str(), &told["lastAt"]), ("unavailable", &unavailable["lastAt"]), "to one who has just come");
}

#[tokio::test]
async fn orders_a_second_are_of_late_or_unknown() {
    let api = TestApi::start().await;
    let insert = include_str!("measurements/sample.sql");
    sqlx::query(insert).bind(40.0).bind(9.0).execute(&api.pool).await.unwrap();
    let mut stream = open(&api).await;
    assert_eq!(measured(&mut stream).await["ordersPerSecond"], Value::Null, "the sample is 40 s old");
    sqlx::query(insert).bind(0.0).bind(7.5).execute(&api.pool).await.unwrap();
    until(&mut stream, |_, next| next["ordersPerSecond"] == 7.5).await;
}

#[tokio::test]
async fn a_stream_ends_with_the_token_it_was_opened_with() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    // Expired, and taken all the same for as long as two clocks may differ.
    let token = api.token_for(USER, &[Role::Auditor], &[], Duration::ZERO);
    let orders = format!("/v1/orders/{order}/updates");
    let notifications = format!("/v1/users/{USER}/notifications/updates");
    let following = ["/v1/admin/updates", &orders, &notifications].map(|uri| {
        let (api, token) = (&api, &token);
        async move {
            let response = api.respond(get(uri).header("authorization", &format!("Bearer {token}"))).await;
            assert_eq!(response.status(), 200, "{uri}");
            let mut stream = response.into_body().into_data_stream();
            let to_its_end = async { while stream.next().await.is_some() {} };
            tokio::time::timeout(PATIENCE, to_its_end).await.unwrap_or_else(|_| panic!("{uri} goes on"));
        }
    });
    futures_util::future::join_all(following).await;
}

#[tokio::test]
async fn streams_are_bounded_and_a_closed_one_makes_room() {
    let api = TestApi::start_with(ApiConfig { max_update_streams: 1, ..ApiConfig::default() }).await;
    let first = open(&api).await;
    let refused = api.call(get("/v1/admin/updates").admin()).await;
    assert_eq!(refused.problem(), (503, "too_many_streams", ""));
    drop(first);
    let mut again = open(&api).await;
    measured(&mut again).await;
}

#[tokio::test]
async fn a_stream_ends_when_the_process_stops_and_is_for_staff() {
    let api = TestApi::start().await;
    assert_eq!(api.call(get("/v1/admin/updates").user(1)).await.problem().0, 403);
    let mut stream = open(&api).await;
    measured(&mut stream).await;
    api.shutdown.cancel();
    let ended = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the stream to end");
}
