//! Lanes are stored in the outbox and decide which queue a key goes to, so what they are today they are for ever.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use messaging::{LANES, QUEUES_PER_TOPIC, Topic, lane_of, lane_parts};

/// When this fails, the hash or the order of the topics changed: keys would move to other queues and overtake themselves.
#[test]
fn a_key_keeps_its_lane_for_ever() {
    let golden = [
        (Topic::OrderCreate, "ORD202312250001", 5),
        (Topic::OrderCreate, "ORD202312250002", 7),
        (Topic::OrderPayment, "ORD202312250001", 13),
        (Topic::OrderCancel, "ORD202312250001", 21),
        (Topic::OrderStatusUpdate, "ORD202312250001", 29),
        (Topic::StockLock, "2001", 36),
        (Topic::StockDeduct, "2001", 44),
        (Topic::StockRollback, "2002", 48),
        (Topic::StockSync, "1", 62),
        (Topic::UserNotification, "12345", 67),
        (Topic::SmsNotification, "12345", 75),
        (Topic::EmailNotification, "", 86),
    ];
    for (topic, key, lane) in golden {
        assert_eq!(lane_of(topic, key), lane, "lane of {key:?} in {topic}");
    }
}

#[test]
fn topics_keep_their_names_event_types_and_order() {
    let table = [
        ("order-create", "ORDER_CREATE"),
        ("order-payment", "PAYMENT_PROCESS"),
        ("order-cancel", "ORDER_CANCEL"),
        ("order-status-update", "ORDER_STATUS_UPDATE"),
        ("stock-lock", "STOCK_LOCK"),
        ("stock-deduct", "STOCK_DEDUCT"),
        ("stock-rollback", "STOCK_ROLLBACK"),
        ("stock-sync", "STOCK_SYNC"),
        ("user-notification", "USER_NOTIFICATION"),
        ("sms-notification", "SMS_SEND"),
        ("email-notification", "EMAIL_SEND"),
    ];
    let topics: Vec<(&str, &str)> = Topic::ALL.iter().map(|topic| (topic.name(), topic.event_type())).collect();
    assert_eq!(topics, table);
    for topic in Topic::ALL {
        assert_eq!(Topic::parse(topic.name()), Some(topic));
        assert_eq!(Topic::of_event_type(topic.event_type()), Some(topic));
    }
    assert_eq!(Topic::parse("order-created"), None);
}

#[test]
fn a_lane_is_one_queue_of_one_topic() {
    assert_eq!(LANES, 88);
    let mut seen = std::collections::HashSet::new();
    for lane in 0..LANES {
        let (topic, queue) = lane_parts(lane).expect("a lane");
        assert!(queue < QUEUES_PER_TOPIC);
        assert!(seen.insert((topic, queue)), "lane {lane} is a queue of its own");
    }
    assert_eq!(lane_parts(-1), None);
    assert_eq!(lane_parts(LANES), None);
    let (topic, _) = lane_parts(lane_of(Topic::StockLock, "2001")).expect("a lane");
    assert_eq!(topic, Topic::StockLock);
}

/// Ids count up, and a hash that follows their digits would fill some queues twice as much as others.
#[test]
fn ids_in_a_row_fill_the_queues_evenly() {
    let order_ids = (1..=8_000).map(|number| format!("ORD20231225{number:04}"));
    let ticket_types = (1..=8_000).map(|number: u32| number.to_string());
    for ids in [order_ids.collect::<Vec<_>>(), ticket_types.collect()] {
        let mut filled = [0_u32; QUEUES_PER_TOPIC as usize];
        for id in &ids {
            let (_, queue) = lane_parts(lane_of(Topic::OrderCreate, id)).expect("a lane");
            filled[usize::from(queue)] += 1;
        }
        assert!(filled.iter().all(|count| (900..=1_100).contains(count)), "8,000 ids over 8 queues: {filled:?}");
    }
}
