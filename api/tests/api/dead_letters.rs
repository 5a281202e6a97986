//! Dead letters over HTTP: by cause, with their past, applied after all, edited, given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::auth::Role;
use api::{ApiConfig, ConsumerGroup};
use async_trait::async_trait;
use messaging::dead_letter::redrives::runner::{RedriveConfig, RedriveRunner};
use messaging::message::SmsNotification;
use messaging::{Effect, HandleError, Handler, MessageData, ReceivedMessage, Topic, outbox_message};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Answer, Call, TestApi, delete, get, post};

const STOCK_LOCK: &str = "stock-lock";
const PHONE: &str = "+41791234567";

/// Applies whatever it is given, once it is mended.
#[derive(Default)]
struct Mendable {
    mended: AtomicBool,
}

#[async_trait]
impl Handler for Mendable {
    fn name(&self) -> &'static str {
        "stock"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::StockLock]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        let outcome = match self.mended.load(Ordering::Relaxed) {
            true => Ok(Effect::Applied),
            false => Err(HandleError::Failed("there is no ticket type 42".into())),
        };
        vec![outcome; batch.len()]
    }
}

struct Shop {
    api: TestApi,
    handler: Arc<Mendable>,
}

impl Shop {
    async fn open() -> Shop {
        let handler = Arc::new(Mendable::default());
        let group = |name: &'static str, handler: Option<Arc<dyn Handler>>| ConsumerGroup {
            name,
            group: format!("ticket-consumer-group-{name}"),
            topics: &[],
            handler,
        };
        let consumers = vec![group("stock", Some(handler.clone())), group("sms", None)];
        Shop { api: TestApi::start_with_consumers(ApiConfig::default(), consumers).await, handler }
    }

    fn mend(&self) {
        self.handler.mended.store(true, Ordering::Relaxed);
    }

    /// A stock-lock of that order that failed, or waits behind one that did.
    async fn park(&self, order: &str, state: &str) -> i64 {
        let (reason, cause) = match state {
            "dead" => ("there is no ticket type 42", "failed: there is no ticket type N"),
            _ => ("waits", "behind: waits for an earlier message of its key"),
        };
        let message_id = Uuid::now_v7();
        self.insert(
            "stock",
            STOCK_LOCK,
            Some(order),
            message_id,
            &stock_lock(message_id, order, "1.0"),
            [state, reason, cause],
        )
        .await
    }

    /// One in a version nobody supports.
    async fn park_unsupported(&self, order: &str) -> i64 {
        let message_id = Uuid::now_v7();
        let words = ["dead", "version \"9.0\" is not supported", "poison: version … is not supported"];
        self.insert("stock", STOCK_LOCK, Some(order), message_id, &stock_lock(message_id, order, "9.0"), words).await
    }

    async fn park_sms(&self) -> i64 {
        let data = SmsNotification {
            notification_id: Uuid::now_v7().into(),
            user_id: 7.try_into().unwrap(),
            phone: PHONE.into(),
            body: "Your tickets".into(),
        };
        let message_id = Uuid::now_v7();
        let body = outbox_message(message_id, chrono::Utc::now(), &data).body;
        let words = ["dead", "the provider has a bug", "failed: the provider has a bug"];
        self.insert("sms", SmsNotification::TOPIC.name(), Some("7"), message_id, &body, words).await
    }

    async fn insert(
        &self,
        consumer: &str,
        topic: &str,
        key: Option<&str>,
        message_id: Uuid,
        body: &str,
        [state, reason, cause]: [&str; 3],
    ) -> i64 {
        sqlx::query_scalar(include_str!("dead_letters/park.sql"))
            .bind(consumer)
            .bind(topic)
            .bind(key)
            .bind(message_id)
            .bind(body)
            .bind(state)
            .bind(reason)
            .bind(cause)
            .fetch_one(&self.api.pool)
            .await
            .unwrap()
    }

    /// What `process` does.
    async fn carry_out(&self) {
        let handlers: [Arc<dyn Handler>; 1] = [self.handler.clone()];
        let runner = RedriveRunner::new(self.api.pool.clone(), handlers, RedriveConfig::default(), "w".into());
        assert!(runner.step().await.unwrap(), "there is one to carry out");
    }

    async fn call(&self, call: Call) -> Answer {
        self.api.call(call.role(1, Role::Operator)).await
    }

    async fn redrive(&self, id: i64, body: Value) -> Answer {
        self.call(post(format!("/v1/admin/dead-letters/{id}/redrive")).json(&body)).await
    }

    async fn letter(&self, id: i64) -> Value {
        self.call(get(format!("/v1/admin/dead-letters/{id}"))).await.body
    }

    /// What operators did, the oldest first: action and subject.
    async fn actions(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT action, subject FROM operations.action ORDER BY action_id")
            .fetch_all(&self.api.pool)
            .await
            .unwrap()
    }
}

