//! The provider's signed callback.

use chrono::Utc;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::support::{Answer, CALLBACK_SECRET, TestApi, USER, get, post};

/// An order being paid, and what the provider would say of it.
struct Paying {
    api: TestApi,
    order: String,
    payment: String,
}

impl Paying {
    async fn start() -> Self {
        let api = TestApi::with_stock().await;
        let order = api.order_awaiting_payment("order").await;
        let body = json!({"paymentMethod": "ALIPAY"});
        let paid = api.call(post(format!("/v1/orders/{order}/payments")).user(USER).key("pay").json(&body)).await;
        let payment = paid.body["paymentId"].as_str().unwrap().to_owned();
        Self { api, order, payment }
    }

    fn succeeded(&self) -> Value {
        json!({
            "paymentId": self.payment, "orderId": self.order, "status": "SUCCEEDED", "amount": 598,
            "providerReference": "provider-1", "paidTime": Utc::now().timestamp_millis()
        })
    }

    async fn report(&self, webhook_id: &str, body: &Value) -> Answer {
        self.send(webhook_id, Utc::now().timestamp(), CALLBACK_SECRET, &body.to_string(), &body.to_string()).await
    }

    /// Signs one text and sends another, which is the same unless a test says otherwise.
    async fn send(&self, id: &str, timestamp: i64, secret: &str, signed: &str, sent: &str) -> Answer {
        let signature = Webhook::new(secret).unwrap().sign(id, timestamp, signed.as_bytes()).unwrap();
        let call = post("/v1/payments/callback")
            .header("webhook-id", id)
            .header("webhook-timestamp", &timestamp.to_string())
            .header("webhook-signature", &signature)
            .raw(sent);
        self.api.call(call).await
    }

