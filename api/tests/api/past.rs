//! Orders and stock as they were at a position of the ledger, or at a time.

use api::ApiConfig;
use api::auth::Role;
use serde_json::{Value, json};

use crate::support::{OTHER_USER, TICKET_TYPE, TestApi, USER, get, post};

#[tokio::test]
async fn an_order_is_shown_as_it_was_after_each_of_its_events() {
    let api = TestApi::with_stock().await;
    let on_sale = api.events().await;
    let order = api.paid_order("one").await;
    api.deduct_stock(&order).await;
    let url = format!("/v1/orders/{order}");
    let now = api.call(get(&url).user(USER)).await;
    assert_eq!(now.body["status"], "CONFIRMED");

    let events = api.call(get(format!("{url}/events")).user(USER)).await.body["items"].as_array().unwrap().clone();
    let mut statuses = Vec::new();
    for event in &events {
        let by_position = api.call(get(format!("{url}?at={}", event["position"])).user(USER)).await;
        assert_eq!(by_position.status, 200, "{by_position:?}");
        assert_eq!(
            (&by_position.body["version"], &by_position.body["position"]),
            (&event["version"], &event["position"])
        );
        assert_eq!(by_position.header("etag"), format!("\"{}\"", event["version"]));
        statuses.push(by_position.body["status"].as_str().unwrap().to_owned());
    }
    assert_eq!(statuses, ["PENDING", "AWAITING_PAYMENT", "PAYING", "PAID", "CONFIRMED"]);
    let last = api.call(get(format!("{url}?at={}", api.events().await)).user(USER)).await;
    assert_eq!(last.text, now.text, "at the head it is what it is");

    for (call, problem) in [
        // Before it was placed; and somebody else's, then as now.
        (get(format!("{url}?at={on_sale}")).user(USER), (404, "order_not_found", "")),
        (get(format!("{url}?at=0")).user(USER), (404, "order_not_found", "")),
        (get(format!("{url}?at={}", api.events().await)).user(OTHER_USER), (404, "order_not_found", "")),
        (get(format!("{url}?at={}", api.events().await + 1)).user(USER), (422, "invalid_value", "at")),
        (get(format!("{url}?at=99999999999999999999")).user(USER), (422, "invalid_value", "at")),
        (get(format!("{url}?at=-1")).user(USER), (422, "invalid_value", "at")),
        (get(format!("{url}?at=")).user(USER), (422, "invalid_value", "at")),
        (get(format!("{url}?at=yesterday")).user(USER), (422, "invalid_value", "at")),
        (get(format!("{url}?when=1")).user(USER), (422, "unknown_field", "when")),
    ] {
        assert_eq!(api.call(call).await.problem(), problem);
    }
}

#[tokio::test]
async fn a_time_means_the_last_event_recorded_by_then() {
    let api = TestApi::with_stock().await;
    let order = api.order_awaiting_payment("one").await;
    let change = json!({"delta": 5});
    api.call(post(format!("/v1/ticket-types/{TICKET_TYPE}/capacity")).admin().json(&change)).await;
    let recorded: Vec<(i64, String)> = sqlx::query_as(
        "select max(position), to_char(recorded_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')
         from store.events group by recorded_at order by 1",
    )
    .fetch_all(&api.pool)
    .await
    .unwrap();
    assert!(recorded.len() >= 4, "{recorded:?}");
    // Every append happened at one time: at that time it has happened, and nothing after it.
    for (position, time) in &recorded {
        let by_time = stock(&api, &format!("at={time}")).await;
        assert_eq!(by_time, stock(&api, &format!("at={position}")).await, "{time}");
    }
    let first = &recorded[0].1;
    assert_eq!(stock(&api, &format!("at={first}")).await["available"], 100);
    // A clock that runs ahead a little asks for now; what has not been yet is not made up.
    let soon = (chrono::Utc::now() + chrono::TimeDelta::seconds(1)).to_rfc3339().replace('+', "%2B");
    assert_eq!(stock(&api, &format!("at={soon}")).await, stock(&api, "consistency=current").await);
    for url in [format!("/v1/ticket-types/{TICKET_TYPE}/stock"), format!("/v1/orders/{order}")] {
        let call = get(format!("{url}?at=2999-01-01T00:00:00Z")).user(USER);
        assert_eq!(api.call(call).await.problem(), (422, "invalid_value", "at"), "{url}");
    }
    // The same moment, spelt as in Shanghai.
    let (position, time) = recorded.last().unwrap();
    let shanghai = chrono::DateTime::parse_from_rfc3339(time).unwrap();
    let shanghai = shanghai.with_timezone(&chrono::FixedOffset::east_opt(8 * 3_600).unwrap());
    let spelt = shanghai.to_rfc3339().replace('+', "%2B");
    assert_eq!(stock(&api, &format!("at={spelt}")).await, stock(&api, &format!("at={position}")).await);

    let before = "at=2001-01-01T00:00:00Z";
    let call = get(format!("/v1/ticket-types/{TICKET_TYPE}/stock?{before}")).user(USER);
    assert_eq!(api.call(call).await.problem(), (404, "ticket_type_not_found", ""));
    let call = get(format!("/v1/orders/{order}?{before}")).user(USER);
    assert_eq!(api.call(call).await.problem(), (404, "order_not_found", ""));
    let both = get(format!("/v1/ticket-types/{TICKET_TYPE}/stock?at=1&consistency=cached")).user(USER);
    assert_eq!(api.call(both).await.problem(), (422, "invalid_value", "consistency"));
}

#[tokio::test]
async fn stock_is_shown_as_it_was() {
    let api = TestApi::with_stock().await;
    let on_sale = api.events().await;
    let now = stock(&api, "").await;
    api.order_awaiting_payment("one").await;
    assert_eq!(stock(&api, &format!("at={on_sale}")).await, now);
    let held = stock(&api, &format!("at={}", api.events().await)).await;
    assert_eq!((&held["available"], &held["locked"]), (&json!(98), &json!(2)));
}

#[tokio::test]
async fn only_staff_look_far_into_a_long_past() {
    let api = TestApi::start_with(ApiConfig { max_past_events: 2, ..ApiConfig::default() }).await;
    api.put_on_sale(TICKET_TYPE, 100).await;
    let change = json!({"delta": 5});
    for _ in 0..2 {
        api.call(post(format!("/v1/ticket-types/{TICKET_TYPE}/capacity")).admin().json(&change)).await;
    }
    let url = |position| format!("/v1/ticket-types/{TICKET_TYPE}/stock?at={position}");
    let second = api.call(get(url(2)).user(USER)).await;
    assert_eq!((second.status, &second.body["version"]), (200, &json!(2)));
    assert_eq!(api.call(get(url(3)).user(USER)).await.problem(), (422, "invalid_value", "at"));
    let third = api.call(get(url(3)).role(1, Role::Auditor)).await;
    assert_eq!((third.status, &third.body["version"]), (200, &json!(3)));
}

async fn stock(api: &TestApi, query: &str) -> Value {
    let answer = api.call(get(format!("/v1/ticket-types/{TICKET_TYPE}/stock?{query}")).user(USER)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}
