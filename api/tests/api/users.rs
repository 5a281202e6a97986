//! Notifications and contacts.

use serde_json::json;

use crate::support::{TestApi, USER, get, put};

#[tokio::test]
async fn a_contact_is_empty_until_it_is_written_and_then_as_written() {
    let api = TestApi::start().await;
    let uri = format!("/v1/users/{USER}/contact");
    let empty = api.call(get(&uri).user(USER)).await;
    assert_eq!(empty.body, json!({"phone": null, "email": null, "language": "zh", "channels": []}));

    let contact =
        json!({"phone": "+8613800138000", "email": "a@b.example", "language": "en", "channels": ["sms", "email"]});
    assert_eq!(api.call(put(&uri).user(USER).json(&contact)).await.status, 200);
    assert_eq!(api.call(get(&uri).user(USER)).await.body, contact);

    let fewer = json!({"phone": null, "email": "a@b.example", "channels": ["email", "email"]});
    let kept = api.call(put(&uri).user(USER).json(&fewer)).await;
    assert_eq!(kept.body, json!({"phone": null, "email": "a@b.example", "language": "zh", "channels": ["email"]}));
}

#[tokio::test]
async fn a_user_without_notifications_has_an_empty_list() {
    let api = TestApi::start().await;
    let list = api.call(get(format!("/v1/users/{USER}/notifications")).user(USER)).await;
    assert_eq!(list.status, 200);
    assert_eq!(list.body, json!({"items": [], "next": null}));
    assert_eq!(list.header("ledger-position"), "0");
}
