//! A request with an `Idempotency-Key` happens once, and is answered the same each time.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Answer, OTHER_USER, TestApi, USER, get, order_body, post};

fn same(answers: &[Answer]) -> &Answer {
    let first = &answers[0];
    for answer in answers {
        assert_eq!(
            (answer.status, &answer.text, answer.header("location")),
            (first.status, &first.text, first.header("location"))
        );
    }
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_place_one_order_and_all_are_told_the_same() {
    let api = Arc::new(TestApi::with_stock().await);
    let place = || {
        let api = api.clone();
        tokio::spawn(async move { api.call(post("/v1/orders").user(USER).key("one").json(&order_body())).await })
    };
    let answers: Vec<Answer> = join_all((0..50).map(|_| place())).await.into_iter().map(Result::unwrap).collect();

    let answer = same(&answers);
    assert_eq!(answer.status, 202);
    let placed: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger.events WHERE event_type = 'OrderPlaced'")
        .fetch_one(&api.pool)
        .await
        .unwrap();
    assert_eq!(placed, 1);
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_however_it_is_spelt_and_whatever_happened_since() {
    let api = TestApi::with_stock().await;
    let first = api.call(post("/v1/orders").user(USER).key("one").json(&order_body())).await;
    api.lock_stock(first.body["orderId"].as_str().unwrap()).await;
    let events = api.events().await;

    let respelt = format!("{{ \"quantity\": 2, \"ticketTypeId\": 42,\n\"showId\": 7, \"userId\": {USER} }}");
    let repeat = api.call(post("/v1/orders").user(USER).key("one").raw(&respelt)).await;

    same(&[first, repeat]);
    assert_eq!(api.events().await, events);
}

#[tokio::test]
async fn a_key_used_for_another_payload_is_refused() {
    let api = TestApi::with_stock().await;
    api.place_order("one").await;
    let events = api.events().await;
    let mut other = order_body();
    other["quantity"] = json!(3);
    let answer = api.call(post("/v1/orders").user(USER).key("one").json(&other)).await;
    assert_eq!(answer.problem(), (422, "idempotency_key_reused", "Idempotency-Key"));
    assert_eq!(api.events().await, events);
}

#[tokio::test]
async fn a_key_belongs_to_one_user_and_one_route() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    let mut others = order_body();
    others["userId"] = json!(OTHER_USER);
    let of_other = api.call(post("/v1/orders").user(OTHER_USER).key("one").json(&others)).await;
    assert_eq!(of_other.status, 202);
    assert_ne!(of_other.body["orderId"], Value::String(order.clone()));

    api.lock_stock(&order).await;
    let payment = json!({"paymentMethod": "ALIPAY"});
    let paid = api.call(post(format!("/v1/orders/{order}/payments")).user(USER).key("one").json(&payment)).await;
    assert_eq!(paid.status, 202, "{paid:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_start_one_payment_and_all_are_told_the_same() {
    let api = Arc::new(TestApi::with_stock().await);
    let order = api.order_awaiting_payment("order").await;
    let pay = || {
        let (api, uri) = (api.clone(), format!("/v1/orders/{order}/payments"));
        let body = json!({"paymentMethod": "ALIPAY"});
        tokio::spawn(async move { api.call(post(uri).user(USER).key("pay").json(&body)).await })
    };
    let answers: Vec<Answer> = join_all((0..50).map(|_| pay())).await.into_iter().map(Result::unwrap).collect();

    let answer = same(&answers);
    assert_eq!(answer.status, 202, "{answer:?}");
    let shown = api.call(get(format!("/v1/orders/{order}")).user(USER)).await;
    assert_eq!(shown.body["paymentId"], answer.body["paymentId"]);
    assert_eq!(shown.body["status"], "PAYING");
}

#[tokio::test]
async fn a_payment_key_names_its_order_too() {
    let api = TestApi::with_stock().await;
    let (one, two) = (api.order_awaiting_payment("one").await, api.order_awaiting_payment("two").await);
    let body = json!({"paymentMethod": "ALIPAY"});
    assert_eq!(
        api.call(post(format!("/v1/orders/{one}/payments")).user(USER).key("pay").json(&body)).await.status,
        202
    );
    let other = api.call(post(format!("/v1/orders/{two}/payments")).user(USER).key("pay").json(&body)).await;
    assert_eq!(other.problem(), (422, "idempotency_key_reused", "Idempotency-Key"));
}
