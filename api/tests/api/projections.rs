//! Rebuilding a read model and going back, as an operator asks for it.

use api::auth::Role;
use projections::{Checkpoints, OrderView, Projector, ProjectorConfig, RebuildConfig, Rebuilder};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{TestApi, USER, get, post};

#[tokio::test]
async fn a_rebuild_is_asked_for_carried_out_and_taken_back() {
    let api = projected().await;
    let asked = api.call(post("/v1/admin/projections/orders/rebuild").role(1, Role::Operator)).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let rebuild = &asked.body["rebuild"];
    assert_eq!(
        (&rebuild["state"], &rebuild["version"], &rebuild["dryRun"]),
        (&json!("running"), &json!(2), &json!(false))
    );
    assert_eq!((&rebuild["position"], &rebuild["target"]), (&json!(0), &json!(api.events().await)));
    assert_eq!(
        (&rebuild["eventsPerSecond"], &rebuild["endedAt"]),
        (&Value::Null, &Value::Null),
        "nobody works on it yet"
    );

    carry_out(&api, "orders").await;
    let orders = shown(&api, "orders").await;
    assert_eq!((&orders["activeVersion"], &orders["previousVersion"]), (&json!(2), &json!(1)));
    let rebuild = &orders["rebuild"];
    assert_eq!(
        (&rebuild["state"], &rebuild["unchanged"], &rebuild["differences"]),
        (&json!("done"), &json!(true), &json!(0))
    );
    assert_eq!((&rebuild["requestedBy"], &rebuild["problem"]), (&json!("user:1"), &Value::Null));

    let back = api.call(post("/v1/admin/projections/orders/rollback").role(2, Role::Operator)).await;
    assert_eq!((back.status, &back.body["activeVersion"], &back.body["previousVersion"]), (200, &json!(1), &json!(2)));
    let actions: Vec<(String, String, String)> =
        sqlx::query_as("select actor, action, subject from operations.action order by action_id")
            .fetch_all(&api.pool)
            .await
            .unwrap();
    let action = |actor: &str, action: &str| (actor.to_owned(), action.to_owned(), "orders".to_owned());
    assert_eq!(actions, [action("user:1", "projection.rebuild"), action("user:2", "projection.rollback")]);
}

#[tokio::test]
async fn a_dry_run_tells_what_differs() {
    let api = projected().await;
    sqlx::query("update projection.orders_v1 set quantity = 9").execute(&api.pool).await.unwrap();
    let asked = api.call(post("/v1/admin/projections/orders/rebuild").admin().json(&json!({"dryRun": true}))).await;
    assert_eq!((asked.status, &asked.body["rebuild"]["dryRun"]), (202, &json!(true)));
    carry_out(&api, "orders").await;
    let orders = shown(&api, "orders").await;
    assert_eq!((&orders["activeVersion"], &orders["rebuild"]["differences"]), (&json!(1), &json!(1)));
    let example = orders["rebuild"]["examples"][0].as_str().unwrap();
    assert!(example.contains("quantity is 9, by the ledger 2"), "{example}");
}

#[tokio::test]
async fn what_can_not_be_is_refused_and_changes_nothing() {
    let api = projected().await;
    let rebuild = |name: &str| post(format!("/v1/admin/projections/{name}/rebuild"));
    let rollback = |name: &str| post(format!("/v1/admin/projections/{name}/rollback"));
    assert_eq!(api.call(rebuild("invoices").admin()).await.problem(), (404, "projection_not_found", ""));
    assert_eq!(api.call(rollback("invoices").admin()).await.problem(), (404, "projection_not_found", ""));
    assert_eq!(api.call(rollback("stock").admin()).await.problem(), (409, "no_previous_version", ""));
    let wrong = api.call(rebuild("stock").admin().json(&json!({"dryRun": "yes"}))).await;
    assert_eq!(wrong.problem(), (422, "invalid_value", "dryRun"));
    for call in [rebuild("stock"), rollback("stock")] {
        assert_eq!(api.call(call.role(1, Role::Auditor)).await.problem(), (403, "forbidden", ""));
    }
    assert_eq!(shown(&api, "stock").await["rebuild"], Value::Null);

    assert_eq!(api.call(rebuild("stock").admin()).await.status, 202);
    let second = api.call(rebuild("stock").admin().json(&json!({"dryRun": true}))).await;
    assert_eq!(second.problem(), (409, "rebuild_running", ""));
    assert_eq!(shown(&api, "stock").await["rebuild"]["dryRun"], false);
    let actions: i64 = sqlx::query_scalar("select count(*) from operations.action").fetch_one(&api.pool).await.unwrap();
    assert_eq!(actions, 1, "only what was done is on record");
}

#[tokio::test]
async fn what_another_version_of_the_program_built_is_due() {
    let api = projected().await;
    assert_eq!(shown(&api, "stock").await["rebuildDue"], false);
    sqlx::query("update projection.read_model set code_version = 0 where name = 'stock'")
        .execute(&api.pool)
        .await
        .unwrap();
    assert_eq!(shown(&api, "stock").await["rebuildDue"], true);
    let lag = api.call(get("/v1/admin/lag").admin()).await;
    let due: Vec<&Value> =
        lag.body["projections"].as_array().unwrap().iter().filter(|item| item["rebuildDue"] == true).collect();
    assert_eq!((due.len(), &due[0]["name"]), (1, &json!("stock")));
}

/// With one order, and that projected.
async fn projected() -> TestApi {
    let api = TestApi::with_stock().await;
    api.place_order("one").await;
    let checkpoints = Checkpoints::new(api.pool.clone());
    Projector::<OrderView>::new(api.pool.clone(), checkpoints, ProjectorConfig::default()).step(&[]).await.unwrap();
    assert_eq!(api.call(get("/v1/orders").user(USER)).await.body["items"].as_array().unwrap().len(), 1);
    api
}

/// As `project` does.
async fn carry_out(api: &TestApi, name: &str) {
    let rebuilder = Rebuilder::new(api.pool.clone(), RebuildConfig::default());
    let claim = rebuilder.claim(name).await.unwrap().unwrap();
    rebuilder.carry_out(claim, &|_| {}, &CancellationToken::new()).await.unwrap().unwrap();
}

async fn shown(api: &TestApi, name: &str) -> Value {
    let list = api.call(get("/v1/admin/projections").role(3, Role::Auditor)).await;
    list.body["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap().clone()
}
