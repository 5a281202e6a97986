//! The record of what operators did, as it is looked up.

use api::auth::Role;
use processors::audit::{self, Action};
use serde_json::{Value, json};

use crate::support::{TestApi, get};

async fn record(api: &TestApi, actor: &str, action: &str, subject: &str) {
    let action = Action { actor, action, subject, detail: json!({"reason": "a test"}) };
    audit::record(&api.pool, action).await.unwrap();
}

fn subjects(body: &Value) -> Vec<&str> {
    body["items"].as_array().unwrap().iter().map(|item| item["subject"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn actions_are_found_by_who_what_and_to_what_newest_first() {
    let api = TestApi::start().await;
    record(&api, "user:1", "rollout.change", "rollout").await;
    record(&api, "user:1", "saga.resolve", "ORD202611230001").await;
    record(&api, "user:2", "rollout.ramp", "ramp").await;

    let found = async |query: &str| api.call(get(format!("/v1/admin/audit{query}")).role(9, Role::Auditor)).await.body;
    let all = found("").await;
    assert_eq!(subjects(&all), ["ramp", "ORD202611230001", "rollout"]);
    assert_eq!(all["items"][1]["actor"], "user:1");
    assert_eq!(all["items"][1]["detail"]["reason"], "a test");
    assert_eq!(subjects(&found("?actor=user:1").await), ["ORD202611230001", "rollout"]);
    assert_eq!(subjects(&found("?action=rollout").await), ["ramp", "rollout"]);
    assert_eq!(subjects(&found("?action=rollout.change").await), ["rollout"]);
    assert_eq!(subjects(&found("?subject=ORD202611230001&actor=user:2").await), Vec::<&str>::new());
}

#[tokio::test]
async fn pages_of_actions_follow_each_other_to_the_end() {
    let api = TestApi::start().await;
    for subject in ["one", "two", "three", "four"] {
        record(&api, "user:1", "rollout.change", subject).await;
    }
    let first = api.call(get("/v1/admin/audit?limit=2").admin()).await.body;
    assert_eq!(subjects(&first), ["four", "three"]);
    let next = first["next"].as_str().unwrap();
    let second = api.call(get(format!("/v1/admin/audit?limit=2&after={next}")).admin()).await.body;
    assert_eq!((subjects(&second), &second["next"]), (vec!["two", "one"], &Value::Null));
}

#[tokio::test]
async fn only_staff_sees_it_and_what_is_asked_wrongly_is_told() {
    let api = TestApi::start().await;
    assert_eq!(api.call(get("/v1/admin/audit").user(1)).await.problem().0, 403);
    assert_eq!(api.call(get("/v1/admin/audit?after=x").admin()).await.problem(), (422, "invalid_value", "after"));
    assert_eq!(api.call(get("/v1/admin/audit?limit=501").admin()).await.problem(), (422, "invalid_value", "limit"));
    assert_eq!(api.call(get("/v1/admin/audit?who=1").admin()).await.problem(), (422, "unknown_field", "who"));
}
