//! Every rule of input: its status, code and field; and nothing is written.

use serde_json::{Value, json};

use crate::support::{Call, SHOW, TICKET_TYPE, TestApi, USER, get, order_body, post, put};

/// Sends each call and expects its refusal, then that the ledger is as it was.
async fn expect_refusals(api: &TestApi, cases: Vec<(Call, (u16, &str, &str))>) {
    let events = api.events().await;
    for (number, (call, expected)) in cases.into_iter().enumerate() {
        let answer = api.call(call).await;
        assert_eq!(answer.problem(), expected, "case {number}: {answer:?}");
    }
    assert_eq!(api.events().await, events, "a refused request wrote something");
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn without(mut body: Value, field: &str) -> Value {
    body.as_object_mut().unwrap().remove(field);
    body
}

fn place(body: &Value) -> Call {
    post("/v1/orders").user(USER).key("key").json(body)
}

#[tokio::test]
async fn orders() {
    let api = TestApi::with_stock().await;
    let wrong = |field: &'static str, value: Value, code: &'static str| {
        (place(&with(order_body(), field, value)), (422, code, field))
    };
    let mut cases = vec![
        wrong("quantity", json!(0), "invalid_value"),
        wrong("quantity", json!(-1), "invalid_value"),
        wrong("quantity", json!(11), "invalid_value"),
        wrong("quantity", json!(1.5), "invalid_value"),
        wrong("quantity", json!("2"), "invalid_value"),
        wrong("quantity", json!(null), "invalid_value"),
        wrong("showId", json!(0), "invalid_value"),
        wrong("showId", json!([7]), "invalid_value"),
        wrong("ticketTypeId", json!(-42), "invalid_value"),
        wrong("ticketTypeId", json!(i64::MAX as u64 + 1), "invalid_value"),
        wrong("price", json!(1), "unknown_field"),
        (place(&with(order_body(), "userId", json!(0))), (422, "invalid_value", "userId")),
        (place(&with(order_body(), "ticketTypeId", json!(4711))), (404, "ticket_type_not_found", "ticketTypeId")),
        (place(&with(order_body(), "showId", json!(SHOW + 1))), (404, "ticket_type_not_found", "ticketTypeId")),
    ];
    for field in ["userId", "showId", "ticketTypeId", "quantity"] {
        cases.push((place(&without(order_body(), field)), (422, "missing_field", field)));
    }
    expect_refusals(&api, cases).await;
}

#[tokio::test]
async fn bodies() {
    let api = TestApi::with_stock().await;
    let order = || post("/v1/orders").user(USER).key("key");
    let padded = format!("{{\"userId\":{USER},{}\"quantity\":1}}", " ".repeat(64 * 1024));
    expect_refusals(
        &api,
        vec![
            (order().raw(""), (400, "malformed_json", "")),
            (order().raw("{\"userId\":"), (400, "malformed_json", "")),
            (order().raw(&format!("{} and more", order_body())), (400, "malformed_json", "")),
            (order().raw("[1,7,42,2]"), (400, "malformed_json", "")),
            (order().raw("null"), (400, "malformed_json", "")),
            (order().raw(&"{\"a\":".repeat(200)), (422, "unknown_field", "a")),
            (order().raw(&padded), (413, "body_too_large", "")),
            (order().bytes(order_body().to_string().as_bytes()), (415, "unsupported_media_type", "")),
            (order().header("content-type", "text/plain").bytes(b"{}"), (415, "unsupported_media_type", "")),
            (order().raw("{\"userId\":1,\"userId\":2}"), (422, "duplicate_field", "userId")),
        ],
    )
    .await;
    let not_utf8 = order().header("content-type", "application/json").bytes(b"{\"userId\":\"\xff\"}");
    assert!(matches!(api.call(not_utf8).await.status, 400 | 422));
}

#[tokio::test]
async fn idempotency_keys() {
    let api = TestApi::with_stock().await;
    let keyed = |key: &str| post("/v1/orders").user(USER).key(key).json(&order_body());
    let field = "Idempotency-Key";
    expect_refusals(
        &api,
        vec![
            (post("/v1/orders").user(USER).json(&order_body()), (428, "idempotency_key_required", field)),
            (keyed(""), (422, "invalid_value", field)),
            (keyed("two words"), (422, "invalid_value", field)),
            (keyed(&"k".repeat(256)), (422, "invalid_value", field)),
        ],
    )
    .await;
    assert_eq!(api.call(keyed(&"k".repeat(255))).await.status, 202);
}

#[tokio::test]
async fn ticket_types() {
    let api = TestApi::with_stock().await;
    let body = json!({"showId": SHOW, "ticketTypeId": 43, "name": "Balcony", "price": 10.5, "capacity": 10});
    let put = |body: Value| post("/v1/ticket-types").admin().json(&body);
    let raw_price = |price: &str| {
        let text =
            format!("{{\"showId\":7,\"ticketTypeId\":43,\"name\":\"Balcony\",\"price\":{price},\"capacity\":10}}");
        post("/v1/ticket-types").admin().raw(&text)
    };
    let wrong =
        |field: &'static str, value: Value| (put(with(body.clone(), field, value)), (422, "invalid_value", field));
    let mut cases = vec![
        wrong("showId", json!(0)),
        wrong("ticketTypeId", json!(0)),
        wrong("name", json!("")),
        wrong("name", json!("  ")),
        wrong("name", json!("x".repeat(101))),
        wrong("name", json!("nul \u{0}")),
        wrong("capacity", json!(-1)),
        wrong("capacity", json!(10_000_001)),
        wrong("capacity", json!(i64::MAX)),
        (put(with(body.clone(), "color", json!("red"))), (422, "unknown_field", "color")),
        (put(with(body.clone(), "ticketTypeId", json!(TICKET_TYPE))), (409, "already_on_sale", "")),
        (put(without(body.clone(), "price")), (422, "missing_field", "price")),
    ];
    for price in ["-0.01", "0.001", "1e2", "\"10.00\"", "1000000000000.00", "null", "true", "{}"] {
        cases.push((raw_price(price), (422, "invalid_value", "price")));
    }
    expect_refusals(&api, cases).await;
}

#[tokio::test]
async fn capacity_changes() {
    let api = TestApi::with_stock().await;
    let change = |body: Value| post(format!("/v1/ticket-types/{TICKET_TYPE}/capacity")).admin().json(&body);
    expect_refusals(
        &api,
        vec![
            (change(json!({"delta": 0})), (422, "invalid_value", "delta")),
            (change(json!({"delta": i64::MIN})), (422, "invalid_value", "delta")),
            (change(json!({"delta": 10_000_001})), (422, "invalid_value", "delta")),
            (change(json!({})), (422, "missing_field", "delta")),
            (change(json!({"delta": -101})), (409, "withdraws_too_many", "")),
            (post("/v1/ticket-types/4711/capacity").admin().json(&json!({"delta": 1})), (404, "not_on_sale", "")),
            (
                post("/v1/ticket-types/x/capacity").admin().json(&json!({"delta": 1})),
                (422, "invalid_value", "ticketTypeId"),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn payments_and_cancellations() {
    let api = TestApi::with_stock().await;
    let order = api.order_awaiting_payment("order").await;
    let pay = |body: Value| post(format!("/v1/orders/{order}/payments")).user(USER).key("pay").json(&body);
    let cancel = |body: Value| post(format!("/v1/orders/{order}/cancel")).user(USER).json(&body);
    let elsewhere = json!({"paymentMethod": "ALIPAY", "callbackUrl": "http://169.254.169.254/latest"});
    expect_refusals(
        &api,
        vec![
            (pay(json!({})), (422, "missing_field", "paymentMethod")),
            (pay(json!({"paymentMethod": ""})), (422, "invalid_value", "paymentMethod")),
            (pay(json!({"paymentMethod": "A B"})), (422, "invalid_value", "paymentMethod")),
            (pay(json!({"paymentMethod": "x".repeat(65)})), (422, "invalid_value", "paymentMethod")),
            (pay(json!({"paymentMethod": 7})), (422, "invalid_value", "paymentMethod")),
            (pay(json!({"paymentMethod": "ALIPAY", "amount": 1})), (422, "unknown_field", "amount")),
            (pay(elsewhere), (422, "callback_url_not_allowed", "callbackUrl")),
            (
                post(format!("/v1/orders/{order}/payments")).user(USER).json(&json!({})),
                (428, "idempotency_key_required", "Idempotency-Key"),
            ),
            (cancel(json!({"reason": ""})), (422, "invalid_value", "reason")),
            (cancel(json!({"reason": "x".repeat(201)})), (422, "invalid_value", "reason")),
            (cancel(json!({"why": "x"})), (422, "unknown_field", "why")),
        ],
    )
    .await;
}

#[tokio::test]
async fn paths_and_queries() {
    let api = TestApi::with_stock().await;
    let orders = |query: &str| get(format!("/v1/orders?{query}")).user(USER);
    expect_refusals(
        &api,
        vec![
            (get("/v1/orders/nonsense").user(USER), (404, "order_not_found", "")),
            (get("/v1/orders/ORD202412010001").user(USER), (404, "order_not_found", "")),
            (get("/v1/orders/%FF").user(USER), (404, "not_found", "")),
            (get("/v1/orders/ORD202412010001/events").user(USER), (404, "order_not_found", "")),
            (post("/v1/orders/ORD202412010001/cancel").user(USER), (404, "order_not_found", "")),
            (get("/v1/payments/PAY202412010001").user(USER), (404, "payment_not_found", "")),
            (get("/v1/payments/x").user(USER), (404, "payment_not_found", "")),
            (get("/v1/ticket-types/0/stock").user(USER), (422, "invalid_value", "ticketTypeId")),
            (get("/v1/ticket-types/4711/stock").user(USER), (404, "ticket_type_not_found", "")),
            (get("/v1/users/-1/notifications").user(USER), (422, "invalid_value", "userId")),
            (orders("status=LOST"), (422, "invalid_value", "status")),
            (orders("limit=0"), (422, "invalid_value", "limit")),
            (orders("limit=501"), (422, "invalid_value", "limit")),
            (orders("limit=x"), (422, "invalid_value", "limit")),
            (orders("after=zzz%20"), (422, "invalid_value", "after")),
            (orders("userId=0"), (422, "invalid_value", "userId")),
            (orders("waitFor=-1"), (422, "invalid_value", "waitFor")),
            (orders("waitFor=1&timeoutMs=10001"), (422, "invalid_value", "timeoutMs")),
            (orders("colour=red"), (422, "unknown_field", "colour")),
            (orders("limit=1&limit=2"), (422, "duplicate_field", "limit")),
            (get("/v1/nowhere").user(USER), (404, "not_found", "")),
            (get("/"), (404, "not_found", "")),
        ],
    )
    .await;
}

#[tokio::test]
async fn contacts() {
    let api = TestApi::start().await;
    let contact = |body: Value| put(format!("/v1/users/{USER}/contact")).user(USER).json(&body);
    expect_refusals(
        &api,
        vec![
            (contact(json!({"phone": "12345"})), (422, "invalid_value", "phone")),
            (contact(json!({"phone": "+1 234"})), (422, "invalid_value", "phone")),
            (contact(json!({"email": "nobody"})), (422, "invalid_value", "email")),
            (contact(json!({"email": "a@b\r\nBcc: c@d"})), (422, "invalid_value", "email")),
            (contact(json!({"email": format!("{}@b", "a".repeat(254))})), (422, "invalid_value", "email")),
            (contact(json!({"language": "tlh"})), (422, "invalid_value", "language")),
            (contact(json!({"channels": ["pigeon"]})), (422, "invalid_value", "channels")),
            (contact(json!({"fax": "1"})), (422, "unknown_field", "fax")),
        ],
    )
    .await;
    let kept = api.call(get(format!("/v1/users/{USER}/contact")).user(USER)).await;
    assert_eq!(kept.body["phone"], Value::Null);
}
