//! The body of every message, byte for byte, and what is poison.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;

use chrono::DateTime;
use domain::{Mode, Money, OrderId, Quantity};
use messaging::message::{OrderCreate, OrderPayment, SmsNotification, StockLock};
use messaging::{MessageData, ReceivedMessage, Topic, lane_of, outbox_message, property};
use uuid::Uuid;

const MESSAGE_ID: &str = "0190a5c8-7b1e-7d3a-9c4f-1f2e3d4c5b6a";

/// Messages as other systems send them. They say `"messageId": "uuid"`, so an id takes its place.
const SAMPLES: [(Topic, &str); 3] = [
    (Topic::OrderCreate, include_str!("samples/order-create.json")),
    (Topic::OrderPayment, include_str!("samples/payment-process.json")),
    (Topic::StockLock, include_str!("samples/stock-lock.json")),
];

fn parse(topic: Topic, body: &str) -> Result<ReceivedMessage, messaging::Poison> {
    ReceivedMessage::from_parts(topic.name(), body.as_bytes(), &HashMap::new())
}

fn sample(topic: Topic) -> String {
    let (_, body) = SAMPLES.iter().find(|(of, _)| *of == topic).expect("a sample");
    body.replace("\"uuid\"", &format!("\"{MESSAGE_ID}\""))
}

fn order_create() -> OrderCreate {
    OrderCreate {
        order_id: OrderId::parse("ORD202312250001").unwrap(),
        user_id: 12345.try_into().unwrap(),
        show_id: 1001.try_into().unwrap(),
        ticket_type_id: 2001.try_into().unwrap(),
        quantity: Quantity::try_from(2).unwrap(),
        total_amount: Money::parse("299.00").unwrap(),
        order_time: 1640995200000,
        expire_time: 1640996100000,
    }
}

#[test]
fn the_samples_parse() {
    let order = parse(Topic::OrderCreate, &sample(Topic::OrderCreate)).unwrap();
    assert_eq!(order.message_id.to_string(), MESSAGE_ID);
    assert_eq!(order.timestamp, 1640995200000);
    assert_eq!(order.source, "order-service");
    assert_eq!((order.ordering_key.as_str(), order.waiting_key.as_str()), ("ORD202312250001", "ORD202312250001"));
    assert_eq!(order.decode::<OrderCreate>().unwrap(), order_create());

    let payment = parse(Topic::OrderPayment, &sample(Topic::OrderPayment)).unwrap();
    assert_eq!(payment.ordering_key, "ORD202312250001");
    let payment: OrderPayment = payment.decode().unwrap();
    assert_eq!(payment.business_id(), "PAY202312250001");
    assert_eq!(payment.payment_method, "ALIPAY");
    assert_eq!(payment.amount.to_string(), "299.00");
    assert_eq!(payment.callback_url.as_deref(), Some("https://api.example.com/payment/callback"));

    let lock = parse(Topic::StockLock, &sample(Topic::StockLock)).unwrap();
    assert_eq!(lock.ordering_key, "2001", "stock messages are ordered by ticket type");
    assert_eq!(lock.waiting_key, "ORD202312250001", "but one that fails holds up its order only");
    let lock: StockLock = lock.decode().unwrap();
    assert_eq!(lock.business_id(), "LOCK202312250001");
    assert_eq!(lock.lock_time_seconds, 300);
}

#[test]
fn the_body_is_exactly_the_envelope() {
    let now = DateTime::from_timestamp_millis(1640995200000).unwrap();
    let message = outbox_message(MESSAGE_ID.parse().unwrap(), now, &order_create());
    assert_eq!(
        message.body,
        concat!(
            r#"{"messageId":"0190a5c8-7b1e-7d3a-9c4f-1f2e3d4c5b6a","timestamp":1640995200000,"eventType":"ORDER_CREATE","#,
            r#""data":{"orderId":"ORD202312250001","userId":12345,"showId":1001,"ticketTypeId":2001,"quantity":2,"#,
            r#""totalAmount":299.00,"orderTime":1640995200000,"expireTime":1640996100000},"#,
            r#""source":"order-service","version":"1.0"}"#
        )
    );
    assert_eq!(message.topic, "order-create");
    assert_eq!(message.event_type, "ORDER_CREATE");
    assert_eq!(message.ordering_key, "ORD202312250001");
    assert_eq!(message.business_id, "ORD202312250001");
    assert_eq!(message.lane, lane_of(Topic::OrderCreate, "ORD202312250001"));
}

#[test]
fn what_is_sent_is_what_is_received() {
    let now = DateTime::from_timestamp_millis(1640995200000).unwrap();
    let id = Uuid::now_v7();
    let received = parse(Topic::OrderCreate, &outbox_message(id, now, &order_create()).body).unwrap();
    assert_eq!(received.message_id, id);
    assert_eq!(received.decode::<OrderCreate>().unwrap(), order_create());
}

