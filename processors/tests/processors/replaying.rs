//! A replay shows again what happened, and does none of it again.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{OrderStatus, UserId};
use messaging::{Effect, Handler, ReceivedMessage, Topic};
use processors::contact::{self, Channel, Contact, Language};
use processors::handlers::{self, ProcessorParts};
use processors::provider::CallbackStatus::Succeeded;

use crate::support::{Shop, USER};

/// Everything that was ever sent, as a replay sends it.
async fn replayed(shop: &Shop) -> Vec<ReceivedMessage> {
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("SELECT topic, ordering_key, body FROM store.outbox ORDER BY position, n")
            .fetch_all(&shop.pool)
            .await
            .unwrap();
    let message = |(topic, ordering_key, body): (String, String, String)| {
        let properties =
            HashMap::from([("orderingKey".to_owned(), ordering_key), ("replay".to_owned(), "true".to_owned())]);
        ReceivedMessage::from_parts(&topic, body.as_bytes(), &properties).unwrap()
    };
    rows.into_iter().map(message).collect()
}

#[tokio::test]
async fn a_replay_asks_for_no_money_and_rings_no_phone() {
    let mut shop = Shop::open(10).await;
    reachable_everywhere(&shop).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.deliver_all().await;
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    shop.deliver_all().await;
    assert_eq!(shop.status(&order_id).await, OrderStatus::Confirmed);
    let (head, texts, mails) = (shop.head().await, sent_texts(&shop), sent_mails(&shop));
    assert!(texts > 0 && mails > 0, "{texts} texts, {mails} mails");

    // Long after, when nobody remembers the messages.
    sqlx::query("DELETE FROM store.command_key").execute(&shop.pool).await.unwrap();
    for message in replayed(&shop).await {
        shop.deliver(&message).await.unwrap();
    }
    assert_eq!(shop.provider.starts(), [payment_id]);
    assert_eq!((sent_texts(&shop), sent_mails(&shop)), (texts, mails));
    assert_eq!(shop.head().await, head);
    for kind in ["payment_query", "payment_result", "refund"] {
        assert_eq!(shop.deadlines(kind).await, 0, "{kind}");
    }
}

#[tokio::test]
async fn a_replay_before_the_message_itself_takes_nothing_from_it() {
    for topic in [Topic::OrderPayment, Topic::SmsNotification, Topic::EmailNotification] {
        let mut shop = Shop::open(10).await;
        reachable_everywhere(&shop).await;
        let order_id = shop.place(1).await;
        if topic == Topic::OrderPayment {
            shop.deliver_all().await;
            shop.pay(&order_id).await.unwrap();
        }
        let mut message = next_of(&mut shop, topic).await;
        let calls_before = calls(&shop);
        message.replay = true;
        assert_eq!(shop.deliver(&message).await.unwrap(), Effect::Duplicate, "{topic}");
        assert_eq!(calls(&shop), calls_before, "{topic}");
        message.replay = false;
        assert_eq!(shop.deliver(&message).await.unwrap(), Effect::Applied, "{topic}");
        assert_eq!(calls(&shop), calls_before + 1, "{topic}");
    }
}

/// The rule, for each consumer there is: the list is the process role's own, so a new consumer is held to it by being there.
#[tokio::test]
async fn no_consumer_reaches_anybody_outside_on_a_replay() {
    let mut callers = Vec::new();
    for name in handlers::NAMES {
        let topics = {
            let shop = Shop::open(1).await;
            handler_of(&shop, name).topics()
        };
        for topic in topics {
            let mut shop = Shop::open(10).await;
            reachable_everywhere(&shop).await;
            let mut message = brought_up(&mut shop, *topic).await;
            let handler = handler_of(&shop, name);
            let calls_before = calls(&shop);
            let says_quiet = handler.is_quiet_on_replay();
            assert_eq!(says_quiet, handlers::QUIET_ON_REPLAY.contains(&name), "{name}, whose runtime asks");

            message.replay = true;
            handler.handle(std::slice::from_ref(&message)).await;
            assert_eq!(calls(&shop), calls_before, "{name} reached outside for a replayed message of {topic}");

            // The same message live: where nobody is called either, the case would prove nothing.
            message.replay = false;
            handler.handle(std::slice::from_ref(&message)).await;
            if calls(&shop) > calls_before {
                callers.push(name);
            }
        }
    }
    assert_eq!(callers, handlers::QUIET_ON_REPLAY, "all that call anybody have been seen to");
}

fn handler_of(shop: &Shop, name: &str) -> Arc<dyn Handler> {
    // By each of its fields: a new way out needs a witness here, and in `calls`.
    let ProcessorParts { policy, provider: _, sms: _, email: _, stock_cache, max_concurrent_calls, give_up_after } =
        shop.parts.clone();
    let parts = ProcessorParts {
        policy,
        provider: shop.provider.clone(),
        sms: shop.senders.clone(),
        email: shop.senders.clone(),
        stock_cache,
        max_concurrent_calls,
        give_up_after,
    };
    handlers::handler(name, &shop.ledger, &parts).unwrap_or_else(|| panic!("{name} is not built"))
}

/// A message of this topic, fresh from the outbox, at the moment when it has most to say.
async fn brought_up(shop: &mut Shop, topic: Topic) -> ReceivedMessage {
    let order_id = shop.place(1).await;
    if matches!(topic, Topic::OrderPayment | Topic::StockDeduct | Topic::StockRollback) {
        shop.deliver_all().await;
    }
    match topic {
        Topic::OrderPayment => drop(shop.pay(&order_id).await.unwrap()),
        Topic::StockDeduct => {
            let payment_id = shop.pay(&order_id).await.unwrap();
            shop.deliver_all().await;
            shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
        }
        Topic::OrderCancel | Topic::StockRollback => drop(shop.cancel(&order_id).await.unwrap()),
        _ => {}
    }
    next_of(shop, topic).await
}

/// Delivers until a message of this topic is next.
async fn next_of(shop: &mut Shop, topic: Topic) -> ReceivedMessage {
    loop {
        assert!(!shop.waiting().await.is_empty(), "no message of {topic} is coming");
        let message = shop.waiting().await.remove(0);
        if message.topic == topic {
            return message;
        }
        shop.deliver(&message).await.unwrap();
    }
}

async fn reachable_everywhere(shop: &Shop) {
    let contact = Contact {
        phone: Some("+8613800138000".to_owned()),
        email: Some("buyer@example.com".to_owned()),
        language: Language::Zh,
        channels: vec![Channel::InApp, Channel::Sms, Channel::Email],
    };
    contact::put(&shop.pool, UserId::new(USER).unwrap(), &contact).await.unwrap();
}

fn sent_texts(shop: &Shop) -> usize {
    shop.senders.sms.lock().unwrap().len()
}

fn sent_mails(shop: &Shop) -> usize {
    shop.senders.email.lock().unwrap().len()
}

fn calls(shop: &Shop) -> usize {
    shop.provider.starts().len() + shop.provider.refunds().len() + sent_texts(shop) + sent_mails(shop)
}