fn stock_lock(message_id: Uuid, order: &str, version: &str) -> String {
    let data = json!({"lockId": "LOCK202412010001", "orderId": order, "ticketTypeId": 42, "quantity": 2, "lockTime": 300, "expireTime": 1});
    json!({
        "messageId": message_id, "timestamp": 1, "eventType": "STOCK_LOCK", "data": data, "source": "show-service", "version": version
    })
    .to_string()
}

const ORDER_A: &str = "ORD202412010001";
const ORDER_B: &str = "ORD202412010002";

#[tokio::test]
async fn letters_are_listed_by_what_they_are_and_bodies_are_not() {
    let shop = Shop::open().await;
    let (dead, behind, other) =
        (shop.park(ORDER_A, "dead").await, shop.park(ORDER_A, "behind").await, shop.park_unsupported(ORDER_B).await);
    let ids = async |query: &str| -> Vec<i64> {
        let list = shop.call(get(format!("/v1/admin/dead-letters?{query}"))).await;
        assert!(!list.text.contains("LOCK202412010001"), "bodies are shown one at a time");
        list.body["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids("").await, [dead, behind, other]);
    assert_eq!(ids("consumer=stock&topic=stock-lock&limit=1").await, [dead]);
    assert_eq!(ids(&format!("limit=1&after={dead}")).await, [behind]);
    assert_eq!(ids("state=behind").await, [behind]);
    assert_eq!(ids(&format!("key={ORDER_B}")).await, [other]);
    assert_eq!(ids("cause=failed%3A%20there%20is%20no%20ticket%20type%20N").await, [dead]);
    assert_eq!(ids("consumer=payment").await, [0; 0]);
    let wrong = shop.call(get("/v1/admin/dead-letters?state=lost")).await;
    assert_eq!(wrong.problem(), (422, "invalid_value", "state"));
}

#[tokio::test]
async fn groups_say_what_is_wrong_and_how_many_wait_for_it() {
    let shop = Shop::open().await;
    let sample = shop.park(ORDER_A, "dead").await;
    shop.park(ORDER_A, "behind").await;
    shop.park(ORDER_B, "dead").await;
    shop.park_unsupported("ORD202412010003").await;
    let groups = shop.call(get("/v1/admin/dead-letters/groups")).await.body;
    let group = &groups["items"][0];
    assert_eq!(group["cause"], "failed: there is no ticket type N");
    assert_eq!((&group["dead"], &group["behind"], &group["keys"]), (&json!(2), &json!(1), &json!(2)));
    assert_eq!(
        (&group["consumer"], &group["topic"], &group["sampleId"]),
        (&json!("stock"), &json!(STOCK_LOCK), &json!(sample))
    );
    assert_eq!(group["reason"], "there is no ticket type 42");
    assert_eq!(groups["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_letter_is_shown_with_its_message_and_its_past() {
    let shop = Shop::open().await;
    let id = shop.park(ORDER_A, "dead").await;
    let stopped = shop.redrive(id, json!({})).await;
    assert_eq!((stopped.status, &stopped.body["delivered"], &stopped.body["stoppedAt"]), (200, &json!(0), &json!(id)));
    assert_eq!((&stopped.body["reason"], &stopped.body["left"]), (&json!("there is no ticket type 42"), &json!(1)));

    let letter = shop.letter(id).await;
    assert!(letter["body"].as_str().unwrap().contains("LOCK202412010001"));
    assert_eq!(
        (&letter["originalBody"], &letter["state"], &letter["queueOffset"]),
        (&Value::Null, &json!("dead"), &json!(17))
    );
    let entry = &letter["history"][0];
    assert_eq!(
        (&entry["action"], &entry["actor"], &entry["attempt"]),
        (&json!("failed_again"), &json!("user:1"), &json!(2))
    );
    assert_eq!(shop.actions().await, [("dead_letter.redrive".to_owned(), id.to_string())]);
}

#[tokio::test]
async fn phone_numbers_are_for_admins() {
    let shop = Shop::open().await;
    let id = shop.park_sms().await;
    let letter = shop.letter(id).await;
    assert!(!letter.to_string().contains(PHONE), "{letter}");
    assert!(letter["body"].as_str().unwrap().contains("Your tickets"));
    let as_admin = shop.api.call(get(format!("/v1/admin/dead-letters/{id}")).admin()).await;
    assert!(as_admin.body["body"].as_str().unwrap().contains(PHONE));

    let edited = shop.redrive(id, json!({"body": "{}", "reason": "the number was wrong"})).await;
    assert_eq!(edited.problem(), (403, "forbidden", ""));
    assert_eq!(shop.redrive(id, json!({})).await.problem(), (409, "consumer_not_redrivable", ""));
}

#[tokio::test]
async fn an_edited_message_is_applied_and_the_one_that_came_is_kept() {
    let shop = Shop::open().await;
    shop.mend();
    let id = shop.park_unsupported(ORDER_A).await;
    let came = shop.letter(id).await["body"].as_str().unwrap().to_owned();
    let mended = came.replace("9.0", "1.0");

    assert_eq!(shop.redrive(id, json!({"body": mended})).await.problem(), (422, "missing_field", "reason"));
    let another = mended.replace(ORDER_A, ORDER_B);
    for wrong in ["not json", came.as_str(), another.as_str()] {
        let refused = shop.redrive(id, json!({"body": wrong, "reason": "mended"})).await;
        assert_eq!(refused.problem(), (422, "invalid_value", "body"), "{wrong}");
    }
    assert_eq!(shop.actions().await, [], "nothing was changed");

    let redriven = shop.redrive(id, json!({"body": mended, "reason": "an old sender"})).await;
    assert_eq!(
        (redriven.status, &redriven.body["delivered"], &redriven.body["left"]),
        (200, &json!(1), &json!(0)),
        "{redriven:?}"
    );
    let letter = shop.letter(id).await;
    assert_eq!(
        (&letter["body"], &letter["originalBody"], &letter["state"]),
        (&json!(mended), &json!(came), &json!("redriven"))
    );
    let actions: Vec<&Value> = letter["history"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["edited", "redriven"]);
    assert_eq!(letter["history"][0]["reason"], "an old sender");
    let names: Vec<String> = shop.actions().await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(names, ["dead_letter.edit", "dead_letter.redrive"]);

    assert_eq!(shop.redrive(id, json!({})).await.problem(), (409, "dead_letter_resolved", ""));
}

#[tokio::test]
async fn a_letter_is_given_up_for_a_reason_and_those_behind_it_go_on() {
    let shop = Shop::open().await;
    shop.mend();
    let (dead, behind) = (shop.park(ORDER_A, "dead").await, shop.park(ORDER_A, "behind").await);
    let discard = |query: &str| shop.call(delete(format!("/v1/admin/dead-letters/{dead}{query}")));
    assert_eq!(discard("").await.problem(), (422, "missing_field", "reason"));
    assert_eq!(discard("?reason=%20").await.problem(), (422, "invalid_value", "reason"));

    let discarded = discard("?reason=sent+by+a+test").await;
    assert_eq!((discarded.status, &discarded.body["behind"]), (200, &json!(1)), "{discarded:?}");
    assert_eq!(discard("?reason=again").await.problem(), (409, "dead_letter_resolved", ""));
    assert_eq!(shop.redrive(dead, json!({})).await.problem(), (409, "dead_letter_resolved", ""));

    shop.carry_out().await;
    let redrive = discarded.body["redriveId"].as_str().unwrap();
    let done = shop.call(get(format!("/v1/admin/redrives/{redrive}"))).await.body;
    assert_eq!((&done["state"], &done["delivered"]), (&json!("done"), &json!(1)));
    assert_eq!(shop.letter(behind).await["state"], "redriven");
    let letter = shop.letter(dead).await;
    assert_eq!((&letter["state"], &letter["resolvedBy"]), (&json!("discarded"), &json!("user:1")));
    assert_eq!(letter["history"][0]["reason"], "sent by a test");
    assert_eq!(shop.actions().await, [("dead_letter.discard".to_owned(), dead.to_string())]);
}

#[tokio::test]
async fn a_group_is_redriven_after_a_look_at_what_would_be_done() {
    let shop = Shop::open().await;
    shop.mend();
    shop.park(ORDER_A, "dead").await;
    shop.park(ORDER_A, "behind").await;
    shop.park_unsupported(ORDER_B).await;
    let start = |body: Value| shop.call(post("/v1/admin/redrives").json(&body));
    let cause = "failed: there is no ticket type N";

    let plan = start(json!({"filter": {"cause": cause}, "dryRun": true})).await;
    assert_eq!(plan.status, 200, "{plan:?}");
    let group = json!({"cause": cause, "consumer": "stock", "topic": STOCK_LOCK, "messages": 2, "keys": 1});
    assert_eq!(plan.body, json!({"dryRun": true, "messages": 2, "keys": 1, "groups": [group]}));
    assert_eq!(shop.call(get("/v1/admin/redrives")).await.body["items"], json!([]));

    let started = start(json!({"filter": {"cause": cause}, "ratePerSecond": 1000})).await;
    assert_eq!(started.status, 202, "{started:?}");
    let of_start = |member: &str| started.body[member].clone();
    assert_eq!(
        (of_start("state"), of_start("selected"), of_start("delivered")),
        (json!("running"), json!(2), json!(0))
    );
    assert_eq!(
        (of_start("ratePerSecond"), of_start("startedBy"), of_start("endedAt")),
        (json!(1000), json!("user:1"), Value::Null)
    );
    shop.carry_out().await;

    let list = shop.call(get("/v1/admin/redrives")).await.body;
    let done = &list["items"][0];
    assert_eq!(
        (&done["redriveId"], &done["state"], &done["delivered"]),
        (&of_start("redriveId"), &json!("done"), &json!(2))
    );
    let left = shop.call(get("/v1/admin/dead-letters")).await.body;
    assert_eq!(left["items"].as_array().unwrap().len(), 1, "the other cause stays");
    assert_eq!(
        shop.actions().await,
        [("redrive.start".to_owned(), of_start("redriveId").as_str().unwrap().to_owned())]
    );
}

#[tokio::test]
async fn a_redrive_can_be_cancelled_once() {
    let shop = Shop::open().await;
    shop.park(ORDER_A, "dead").await;
    let started = shop.call(post("/v1/admin/redrives").json(&json!({"filter": {}}))).await;
    let cancel =
        || shop.call(post(format!("/v1/admin/redrives/{}/cancel", started.body["redriveId"].as_str().unwrap())));
    assert_eq!(cancel().await.body["state"], "cancelled");
    let redrive = started.body["redriveId"].as_str().unwrap().to_owned();
    let actions = ["redrive.start", "redrive.cancel"].map(|action| (action.to_owned(), redrive.clone()));
    assert_eq!(shop.actions().await, actions);
    assert_eq!(cancel().await.problem(), (409, "redrive_ended", ""));
}

#[tokio::test]
async fn a_redrive_that_makes_no_sense_is_refused_and_nothing_changes() {
    let shop = Shop::open().await;
    let letter = shop.park(ORDER_A, "dead").await;
    shop.call(delete(format!("/v1/admin/dead-letters/{letter}?reason=test"))).await;
    let refused = [
        (json!({}), (422, "missing_field", "filter")),
        (json!({"filter": {"colour": "red"}}), (422, "unknown_field", "colour")),
        (json!({"filter": {"consumer": "nobody"}}), (422, "invalid_value", "filter.consumer")),
        (json!({"filter": {}, "ratePerSecond": 0}), (422, "invalid_value", "ratePerSecond")),
        (json!({"filter": {}, "ratePerSecond": 99_999_999_999_i64}), (422, "invalid_value", "ratePerSecond")),
        (json!({"ids": (0..1_001).collect::<Vec<_>>()}), (422, "invalid_value", "ids")),
        (json!({"ids": [404]}), (404, "dead_letter_not_found", "")),
        (json!({"ids": [letter]}), (409, "dead_letter_resolved", "")),
        (json!({"ids": [letter], "dryRun": true}), (409, "dead_letter_resolved", "")),
        (json!({"filter": {"cause": "failed: no such thing"}}), (409, "nothing_to_redrive", "")),
    ];
    for (body, problem) in refused {
        let answer = shop.call(post("/v1/admin/redrives").json(&body)).await;
        assert_eq!(answer.problem(), problem, "{body}");
    }
    assert_eq!(shop.call(get("/v1/admin/redrives")).await.body["items"], json!([]));
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let shop = Shop::open().await;
    for call in [
        delete("/v1/admin/dead-letters/1?reason=x"),
        get("/v1/admin/dead-letters/1"),
        post("/v1/admin/dead-letters/x/redrive"),
    ] {
        assert_eq!(shop.call(call).await.problem(), (404, "dead_letter_not_found", ""));
    }
    for call in [get("/v1/admin/redrives/7"), post(format!("/v1/admin/redrives/{}/cancel", Uuid::now_v7()))] {
        assert_eq!(shop.call(call).await.problem(), (404, "redrive_not_found", ""));
    }
}

#[tokio::test]
async fn who_only_looks_changes_nothing() {
    let shop = Shop::open().await;
    let id = shop.park(ORDER_A, "dead").await;
    for call in [
        delete(format!("/v1/admin/dead-letters/{id}?reason=x")),
        post(format!("/v1/admin/dead-letters/{id}/redrive")),
        post("/v1/admin/redrives").json(&json!({"filter": {}, "dryRun": true})),
        post(format!("/v1/admin/redrives/{}/cancel", Uuid::now_v7())),
    ] {
        assert_eq!(shop.api.call(call.role(1, Role::Auditor)).await.status, 403);
    }
    for uri in ["/v1/admin/dead-letters/groups", "/v1/admin/redrives", &format!("/v1/admin/dead-letters/{id}")] {
        assert_eq!(shop.api.call(get(uri).role(1, Role::Auditor)).await.status, 200, "{uri}");
        assert_eq!(shop.api.call(get(uri).user(7)).await.status, 403, "{uri}");
    }
}