#[test]
fn what_travels_beside_the_body_is_read_from_properties() {
    let properties = [
        (property::ORDERING_KEY, "ORD202312250001"),
        (property::STREAM_ID, "order-ORD202312250001"),
        (property::STREAM_VERSION, "3"),
        (property::POSITION, "4711"),
        (property::CORRELATION_ID, "request-1"),
        (property::CAUSATION_ID, "command-1"),
        (property::TRACEPARENT, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        (property::MODE, "async"),
        (property::REPLAY, "true"),
        ("UNIQ_KEY", "the broker's own"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let body = sample(Topic::OrderCreate);
    let message = ReceivedMessage::from_parts("order-create", body.as_bytes(), &HashMap::from(properties)).unwrap();
    assert_eq!(message.stream_id.as_deref(), Some("order-ORD202312250001"));
    assert_eq!((message.stream_version, message.position), (Some(3), Some(4711)));
    assert_eq!(message.mode, Some(Mode::Async));
    assert!(message.replay);

    let caused = message.metadata();
    assert_eq!(caused.correlation_id.as_deref(), Some("request-1"));
    assert_eq!(caused.causation_id.as_deref(), Some(MESSAGE_ID), "the message is the cause of what it causes");
    assert_eq!(caused.traceparent, message.traceparent);
    assert_eq!(message.inbox_key("order").scope, "inbox:order");
}

#[test]
fn what_is_no_message_of_its_topic_is_poison_with_its_reason() {
    let good = sample(Topic::OrderCreate);
    let cases = [
        ("not json at all".to_owned(), "body is no message envelope: expected ident at line 1 column 2"),
        (good.replace(MESSAGE_ID, "42"), "body is no message envelope: UUID parsing failed"),
        (good.replace("\"1.0\"", "\"2.0\""), "version \"2.0\" is not supported, only 1.x is"),
        (good.replace("\"1.0\"", "\"one\""), "version \"one\" is not supported, only 1.x is"),
        (good.replace("\"1.0\"", "\"1.x\""), "version \"1.x\" is not of the form 1.x"),
        (good.replace("ORDER_CREATE", "ORDER_EATEN"), "unknown eventType \"ORDER_EATEN\""),
        (
            good.replace("ORDER_CREATE", "STOCK_LOCK"),
            "eventType STOCK_LOCK belongs to topic stock-lock, not to order-create",
        ),
        (good.replace("\"quantity\": 2", "\"quantity\": 0"), "data is none of ORDER_CREATE: "),
        (good.replace("299.00", "299.001"), "data is none of ORDER_CREATE: "),
        (good.replace("\"ORD202312250001\"", "7"), "data is none of ORDER_CREATE: "),
    ];
    for (body, reason) in cases {
        let poison = parse(Topic::OrderCreate, &body).expect_err(&body);
        assert!(poison.reason.starts_with(reason), "reason {:?} of {body}", poison.reason);
    }
}

#[test]
fn minor_versions_and_members_yet_unknown_are_accepted() {
    let body = sample(Topic::OrderCreate)
        .replace("\"1.0\"", "\"1.7\", \"signedBy\": \"somebody\"")
        .replace("\"quantity\": 2", "\"quantity\": 2, \"seats\": [\"A1\", \"A2\"]");
    assert_eq!(parse(Topic::OrderCreate, &body).unwrap().decode::<OrderCreate>().unwrap(), order_create());
}

#[test]
fn a_property_that_makes_no_sense_is_poison() {
    for (name, value) in [(property::POSITION, "soon"), (property::STREAM_VERSION, "-1"), (property::MODE, "maybe")] {
        let properties = HashMap::from([(name.to_owned(), value.to_owned())]);
        let body = sample(Topic::OrderCreate);
        let poison = ReceivedMessage::from_parts("order-create", body.as_bytes(), &properties).unwrap_err();
        assert!(poison.reason.contains(name), "{}", poison.reason);
    }
}

#[test]
fn an_ordering_key_no_database_can_hold_is_poison() {
    let properties = HashMap::from([(property::ORDERING_KEY.to_owned(), "a\0b".to_owned())]);
    let body = sample(Topic::OrderCreate);
    let poison = ReceivedMessage::from_parts("order-create", body.as_bytes(), &properties).unwrap_err();
    assert_eq!(poison.reason, "property orderingKey holds a NUL");
}

#[test]
fn data_of_one_topic_is_not_taken_for_anothers() {
    let message = parse(Topic::OrderCreate, &sample(Topic::OrderCreate)).unwrap();
    let poison = message.decode::<StockLock>().unwrap_err();
    assert_eq!(poison.reason, "a message of order-create is not one of stock-lock");
}

#[test]
fn logs_never_show_where_a_user_lives_on_the_net() {
    let sms = SmsNotification {
        notification_id: Uuid::now_v7().into(),
        user_id: 7.try_into().unwrap(),
        phone: "+41791234567".into(),
        body: "Your order is confirmed".into(),
    };
    assert!(!format!("{sms:?}").contains("4179"));
}