    async fn status(&self) -> String {
        let order = self.api.call(get(format!("/v1/orders/{}", self.order)).user(USER)).await;
        order.body["status"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_capture_pays_the_order_once_however_often_it_is_reported() {
    let paying = Paying::start().await;
    let body = paying.succeeded();
    assert_eq!(paying.report("msg_1", &body).await.status, 204);
    assert_eq!(paying.status().await, "PAID");
    let events = paying.api.events().await;

    assert_eq!(paying.report("msg_1", &body).await.status, 204, "the same webhook again");
    assert_eq!(paying.report("msg_2", &body).await.status, 204, "the same news under another id");
    assert_eq!(paying.api.events().await, events);

    let payment = paying.api.call(get(format!("/v1/payments/{}", paying.payment)).user(USER)).await;
    assert_eq!(payment.body["status"], "SUCCEEDED");
    assert!(payment.text.contains("\"captured\":598.00"), "{}", payment.text);
}

#[tokio::test]
async fn what_comes_of_callbacks_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let paying = Paying::start().await;
    let body = paying.succeeded();
    let text = body.to_string();
    let now = Utc::now().timestamp();
    let mut wrong_amount = body.clone();
    wrong_amount["amount"] = json!(597.99);
    let mut unknown = body.clone();
    unknown["paymentId"] = json!("PAY202412010001");
    let (late, forged) = (now - 301, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

    assert_eq!(paying.send("m", now, forged, &text, &text).await.status, 401);
    assert_eq!(paying.send("m", late, CALLBACK_SECRET, &text, &text).await.status, 401);
    assert_eq!(paying.report("msg_1", &wrong_amount).await.status, 422);
    assert_eq!(paying.report("msg_2", &unknown).await.status, 404);
    assert_eq!(paying.report("msg_3", &json!({"paymentId": 7})).await.status, 422);
    for webhook_id in ["msg_4", "msg_4", "msg_5"] {
        assert_eq!(paying.report(webhook_id, &body).await.status, 204);
    }

    let counted = recorder.handle().render();
    for outcome in ["forged", "stale", "mismatch", "unknown_payment", "malformed", "paid", "repeated", "no_effect"] {
        let line = format!("ledger_payment_callbacks_total{{outcome=\"{outcome}\"}} 1");
        assert!(counted.contains(&line), "{outcome}: {counted}");
    }
}

#[tokio::test]
async fn a_webhook_id_that_was_used_has_no_effect_whatever_it_says_now() {
    let paying = Paying::start().await;
    assert_eq!(paying.report("msg_1", &paying.succeeded()).await.status, 204);
    let events = paying.api.events().await;
    let mut other = paying.succeeded();
    other["status"] = json!("FAILED");
    assert_eq!(paying.report("msg_1", &other).await.status, 204, "the id was used: nobody looks at what is inside");
    assert_eq!(paying.api.events().await, events);
    assert_eq!(paying.status().await, "PAID");
}

#[tokio::test]
async fn a_decline_lets_the_user_pay_again() {
    let paying = Paying::start().await;
    let mut body = paying.succeeded();
    body["status"] = json!("FAILED");
    assert_eq!(paying.report("msg_1", &body).await.status, 204);
    assert_eq!(paying.status().await, "AWAITING_PAYMENT");
    let again = post(format!("/v1/orders/{}/payments", paying.order)).user(USER).key("again");
    assert_eq!(paying.api.call(again.json(&json!({"paymentMethod": "ALIPAY"}))).await.status, 202);
}

#[tokio::test]
async fn a_callback_whose_signature_or_time_is_wrong_is_refused() {
    let paying = Paying::start().await;
    let events = paying.api.events().await;
    let body = paying.succeeded().to_string();
    let now = Utc::now().timestamp();
    let other_secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let respelt = body.replace(':', ": ");
    for (case, answer) in [
        ("another secret", paying.send("m", now, other_secret, &body, &body).await),
        ("another body", paying.send("m", now, CALLBACK_SECRET, &body, &respelt).await),
        ("too old", paying.send("m", now - 301, CALLBACK_SECRET, &body, &body).await),
        ("too early", paying.send("m", now + 330, CALLBACK_SECRET, &body, &body).await),
        ("unsigned", paying.api.call(post("/v1/payments/callback").raw(&body)).await),
    ] {
        assert_eq!(answer.problem(), (401, "signature_invalid", ""), "{case}");
    }
    assert_eq!(paying.api.events().await, events);
    assert_eq!(paying.status().await, "PAYING");
}

#[tokio::test]
async fn a_callback_that_does_not_fit_is_refused_and_the_payment_stays_open() {
    let paying = Paying::start().await;
    let other = paying.api.order_awaiting_payment("other").await;
    let events = paying.api.events().await;
    let with = |field: &str, value: Value| {
        let mut body = paying.succeeded();
        body[field] = value;
        body
    };
    for (number, (body, expected)) in [
        (with("amount", json!(597.99)), (422, "wrong_amount", "")),
        (with("orderId", json!(other)), (422, "wrong_order", "orderId")),
        (with("orderId", json!("ORD202412010001")), (422, "wrong_order", "orderId")),
        (with("orderId", json!("x")), (422, "wrong_order", "orderId")),
        (with("paymentId", json!("PAY202412010001")), (404, "payment_not_found", "")),
        (with("paymentId", json!("x")), (404, "payment_not_found", "")),
        (with("status", json!("MAYBE")), (422, "invalid_value", "status")),
        (with("amount", json!(-1)), (422, "invalid_value", "amount")),
        (with("paidTime", json!(i64::MAX)), (422, "invalid_value", "paidTime")),
        (with("providerReference", json!("")), (422, "invalid_value", "providerReference")),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = paying.report(&format!("msg_{number}"), &body).await;
        assert_eq!(answer.problem(), expected, "case {number}: {answer:?}");
    }
    assert_eq!(paying.api.events().await, events);

    assert_eq!(paying.report("msg_0", &paying.succeeded()).await.status, 204, "what was refused may be reported again");
    assert_eq!(paying.status().await, "PAID");
}
