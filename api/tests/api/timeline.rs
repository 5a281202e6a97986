//! One page of truth about an order: what happened, what remains, and what it waits for.

use processors::provider::CallbackStatus::Succeeded;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{TestApi, USER, get};

async fn timeline(api: &TestApi, order: &str) -> Value {
    let answer = api.call(get(format!("/v1/orders/{order}/timeline")).user(USER)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// What it waits for, and how the detail begins.
fn waits(timeline: &Value) -> Vec<(&str, &str)> {
    let waits = timeline["waitsFor"].as_array().unwrap().iter();
    waits.map(|wait| (wait["on"].as_str().unwrap(), wait["detail"].as_str().unwrap())).collect()
}

/// The only thing it waits for.
fn wait(timeline: &Value) -> (&str, &str) {
    let waits = waits(timeline);
    assert_eq!(waits.len(), 1, "{timeline}");
    waits[0]
}

fn message<'a>(timeline: &'a Value, topic: &str) -> &'a Value {
    let messages = timeline["messages"].as_array().unwrap();
    messages.iter().find(|message| message["topic"] == topic).unwrap_or_else(|| panic!("{topic} in {timeline}"))
}

/// As if the relay had sent everything so far.
async fn send_all(pool: &PgPool) {
    sqlx::query(include_str!("timeline/send_all.sql")).execute(pool).await.unwrap();
}

/// As if a consumer had applied the last message of a topic, and caused nothing.
async fn apply(pool: &PgPool, consumer: &str, topic: &str) {
    sqlx::query(include_str!("timeline/apply.sql")).bind(consumer).bind(topic).execute(pool).await.unwrap();
}

#[tokio::test]
async fn a_new_order_waits_for_its_message_to_be_sent_and_then_consumed() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    let unsent = timeline(&api, &order).await;
    assert_eq!(unsent["status"], "PENDING");
    assert_eq!(unsent["saga"], Value::Null);
    let placed = &unsent["events"][0];
    assert_eq!((&placed["type"], &placed["version"]), (&json!("OrderPlaced"), &json!(1)));
    assert_eq!(placed["actor"], format!("user:{USER}"));
    assert!(placed["position"].is_number() && placed["time"].is_string());
    let create = message(&unsent, "order-create");
    assert_eq!((&create["state"], &create["effects"]), (&json!("waiting"), &json!([])));
    assert_eq!(create["position"], placed["position"]);
    assert_eq!(create["brokerMessageId"], Value::Null);
    let id = create["messageId"].as_str().unwrap();
    assert_eq!(wait(&unsent), ("message", format!("message {id} (order-create) is not yet sent").as_str()));
    let expiry = &unsent["deadlines"][0];
    assert_eq!(
        (&expiry["kind"], &expiry["key"], &expiry["isDue"]),
        (&json!("order_expiry"), &json!(order), &json!(false))
    );

    sqlx::query("INSERT INTO relay.circuit VALUES ('broker', 'open', now(), 'relay')")
        .execute(&api.pool)
        .await
        .unwrap();
    assert_eq!(wait(&timeline(&api, &order).await).0, "broker");
    assert!(wait(&timeline(&api, &order).await).1.ends_with("the broker is away"));

    send_all(&api.pool).await;
    let sent = timeline(&api, &order).await;
    assert_eq!(message(&sent, "order-create")["state"], "sent");
    assert_eq!(wait(&sent), ("consumer", format!("message {id} (order-create) is not yet consumed by order").as_str()));
}

#[tokio::test]
async fn a_parked_message_says_why_it_cannot_be_sent() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    send_all(&api.pool).await;
    sqlx::query(include_str!("timeline/park.sql")).bind("order-create").execute(&api.pool).await.unwrap();
    let parked = timeline(&api, &order).await;
    let create = message(&parked, "order-create");
    assert_eq!((&create["state"], &create["reason"]), (&json!("parked"), &json!("larger than the broker takes")));
    assert_eq!(wait(&parked).0, "operator");
    assert!(wait(&parked).1.ends_with("can't be sent: larger than the broker takes"));
}

