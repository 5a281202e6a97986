//! Who may call what: a user sees and changes only what is theirs.

use api::auth::Role;
use serde_json::json;

use crate::support::{Call, OTHER_USER, SHOW, TestApi, USER, delete, get, order_body, post, put};

#[tokio::test]
async fn every_call_needs_a_token_but_health_metrics_docs_and_the_callback() {
    let api = TestApi::start().await;
    for call in [
        get("/v1/orders"),
        post("/v1/orders"),
        get("/v1/orders/ORD202412010001"),
        get("/v1/orders/ORD202412010001/events"),
        get("/v1/orders/ORD202412010001/timeline"),
        get("/v1/orders/ORD202412010001/updates"),
        post("/v1/orders/ORD202412010001/payments"),
        post("/v1/orders/ORD202412010001/cancel"),
        get("/v1/payments/PAY202412010001"),
        post("/v1/ticket-types"),
        post("/v1/ticket-types/1/capacity"),
        get("/v1/ticket-types/1/stock"),
        get("/v1/users/1/notifications"),
        get("/v1/users/1/contact"),
        put("/v1/users/1/contact"),
        get("/v1/admin/lag"),
        get("/v1/admin/history"),
        get("/v1/admin/projections"),
        post("/v1/admin/projections/orders/rebuild"),
        post("/v1/admin/projections/orders/rollback"),
        get("/v1/admin/dead-letters"),
        post("/v1/admin/dead-letters/1/redrive"),
        delete("/v1/admin/dead-letters/1"),
        get("/v1/admin/dead-letters/1"),
        get("/v1/admin/dead-letters/groups"),
        get("/v1/admin/redrives"),
        post("/v1/admin/redrives"),
        post("/v1/admin/redrives/1/cancel"),
        get("/v1/admin/sagas"),
        post("/v1/admin/sagas/ORD202412010001/resolve"),
    ] {
        let answer = api.call(call).await;
        assert_eq!(answer.problem(), (401, "token_required", ""));
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for open in ["/livez", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(api.call(get(open)).await.status, 200, "{open}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_ours_is_refused() {
    let api = TestApi::start().await;
    for header in ["Bearer nonsense", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer a.b.c"] {
        let answer = api.call(get("/v1/orders").header("authorization", header)).await;
        assert_eq!(answer.status, 401, "{header}");
    }
}

#[tokio::test]
async fn an_order_for_another_user_is_forbidden_but_to_an_admin() {
    let api = TestApi::with_stock().await;
    let events = api.events().await;
    let place = |call: Call| call.key("one").json(&order_body());
    let refused = api.call(place(post("/v1/orders").user(OTHER_USER))).await;
    assert_eq!(refused.problem(), (403, "forbidden", "userId"));
    let auditor = api.call(place(post("/v1/orders").role(USER, Role::Auditor))).await;
    assert_eq!(auditor.problem(), (403, "forbidden", "userId"));
    assert_eq!(api.events().await, events);

    let placed = api.call(place(post("/v1/orders").admin())).await;
    assert_eq!(placed.status, 202);
    let shown = api.call(get(placed.header("location")).user(USER)).await;
    assert_eq!(shown.body["userId"], USER);
}

#[tokio::test]
async fn somebody_elses_order_looks_like_none() {
    let api = TestApi::with_stock().await;
    let order = api.order_awaiting_payment("one").await;
    let payment = json!({"paymentMethod": "ALIPAY"});
    let pay = |user| post(format!("/v1/orders/{order}/payments")).user(user).key("pay").json(&payment);
    let paid = api.call(pay(USER)).await;
    let events = api.events().await;
    for (call, code) in [
        (get(format!("/v1/orders/{order}")), "order_not_found"),
        (get(format!("/v1/orders/{order}/events")), "order_not_found"),
        (get(format!("/v1/orders/{order}/timeline")), "order_not_found"),
        (get(format!("/v1/orders/{order}/updates")), "order_not_found"),
        (post(format!("/v1/orders/{order}/cancel")), "order_not_found"),
        (get(paid.header("location")), "payment_not_found"),
    ] {
        assert_eq!(api.call(call.user(OTHER_USER)).await.problem(), (404, code, ""));
    }
    assert_eq!(api.call(pay(OTHER_USER)).await.problem(), (404, "order_not_found", ""));
    assert_eq!(api.events().await, events);
}

#[tokio::test]
async fn staff_see_orders_but_only_admins_act_on_them() {
    let api = TestApi::with_stock().await;
    let order = api.place_order("one").await;
    for role in [Role::Operator, Role::Auditor, Role::Admin] {
        assert_eq!(api.call(get(format!("/v1/orders/{order}")).role(1, role)).await.status, 200);
    }
    let cancel = |role| post(format!("/v1/orders/{order}/cancel")).role(1, role);
    assert_eq!(api.call(cancel(Role::Operator)).await.status, 404);
    assert_eq!(api.call(cancel(Role::Auditor)).await.status, 404);
    assert_eq!(api.call(cancel(Role::Admin)).await.status, 202);
}

#[tokio::test]
async fn lists_of_others_are_forbidden() {
    let api = TestApi::start().await;
    for uri in [
        format!("/v1/orders?userId={OTHER_USER}"),
        format!("/v1/users/{OTHER_USER}/notifications"),
        format!("/v1/users/{OTHER_USER}/contact"),
    ] {
        assert_eq!(api.call(get(&uri).user(USER)).await.status, 403, "{uri}");
        assert_eq!(api.call(get(&uri).admin()).await.status, 200, "{uri}");
    }
    let contact = format!("/v1/users/{USER}/contact");
    assert_eq!(api.call(get(&contact).role(1, Role::Operator)).await.status, 403);
    assert_eq!(api.call(put(&contact).user(OTHER_USER).json(&json!({}))).await.status, 403);
}

#[tokio::test]
async fn stock_is_put_on_sale_by_admins_and_operation_is_for_staff() {
    let api = TestApi::with_stock().await;
    let body = json!({"showId": SHOW, "ticketTypeId": 43, "name": "Balcony", "price": 1, "capacity": 1});
    for role in [Role::User, Role::Operator, Role::Auditor] {
        let put = api.call(post("/v1/ticket-types").role(USER, role).json(&body)).await;
        assert_eq!(put.problem(), (403, "forbidden", ""));
        let change = api.call(post("/v1/ticket-types/42/capacity").role(USER, role).json(&json!({"delta": 1}))).await;
        assert_eq!(change.problem(), (403, "forbidden", ""));
    }
    for uri in
        ["/v1/admin/lag", "/v1/admin/history", "/v1/admin/projections", "/v1/admin/dead-letters", "/v1/admin/sagas"]
    {
        assert_eq!(api.call(get(uri).user(USER)).await.problem(), (403, "forbidden", ""));
        assert_eq!(api.call(get(uri).role(1, Role::Auditor)).await.status, 200, "{uri}");
    }
    assert_eq!(api.call(delete("/v1/admin/dead-letters/1").role(1, Role::Auditor)).await.status, 403);
    let resolve = post("/v1/admin/sagas/ORD202412010001/resolve").role(1, Role::Auditor);
    assert_eq!(api.call(resolve.json(&json!({"action": "retry", "reason": "x"}))).await.status, 403);
}
