//! The stream a console lives on: one measurement a second, shared.

use std::time::Duration;

use api::ApiConfig;
use api::auth::Role;
use axum::body::BodyDataStream;
use futures_util::StreamExt;
use serde_json::Value;

use crate::support::{TestApi, get};

const PATIENCE: Duration = Duration::from_secs(20);

async fn open(api: &TestApi) -> BodyDataStream {
    let response = api.respond(get("/v1/admin/updates").role(9, Role::Auditor)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

/// The data of the next event.
async fn measured(stream: &mut BodyDataStream) -> Value {
    loop {
        let chunk =
            tokio::time::timeout(PATIENCE, stream.next()).await.expect("nothing came in time").unwrap().unwrap();
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) {
            assert!(text.contains("event: measurement"), "{text}");
            return serde_json::from_str(data).unwrap();
        }
    }
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
    let after = tokio::time::timeout(PATIENCE, async {
        loop {
            let next = measured(&mut stream).await;
            if next["lag"]["head"] == head && next["deadLetters"] == 1 {
                return next;
            }
        }
    });
    let after = after.await.expect("a measurement of what was done");
    assert_eq!(after["lag"]["outbox"]["pendingMessages"], 3, "stock-sync, order-create, order-status-update");
}

#[tokio::test]
async fn all_who_look_get_the_same_measurement() {
    let api = TestApi::start().await;
    let mut first = open(&api).await;
    let begun = measured(&mut first).await;
    let mut second = open(&api).await;
    assert_eq!(measured(&mut second).await["at"], begun["at"], "the one that was measured already");
    assert_eq!(measured(&mut first).await["at"], measured(&mut second).await["at"]);
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
