//! Messages that can't be sent, and deciding about them.

use api::auth::Role;
use serde_json::{Value, json};

use crate::support::{TestApi, get, post};

async fn with_parked() -> TestApi {
    let api = TestApi::start().await;
    sqlx::query(include_str!("parked/insert.sql")).execute(&api.pool).await.unwrap();
    api
}

fn skip(id: &str, body: Value) -> crate::support::Call {
    post(format!("/v1/admin/parked/{id}/skip")).role(1, Role::Operator).json(&body)
}

#[tokio::test]
async fn what_is_parked_is_listed_in_pages_with_what_waits_behind_it() {
    let api = with_parked().await;
    let first = api.call(get("/v1/admin/parked?limit=1").role(9, Role::Auditor)).await.body;
    assert_eq!(first["items"][0]["id"], "17-5-0");
    assert_eq!(first["items"][0]["reason"], "the message has 5000000 bytes");
    assert_eq!(first["next"], "17-5-0");
    let second = api.call(get("/v1/admin/parked?limit=1&after=17-5-0").admin()).await.body;
    assert_eq!((&second["items"][0]["state"], &second["next"]), (&json!("behind"), &Value::Null));
}

#[tokio::test]
async fn a_message_is_given_up_with_a_reason_and_by_name() {
    let api = with_parked().await;
    let skipped = api.call(skip("17-5-0", json!({"reason": "the topic is gone"}))).await;
    assert_eq!((skipped.status, &skipped.body["state"]), (200, &json!("skip")), "{skipped:?}");
    assert_eq!(skipped.body["decidedBy"], "user:1");

    let audited = api.call(get("/v1/admin/audit?action=parked.skip").admin()).await.body;
    assert_eq!(audited["items"][0]["subject"], "42");
    assert_eq!(audited["items"][0]["detail"]["reason"], "the topic is gone");
}

#[tokio::test]
async fn a_message_is_released_to_be_tried_again() {
    let api = with_parked().await;
    let released = api.call(post("/v1/admin/parked/17-5-0/release").role(1, Role::Operator)).await;
    assert_eq!((released.status, &released.body["state"]), (200, &json!("release")), "{released:?}");
    assert_eq!(api.call(get("/v1/admin/audit").admin()).await.body["items"][0]["action"], "parked.release");
}

#[tokio::test]
async fn what_can_not_be_decided_is_refused_and_changes_nothing() {
    let api = with_parked().await;
    let reason = || json!({"reason": "why not"});
    assert_eq!(api.call(skip("17-6-0", reason())).await.problem(), (409, "not_parked", ""));
    assert_eq!(api.call(skip("17-7-0", reason())).await.problem(), (404, "parked_not_found", ""));
    assert_eq!(api.call(skip("nonsense", reason())).await.problem(), (404, "parked_not_found", ""));
    assert_eq!(api.call(skip("17-5-0", json!({"reason": " "}))).await.problem(), (422, "invalid_value", "reason"));
    assert_eq!(api.call(skip("17-5-0", json!({}))).await.problem(), (422, "missing_field", "reason"));
    let auditor = post("/v1/admin/parked/17-5-0/release").role(9, Role::Auditor);
    assert_eq!(api.call(auditor).await.problem().0, 403);
    assert_eq!(api.call(get("/v1/admin/parked?after=x").admin()).await.problem(), (422, "invalid_value", "after"));

    assert_eq!(api.call(get("/v1/admin/parked").admin()).await.body["items"][0]["state"], "parked");
    assert_eq!(api.call(get("/v1/admin/audit").admin()).await.body["items"], json!([]));
}
