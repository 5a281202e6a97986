//! The policy: who may read and change it, what is refused, and whom it takes which way.

use std::time::Duration;

use api::ApiConfig;
use api::auth::Role;
use domain::Mode;
use rollout::InstanceMode;
use serde_json::{Value, json};

use crate::support::{Answer, Call, TICKET_TYPE, TestApi, USER, get, order_body, post, put};

/// Once the samples of so many sync orders are written.
async fn report_of(api: &TestApi, sync_orders: u64) -> Answer {
    loop {
        let report = api.call(operator(get("/v1/admin/rollout/report"))).await;
        assert_eq!(report.status, 200, "{report:?}");
        if report.body["cohorts"]["sync"]["count"] == json!(sync_orders) && report.body["excluded"]["pin"] == json!(1) {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const ROLLOUT: &str = "/v1/admin/rollout";

fn operator(call: Call) -> Call {
    call.role(2, Role::Operator)
}

fn place(key: &str) -> Call {
    post("/v1/orders").key(key).json(&order_body())
}

fn mode(placed: &Answer) -> &Value {
    assert!([201, 202].contains(&placed.status), "{placed:?}");
    &placed.body["mode"]
}

#[tokio::test]
async fn the_policy_is_read_and_changed_by_operators() {
    let api = TestApi::start().await;
    let policy = api.call(operator(get(ROLLOUT))).await;
    assert_eq!(policy.body, json!({"mode": "async", "asyncPercent": 100, "groups": {}, "fallback": "sync"}));
    assert_eq!(policy.header("etag"), "\"1\"");

    let wanted = json!({"mode": "async", "asyncPercent": 10, "groups": {"beta": "async"}, "fallback": "none"});
    let changed = api.call(operator(put(ROLLOUT)).json(&wanted)).await;
    assert_eq!((changed.status, &changed.body, changed.header("etag")), (200, &wanted, "\"2\""));
    // What was read can be sent back as it is; nothing changes.
    let again = api.call(operator(put(ROLLOUT)).json(&changed.body)).await;
    assert_eq!((again.status, again.header("etag")), (200, "\"2\""));

    let status = api.call(get("/v1/admin/rollout/status").role(3, Role::Auditor)).await;
    assert_eq!((&status.body["version"], &status.body["changedBy"]), (&json!(2), &json!("user:2")));
    assert_eq!(api.call(get(ROLLOUT).user(USER)).await.problem().0, 403);
    assert_eq!(api.call(put(ROLLOUT).role(3, Role::Auditor).json(&wanted)).await.problem().0, 403);
}

#[tokio::test]
async fn a_change_is_recorded_with_who_made_it() {
    let api = TestApi::start().await;
    api.call(operator(put(ROLLOUT)).json(&json!({"mode": "sync"}))).await;
    let actions = processors::audit::list(&api.pool, None, 10).await.unwrap();
    assert_eq!(actions.len(), 1);
    let action = &actions[0];
    assert_eq!((action.actor.as_str(), action.action.as_str()), ("user:2", "rollout.change"));
    assert_eq!((&action.detail["from"]["mode"], &action.detail["to"]["mode"]), (&json!("async"), &json!("sync")));
}

#[tokio::test]
async fn an_invalid_policy_is_refused_whole_by_the_field_that_is_wrong() {
    let api = TestApi::start().await;
    for (policy, code, field) in [
        (json!({"mode": "sync", "asyncPercent": 101}), "invalid_value", "asyncPercent"),
        (json!({"mode": "sync", "asyncPercent": 1000}), "invalid_value", "asyncPercent"),
        (json!({"mode": "sync", "asyncPercent": -1}), "invalid_value", "asyncPercent"),
        (json!({"mode": "sync", "asyncPercent": 0.5}), "invalid_value", "asyncPercent"),
        (json!({"mode": "half"}), "invalid_value", "mode"),
        (json!({"mode": "sync", "groups": {"beta": "maybe"}}), "invalid_value", "groups.beta"),
        (json!({"mode": "sync", "groups": {"": "sync"}}), "invalid_value", "groups."),
        (json!({"mode": "sync", "fallback": "async"}), "invalid_value", "fallback"),
        (json!({"mode": "sync", "percent": 10}), "unknown_field", "percent"),
        (json!({"asyncPercent": 10}), "missing_field", "mode"),
    ] {
        let refused = api.call(operator(put(ROLLOUT)).json(&policy)).await;
        assert_eq!(refused.problem(), (422, code, field), "{policy}");
    }
    let policy = api.call(operator(get(ROLLOUT))).await;
    assert_eq!((policy.header("etag"), &policy.body["mode"]), ("\"1\"", &json!("async")));
    assert!(processors::audit::list(&api.pool, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_read_an_older_policy_does_not_overwrite_the_newer_one() {
    let api = TestApi::start().await;
    let change = |percent: u8, etag: &'static str| {
        operator(put(ROLLOUT)).header("if-match", etag).json(&json!({"mode": "async", "asyncPercent": percent}))
    };
    assert_eq!(api.call(change(10, "\"1\"")).await.status, 200);
    assert_eq!(api.call(change(20, "\"1\"")).await.problem(), (412, "version_changed", "If-Match"));
    assert_eq!(api.call(change(20, "latest")).await.problem(), (422, "invalid_value", "If-Match"));
    assert_eq!(api.call(change(20, "*")).await.status, 200);
}

#[tokio::test]
async fn the_groups_of_the_token_override_the_percentage() {
    let api = TestApi::with_stock().await;
    api.follow(json!({"mode": "async", "asyncPercent": 0, "groups": {"beta": "async"}})).await;
    assert_eq!(mode(&api.call(place("one").user(USER)).await), "sync");
    assert_eq!(mode(&api.call(place("two").user(USER).group("beta")).await), "async");
}

#[tokio::test]
async fn an_operator_may_pin_one_order_and_nobody_else() {
    let api = TestApi::with_stock().await;
    let pinned = |mode: &str| place(mode).header("x-order-mode", mode);
    assert_eq!(api.call(pinned("sync").user(USER)).await.problem(), (403, "forbidden", "X-Order-Mode"));
    assert_eq!(api.call(pinned("half").admin()).await.problem(), (422, "invalid_value", "X-Order-Mode"));
    assert_eq!(mode(&api.call(pinned("sync").role(USER, Role::Operator)).await), "sync");
    api.everybody_sync().await;
    assert_eq!(mode(&api.call(pinned("async").admin()).await), "async");
}

#[tokio::test]
async fn an_instance_may_be_configured_to_one_mode() {
    let api = TestApi::start_as(ApiConfig::default(), InstanceMode::Always(Mode::Sync)).await;
    api.put_on_sale(TICKET_TYPE, 100).await;
    assert_eq!(mode(&api.call(place("one").user(USER)).await), "sync");
}

#[tokio::test]
async fn a_request_that_failed_counts_against_its_cohort_and_a_wrong_one_does_not() {
    let api = TestApi::with_stock().await;
    let unknown = json!({"userId": USER, "showId": 1, "ticketTypeId": 999, "quantity": 1});
    assert_eq!(api.call(post("/v1/orders").user(USER).key("wrong").json(&unknown)).await.status, 404);
    api.ledger.close().await;
    assert_eq!(api.call(place("one").user(USER)).await.status, 503);
    let failed = async {
        loop {
            let report = api.call(operator(get("/v1/admin/rollout/report"))).await;
            if report.body["cohorts"]["async"]["count"] == json!(1) {
                return report.body["cohorts"]["async"]["failureRate"].clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), failed).await.unwrap(), json!(1.0));
}

#[tokio::test]
async fn the_report_shows_both_cohorts() {
    let api = TestApi::with_stock().await;
    for n in 0..3 {
        api.call(place(&format!("async-{n}")).user(USER)).await;
    }
    api.everybody_sync().await;
    for n in 0..5 {
        api.call(place(&format!("sync-{n}")).user(USER)).await;
    }
    api.call(place("pinned").admin().header("x-order-mode", "sync")).await;

    let report = tokio::time::timeout(Duration::from_secs(30), report_of(&api, 5)).await.unwrap();
    let cohorts = &report.body["cohorts"];
    assert_eq!((&cohorts["async"]["count"], &cohorts["async"]["undecided"]), (&json!(3), &json!(3)));
    assert_eq!((&cohorts["sync"]["count"], &cohorts["sync"]["undecided"]), (&json!(5), &json!(0)));
    assert_eq!(cohorts["sync"]["failureRate"], json!(0.0));
    assert!(cohorts["sync"]["timeToDecisionMs"]["p99"].as_f64().unwrap() > 0.0);
    assert_eq!(report.body["excluded"], json!({"pin": 1}));

    let later = api.call(operator(get("/v1/admin/rollout/report?since=2100-01-01T00:00:00Z"))).await;
    assert_eq!(later.body["cohorts"]["sync"]["count"], json!(0));
    let wrong = api.call(operator(get("/v1/admin/rollout/report?since=yesterday"))).await;
    assert_eq!(wrong.problem(), (422, "invalid_value", "since"));
}