#[tokio::test]
async fn an_order_with_tickets_waits_for_its_payment_until_it_expires() {
    let api = TestApi::with_stock().await;
    let order = api.order_awaiting_payment("one").await;
    let awaiting = timeline(&api, &order).await;
    assert_eq!(awaiting["saga"]["step"], "AWAITING_PAYMENT");
    assert_eq!(awaiting["saga"]["done"][0]["step"], "lock_stock");
    assert_eq!(awaiting["saga"]["remaining"], json!(["capture_payment", "deduct_stock", "confirm_order"]));
    let kinds: Vec<&Value> = awaiting["deadlines"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["lock_lapse", "order_expiry"]);
    assert_eq!(wait(&awaiting).0, "payment");
    assert!(wait(&awaiting).1.starts_with("the payment, until 2"), "{awaiting}");

    sqlx::query("UPDATE store.deadline SET due_at = now() - interval '9 s'").execute(&api.pool).await.unwrap();
    assert_eq!(wait(&timeline(&api, &order).await).0, "deadline", "due, and nobody acts on it");
    sqlx::query("DELETE FROM store.deadline").execute(&api.pool).await.unwrap();
    assert_eq!(wait(&timeline(&api, &order).await).1, "an expiry for which no deadline is set");
}

#[tokio::test]
async fn an_order_being_paid_waits_for_the_provider_once_it_was_asked() {
    let api = TestApi::with_stock().await;
    let order = api.order_awaiting_payment("one").await;
    let payment = api.start_payment(&order).await;
    send_all(&api.pool).await;
    let asked = timeline(&api, &order).await;
    assert_eq!(wait(&asked).0, "consumer");
    assert!(asked["events"].as_array().unwrap().iter().any(|event| event["type"] == "PaymentRequested"));

    apply(&api.pool, "payment", "order-payment").await;
    let waiting = timeline(&api, &order).await;
    let effect = &message(&waiting, "order-payment")["effects"][0];
    assert_eq!(effect["consumer"], "payment");
    let applied_at = effect["appliedAt"].as_str().unwrap().get(..19).unwrap();
    let detail = format!("the payment provider's answer about {payment}, since {applied_at}Z");
    assert_eq!(wait(&waiting), ("provider", detail.as_str()));

    api.settle(&order, &payment, Succeeded).await;
    assert_eq!(wait(&timeline(&api, &order).await).0, "message", "its stock-deduct");
    api.deduct_stock(&order).await;
    let done = timeline(&api, &order).await;
    assert_eq!((&done["saga"]["step"], &done["saga"]["remaining"]), (&json!("COMPLETED"), &json!([])));
    let steps: Vec<&Value> = done["saga"]["done"].as_array().unwrap().iter().map(|one| &one["step"]).collect();
    assert_eq!(steps, ["lock_stock", "capture_payment", "deduct_stock", "confirm_order"]);
    assert_eq!((waits(&done), &done["deadlines"]), (vec![], &json!([])));
}

#[tokio::test]
async fn an_order_behind_a_dead_letter_says_which() {
    let api = TestApi::with_stock().await;
    let order = api.paid_order("one").await;
    let letter: i64 =
        sqlx::query_scalar(include_str!("timeline/dead_letter.sql")).bind(&order).fetch_one(&api.pool).await.unwrap();
    let blocked = timeline(&api, &order).await;
    let detail = format!("blocked behind dead letter {letter} of stock (stock-deduct): it did not like it");
    assert_eq!(wait(&blocked), ("dead_letter", detail.as_str()));
    let shown = &blocked["deadLetters"][0];
    assert_eq!((&shown["id"], &shown["state"], &shown["attempts"]), (&json!(letter), &json!("dead"), &json!(5)));
}

#[tokio::test]
async fn an_order_to_be_refunded_waits_for_the_provider_and_then_for_a_person() {
    let api = TestApi::with_stock().await;
    let (order, payment) = api.order_to_refund("one").await;
    let refunding = timeline(&api, &order).await;
    assert_eq!(refunding["status"], "REFUNDING");
    let refund = waits(&refunding).into_iter().find(|(on, _)| *on == "provider").unwrap();
    assert!(refund.1.starts_with(&format!("the payment provider to refund {payment}, since 2")), "{refund:?}");
    assert!(refunding["deadlines"].as_array().unwrap().iter().any(|one| one["kind"] == "refund"));

    api.hand_refund_over(&order, &payment).await;
    let handed_over = timeline(&api, &order).await;
    assert_eq!(handed_over["saga"]["handedOver"], true);
    let detail = format!("a person: the provider refused to refund {payment} 1 times: account closed");
    assert!(waits(&handed_over).contains(&("operator", detail.as_str())), "{handed_over}");
    assert!(!handed_over["deadlines"].as_array().unwrap().iter().any(|one| one["kind"] == "refund"));
}
