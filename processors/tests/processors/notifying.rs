use domain::notification::DeliveryStatus;
use domain::{Notification, NotificationEvent, UserId};
use messaging::{Effect, Topic};
use processors::contact::{self, Channel, Contact, Language};
use processors::provider::CallbackStatus::{Failed, Succeeded};

use crate::support::{Shop, USER};

#[tokio::test]
async fn a_user_is_told_what_matters_in_their_language() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let declined = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &declined, Failed).await.unwrap();
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    shop.deliver_all().await;
    assert_eq!(titles(&shop).await, ["座位已为您保留", "支付未成功", "支付成功", "订单已确认"]);
}

#[tokio::test]
async fn a_user_is_reached_on_the_channels_they_chose() {
    let mut shop = Shop::open(10).await;
    let contact = Contact {
        phone: Some("+8613800138000".to_owned()),
        email: Some("buyer@example.com".to_owned()),
        language: Language::En,
        channels: vec![Channel::InApp, Channel::Sms, Channel::Email],
    };
    contact::put(&shop.pool, user(), &contact).await.unwrap();
    let order_id = shop.place_and_lock(1).await;

    assert_eq!(titles(&shop).await, ["Your tickets are held"]);
    let sms = shop.senders.sms.lock().unwrap().clone();
    assert_eq!(sms.len(), 1);
    assert_eq!(sms[0].0, "+8613800138000");
    assert!(sms[0].1.contains(order_id.as_str()));
    let email = shop.senders.email.lock().unwrap().clone();
    assert_eq!(email, [("buyer@example.com".to_owned(), "Your tickets are held".to_owned())]);
    assert_eq!(count(&shop, "NotificationSent").await, 2);
}

#[tokio::test]
async fn a_channel_without_an_address_is_left_out() {
    let mut shop = Shop::open(10).await;
    let contact = Contact {
        phone: None,
        email: Some("buyer@example.com".to_owned()),
        language: Language::Zh,
        channels: vec![Channel::Sms],
    };
    contact::put(&shop.pool, user(), &contact).await.unwrap();
    shop.place_and_lock(1).await;
    assert!(shop.senders.sms.lock().unwrap().is_empty());
    assert!(shop.senders.email.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_phone_and_no_address_enters_an_event() {
    let mut shop = Shop::open(10).await;
    let contact = Contact {
        phone: Some("+8613800138000".to_owned()),
        email: Some("buyer@example.com".to_owned()),
        language: Language::Zh,
        channels: vec![Channel::Sms, Channel::Email],
    };
    contact::put(&shop.pool, user(), &contact).await.unwrap();
    assert_eq!(contact::get(&shop.pool, user()).await.unwrap(), Some(contact.clone()));
    assert!(!format!("{contact:?}").contains("buyer"));
    shop.place_and_lock(1).await;
    let leaking: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM store.events WHERE payload::text || metadata::text ~ '13800138000|buyer@example.com'",
    )
    .fetch_one(&shop.pool)
    .await
    .unwrap();
    assert_eq!(leaking, 0);
}

#[tokio::test]
async fn a_text_message_that_was_sent_is_not_sent_again() {
    let mut shop = Shop::open(10).await;
    let contact = Contact {
        phone: Some("+8613800138000".to_owned()),
        email: None,
        language: Language::Zh,
        channels: vec![Channel::Sms],
    };
    contact::put(&shop.pool, user(), &contact).await.unwrap();
    let sms = loop {
        if let Some(sms) = shop.take(Topic::SmsNotification).await.pop() {
            break sms;
        }
        let messages = std::mem::take(shop.waiting().await);
        if messages.is_empty() {
            shop.place(1).await;
        }
        for message in messages {
            shop.deliver(&message).await.unwrap();
        }
    };
    assert_eq!(shop.deliver(&sms).await, Ok(Effect::Applied));
    assert_eq!(shop.deliver(&sms).await, Ok(Effect::Duplicate));
    assert_eq!(shop.senders.sms.lock().unwrap().len(), 1);
    let id = sms.decode::<messaging::message::SmsNotification>().unwrap().notification_id;
    let notification = shop.ledger.load::<Notification>(&id.to_string()).await.unwrap().state.requested.unwrap();
    assert_eq!(notification.delivery(domain::Channel::Sms), Some(DeliveryStatus::Sent));
}

fn user() -> UserId {
    UserId::new(USER).unwrap()
}

async fn titles(shop: &Shop) -> Vec<String> {
    let events = event_store::read::after(&shop.pool, 0, 10_000, None).await.unwrap();
    let requested = events.iter().filter(|event| event.event_type == "NotificationRequested");
    requested
        .map(|event| match event.decode::<Notification>().unwrap() {
            NotificationEvent::NotificationRequested { title, .. } => title,
            other => panic!("{other:?}"),
        })
        .collect()
}

async fn count(shop: &Shop, event_type: &str) -> usize {
    let events = event_store::read::after(&shop.pool, 0, 10_000, None).await.unwrap();
    events.iter().filter(|event| event.event_type == event_type).count()
}
