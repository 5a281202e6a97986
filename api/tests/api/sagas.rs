//! The sagas that are under way, those that are stuck, and what an operator decides.

use api::auth::Role;
use projections::{Projector, ProjectorConfig, SagaView};
use serde_json::{Value, json};

use crate::support::{Answer, TestApi, USER, get, post};

/// Brings the list up to the ledger.
async fn project(api: &TestApi) {
    let checkpoints = projections::Checkpoints::new(api.pool.clone());
    let mut projector = Projector::<SagaView>::new(api.pool.clone(), checkpoints, ProjectorConfig::default());
    projector.step(&[]).await.unwrap();
    projector.release().await;
}

async fn list(api: &TestApi, status: &str) -> Vec<Value> {
    let answer = api.call(get(format!("/v1/admin/sagas?status={status}")).role(1, Role::Operator)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["items"].as_array().unwrap().clone()
}

async fn resolve(api: &TestApi, order: &str, action: &str) -> Answer {
    let body = json!({"action": action, "reason": "paid back by bank transfer"});
    api.call(post(format!("/v1/admin/sagas/{order}/resolve")).role(7, Role::Operator).json(&body)).await
}

async fn order_status(api: &TestApi, order: &str) -> Value {
    api.call(get(format!("/v1/orders/{order}")).user(USER)).await.body["status"].clone()
}

#[tokio::test]
async fn sagas_are_listed_by_how_they_stand_in_pages() {
    let api = TestApi::with_stock().await;
    let running = [api.order_awaiting_payment("a").await, api.order_awaiting_payment("b").await];
    let completed = api.paid_order("c").await;
    api.deduct_stock(&completed).await;
    let compensated = api.order_awaiting_payment("d").await;
    api.expire(&compensated).await;
    api.roll_back(&compensated).await;
    project(&api).await;

    let ids =
        |items: &[Value]| items.iter().map(|item| item["orderId"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&list(&api, "running").await), [running[1].clone(), running[0].clone()]);
    assert_eq!(ids(&list(&api, "completed").await), [completed]);
    let undone = list(&api, "compensated").await;
    assert_eq!(ids(&undone), [compensated]);
    assert_eq!((&undone[0]["step"], &undone[0]["reason"]), (&json!("COMPENSATED"), &json!("order_expired")));
    assert_eq!(list(&api, "stuck").await, [Value::Null; 0]);

    let first = api.call(get("/v1/admin/sagas?limit=3").admin()).await.body;
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let next = first["next"].as_str().unwrap();
    let second = api.call(get(format!("/v1/admin/sagas?limit=3&after={next}")).admin()).await.body;
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    let wrong = api.call(get("/v1/admin/sagas?status=lost").admin()).await;
    assert_eq!(wrong.problem(), (422, "invalid_value", "status"));
}

#[tokio::test]
async fn a_refund_that_was_handed_over_is_stuck_until_an_operator_decides() {
    let api = TestApi::with_stock().await;
    let (order, payment) = api.order_to_refund("one").await;
    api.compensate(&order).await;
    api.roll_back(&order).await;
    api.hand_refund_over(&order, &payment).await;
    project(&api).await;
    let stuck = list(&api, "stuck").await;
    assert_eq!(stuck.len(), 1);
    assert_eq!((&stuck[0]["orderId"], &stuck[0]["handedOver"]), (&json!(order), &json!(true)));
    assert_eq!(stuck[0]["remaining"], json!(["refund_payment"]));
    let problem = format!("the refund of {payment} failed 1 times: account closed");
    assert_eq!(stuck[0]["problem"], problem.as_str());
    let failure = json!({"paymentId": payment, "attempts": 1, "reason": "account closed"});
    assert_eq!((&stuck[0]["refundFailure"], &stuck[0]["deadLetter"]), (&failure, &Value::Null));

    let retried = resolve(&api, &order, "retry").await;
    assert_eq!((retried.status, &retried.body["step"]), (200, &json!("REFUNDING")), "{retried:?}");
    let due: i64 = sqlx::query_scalar("SELECT count(*) FROM store.deadline WHERE kind = 'refund' AND due_at <= now()")
        .fetch_one(&api.pool)
        .await
        .unwrap();
    assert_eq!(due, 1, "the provider is asked again");
    project(&api).await;
    assert_eq!(list(&api, "stuck").await, [Value::Null; 0], "its time begins anew");
    assert_eq!(list(&api, "running").await[0]["handedOver"], false);
}

#[tokio::test]
async fn a_skipped_refund_is_complete_by_hand_and_the_ledger_and_the_record_say_so() {
    let api = TestApi::with_stock().await;
    let (order, payment) = api.order_to_refund("one").await;
    api.compensate(&order).await;
    api.hand_refund_over(&order, &payment).await;
    let skipped = resolve(&api, &order, "skip").await;
    assert_eq!(skipped.status, 200, "{skipped:?}");
    assert_eq!(skipped.body["remaining"], json!([]));
    assert_eq!(order_status(&api, &order).await, "REFUNDED");

    let payment = api.call(get(format!("/v1/payments/{payment}")).user(USER)).await.body;
    assert_eq!(payment["status"], "REFUNDED");
    assert_eq!(payment["providerReference"], "manual:paid back by bank transfer");
    let stock = api.call(get("/v1/ticket-types/42/stock").user(USER)).await.body;
    assert_eq!((&stock["available"], &stock["locked"]), (&json!(100), &json!(0)), "its tickets are back as well");
    let saga: Vec<(String, String)> = sqlx::query_as(
        "SELECT event_type, coalesce(metadata ->> 'actor', '') FROM ledger.events WHERE stream_id = $1 ORDER BY version",
    )
    .bind(format!("fulfilment-{order}"))
    .fetch_all(&api.pool)
    .await
    .unwrap();
    let by_hand = |name: &str| (name.to_owned(), "user:7".to_owned());
    assert!(saga.contains(&by_hand("CompensationResolved")) && saga.contains(&by_hand("RefundRecorded")), "{saga:?}");

    let recorded = processors::audit::list(&api.pool, None, 10).await.unwrap();
    assert_eq!(recorded.len(), 1);
    assert_eq!((recorded[0].actor.as_str(), recorded[0].action.as_str()), ("user:7", "saga.resolve"));
    assert_eq!(recorded[0].subject, order);
    assert_eq!(recorded[0].detail["reason"], "paid back by bank transfer");

    let again = resolve(&api, &order, "skip").await;
    assert_eq!(again.problem(), (409, "nothing_to_resolve", ""));
}

#[tokio::test]
async fn what_is_not_there_or_not_stuck_is_refused_and_not_recorded() {
    let api = TestApi::with_stock().await;
    let unknown = resolve(&api, "ORD202412010001", "retry").await;
    assert_eq!(unknown.problem(), (404, "saga_not_found", ""));
    let order = api.order_awaiting_payment("one").await;
    for action in ["retry", "skip"] {
        assert_eq!(resolve(&api, &order, action).await.problem(), (409, "nothing_to_resolve", ""));
    }
    for (body, field) in [
        (json!({"action": "forget", "reason": "x"}), "action"),
        (json!({"action": "skip"}), "reason"),
        (json!({"action": "skip", "reason": " "}), "reason"),
    ] {
        let call = post(format!("/v1/admin/sagas/{order}/resolve")).admin().json(&body);
        let answer = api.call(call).await;
        let (status, _, named) = answer.problem();
        assert_eq!((status, named), (422, field));
    }
    assert!(processors::audit::list(&api.pool, None, 10).await.unwrap().is_empty());
}
