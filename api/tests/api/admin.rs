//! Lag and projections.

use serde_json::{Value, json};

use crate::support::{TestApi, get};

#[tokio::test]
async fn lag_says_what_waits_where_and_null_for_what_nobody_knows() {
    let api = TestApi::with_stock().await;
    api.place_order("one").await;
    let lag = api.call(get("/v1/admin/lag").admin()).await;
    assert_eq!(lag.status, 200, "{lag:?}");
    assert_eq!(lag.body["head"], api.events().await);
    assert_eq!(lag.body["outbox"]["pendingMessages"], 3, "stock-sync, order-create, order-status-update");
    assert!(lag.body["outbox"]["oldestUnsentAgeSeconds"].is_number());
    assert_eq!(lag.body["relay"]["leaseOwner"], Value::Null);
    let orders = lag.body["projections"].as_array().unwrap().iter().find(|item| item["name"] == "orders").unwrap();
    assert_eq!(orders["lagEvents"], api.events().await);
    let waiting = |topic: &&Value| topic["pendingMessages"] == 1;
    assert_eq!(lag.body["outbox"]["topics"].as_array().unwrap().iter().filter(waiting).count(), 3);
    for unknown in ["/relay/sentPerSecond", "/relay/inFlightMessages", "/criticalTime/p99Ms", "/missing/messages"] {
        assert_eq!(lag.body.pointer(unknown), Some(&Value::Null), "{unknown}: {lag:?}");
    }
}

#[tokio::test]
async fn without_a_history_there_are_no_samples_and_an_impossible_time_is_refused() {
    let api = TestApi::start().await;
    let history = api.call(get("/v1/admin/history").admin()).await;
    assert_eq!(history.body, json!({ "everySeconds": 10.0, "samples": [] }));
    for minutes in ["0", "10081", "-1", "soon", "99999999999"] {
        let refused = api.call(get(format!("/v1/admin/history?minutes={minutes}")).admin()).await;
        assert_eq!(refused.problem(), (422, "invalid_value", "minutes"));
    }
}

#[tokio::test]
async fn projections_are_listed() {
    let api = TestApi::start().await;
    let list = api.call(get("/v1/admin/projections").admin()).await;
    let mut names: Vec<_> =
        list.body["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["notifications", "orders", "sagas", "stock"]);
}
