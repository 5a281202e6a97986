//! The ledger as staff read it.

use api::auth::Role;
use serde_json::Value;

use crate::support::{TestApi, get};

#[tokio::test]
async fn staff_read_any_part_of_the_ledger_page_by_page() {
    let api = TestApi::with_stock().await;
    for key in ["one", "two", "three"] {
        api.place_order(key).await;
    }
    let auditor = |path: &str| get(path).role(1, Role::Auditor);
    let all = api.call(auditor("/v1/admin/events")).await;
    assert_eq!((all.status, all.body["items"].as_array().unwrap().len() as i64), (200, api.events().await));

    let mut read = Vec::new();
    let mut path = "/v1/admin/events?category=order&limit=2".to_owned();
    loop {
        let page = api.call(auditor(&path)).await.body;
        read.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/admin/events?category=order&limit=2&from={next}");
    }
    assert_eq!(read.iter().filter(|event| event["type"] == "OrderPlaced").count(), 3);
    assert!(read.iter().all(|event| event["streamId"].as_str().unwrap().starts_with("order-")));
    let of_type = api.call(auditor("/v1/admin/events?type=OrderPlaced&to=3")).await.body;
    assert!(of_type["items"].as_array().unwrap().iter().all(|event| event["position"].as_i64() <= Some(3)));
    let stream = read[0]["streamId"].as_str().unwrap();
    let of_stream = api.call(auditor(&format!("/v1/admin/events?stream={stream}"))).await.body;
    assert_eq!((&of_stream["items"][0]["streamId"], &of_stream["next"]), (&Value::from(stream), &Value::Null));
}

#[tokio::test]
async fn what_there_is_not_is_refused() {
    let api = TestApi::with_stock().await;
    for (path, problem) in [
        ("/v1/admin/events?from=9999", (422, "invalid_value", "from")),
        ("/v1/admin/events?to=9999", (422, "invalid_value", "to")),
        ("/v1/admin/events?from=1&to=0", (422, "invalid_value", "to")),
        ("/v1/admin/events?category=orders", (422, "invalid_value", "category")),
        ("/v1/admin/events?type=OrderLost", (422, "invalid_value", "type")),
        ("/v1/admin/events?stream=order-ORD209901010001", (404, "stream_not_found", "")),
    ] {
        assert_eq!(api.call(get(path).admin()).await.problem(), problem, "{path}");
    }
    assert_eq!(api.call(get("/v1/admin/events").role(7, Role::User)).await.status, 403);
}
