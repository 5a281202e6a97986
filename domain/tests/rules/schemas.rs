//! What the ledger holds can be read for ever: one stored payload of each event and schema version
//! lies in `tests/fixtures`. A changed format shows there as a diff, and asks for a new version.

use std::path::PathBuf;

use cqrs_es::DomainEvent;
use domain::fulfilment::ResolveAction;
use domain::{
    Channel, Decider, Fulfilment, FulfilmentEvent, Mode, Notification, NotificationEvent, NotificationId, Order,
    OrderEvent, OrderStatus, Payment, PaymentEvent, Stock, StockEvent, UpcastError,
};
use rstest::rstest;

use crate::support::{at, lock_id, money, order_id, payment_id, quantity, show_id, ticket_type_id, user_id};

pub fn order_placed() -> OrderEvent {
    OrderEvent::OrderPlaced {
        order_id: order_id(1),
        user_id: user_id(),
        show_id: show_id(),
        ticket_type_id: ticket_type_id(),
        quantity: quantity(2),
        total_amount: money("598.00"),
        order_time: at(0),
        expire_time: at(900),
        mode: Mode::Async,
    }
}

fn order_events() -> Vec<OrderEvent> {
    vec![
        order_placed(),
        OrderEvent::OrderStockHeld { lock_id: lock_id(1), lock_expires_at: at(300) },
        OrderEvent::OrderRejected { reason: "insufficient_stock".to_owned() },
        OrderEvent::OrderPaymentStarted {
            payment_id: payment_id(1),
            payment_method: "ALIPAY".to_owned(),
            lock_id: lock_id(1),
        },
        OrderEvent::OrderPaymentFailed { payment_id: payment_id(1), reason: "declined".to_owned() },
        OrderEvent::OrderPaid { payment_id: payment_id(1), amount: money("598.00"), lock_id: lock_id(1) },
        OrderEvent::OrderConfirmed { lock_id: lock_id(1) },
        OrderEvent::OrderCancelled { reason: "changed_my_mind".to_owned() },
        OrderEvent::OrderExpired {},
        OrderEvent::OrderRefundStarted {
            payment_id: payment_id(1),
            amount: money("598.00"),
            reason: "no_tickets_held".to_owned(),
            status: OrderStatus::Refunding,
        },
        OrderEvent::OrderRefunded { payment_id: payment_id(1), status: OrderStatus::Refunded },
    ]
}

fn stock_events() -> Vec<StockEvent> {
    vec![
        StockEvent::TicketTypePutOnSale {
            ticket_type_id: ticket_type_id(),
            show_id: show_id(),
            name: "VIP".to_owned(),
            price: money("299.00"),
            capacity: 1500,
        },
        StockEvent::CapacityChanged { delta: -100 },
        StockEvent::StockLocked {
            lock_id: lock_id(1),
            order_id: order_id(1),
            quantity: quantity(2),
            expires_at: at(300),
        },
        StockEvent::StockLockRenewed { lock_id: lock_id(1), expires_at: at(360) },
        StockEvent::StockLockSecured { lock_id: lock_id(1) },
        StockEvent::StockDeducted { lock_id: lock_id(1), order_id: order_id(1), quantity: quantity(2) },
        StockEvent::StockReleased {
            lock_id: lock_id(1),
            order_id: order_id(1),
            quantity: quantity(2),
            reason: "order_cancelled".to_owned(),
        },
        StockEvent::StockLockLapsed { lock_id: lock_id(1), order_id: order_id(1), quantity: quantity(2) },
        StockEvent::StockRollbackRemembered { lock_id: lock_id(1), reason: "order_cancelled".to_owned() },
        StockEvent::StockReturned {
            lock_id: lock_id(1),
            order_id: order_id(1),
            quantity: quantity(2),
            reason: "order_refunded".to_owned(),
        },
    ]
}

pub fn payment_requested() -> PaymentEvent {
    PaymentEvent::PaymentRequested {
        payment_id: payment_id(1),
        order_id: order_id(1),
        user_id: user_id(),
        payment_method: "ALIPAY".to_owned(),
        amount: money("598.00"),
        callback_url: Some("https://shop.example/paid".to_owned()),
    }
}

fn payment_events() -> Vec<PaymentEvent> {
    vec![
        payment_requested(),
        PaymentEvent::PaymentCaptured {
            amount: money("598.00"),
            provider_reference: "ch_1".to_owned(),
            paid_time: at(60),
        },
        PaymentEvent::PaymentFailed { reason: "declined".to_owned() },
        PaymentEvent::RefundStarted { amount: money("598.00"), reason: "order_cancelled".to_owned() },
        PaymentEvent::RefundCompleted { amount: money("598.00"), provider_reference: "re_1".to_owned() },
    ]
}

pub fn fulfilment_begun() -> FulfilmentEvent {
    FulfilmentEvent::FulfilmentBegun {
        order_id: order_id(1),
        ticket_type_id: ticket_type_id(),
        quantity: quantity(2),
        lock_id: lock_id(1),
    }
}

fn fulfilment_events() -> Vec<FulfilmentEvent> {
    vec![
        fulfilment_begun(),
        FulfilmentEvent::LockGranted { lock_id: lock_id(1) },
        FulfilmentEvent::LockRefused { lock_id: lock_id(1), reason: "insufficient_stock".to_owned() },
        FulfilmentEvent::FulfilmentLockLapsed { lock_id: lock_id(1) },
        FulfilmentEvent::Relocked { lock_id: lock_id(2) },
        FulfilmentEvent::CaptureRecorded { payment_id: payment_id(1), refund_owed: false },
        FulfilmentEvent::FulfilmentCompleted {},
        FulfilmentEvent::CompensationStarted { reason: "expired".to_owned() },
        FulfilmentEvent::CompensationCompleted { lock_id: lock_id(1) },
        FulfilmentEvent::RefundRecorded { payment_id: payment_id(1) },
        FulfilmentEvent::RefundFailed {
            payment_id: payment_id(1),
            attempt: 2,
            reason: "account closed".to_owned(),
            handed_over: false,
        },
        FulfilmentEvent::CompensationResolved {
            action: ResolveAction::Skip,
            reason: "paid back by bank transfer".to_owned(),
        },
    ]
}

pub fn notification_requested() -> NotificationEvent {
    NotificationEvent::NotificationRequested {
        notification_id: NotificationId::parse("01938a3c-7b1e-7c0d-9e2f-3a4b5c6d7e8f").unwrap(),
        user_id: user_id(),
        order_id: order_id(1),
        template: "order_confirmed".to_owned(),
        title: "Your tickets".to_owned(),
        body: "Order ORD202412010001 is confirmed.".to_owned(),
    }
}

fn notification_events() -> Vec<NotificationEvent> {
    vec![
        notification_requested(),
        NotificationEvent::NotificationDispatched { channels: vec![Channel::Sms, Channel::Email] },
        NotificationEvent::NotificationSent { channel: Channel::Sms, provider_reference: "sms_1".to_owned() },
        NotificationEvent::NotificationFailed { channel: Channel::Email, reason: "unreachable".to_owned() },
    ]
}

fn fixture(event_type: &str, version: u16) -> String {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{event_type}.v{version}.json"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim_end().to_owned()
}

/// The inner object of the externally tagged event: what the store keeps.
fn stored<E: DomainEvent>(event: &E) -> String {
    let tagged = serde_json::to_string(event).unwrap();
    let before = format!(r#"{{"{}":"#, event.event_type());
    let payload = tagged.strip_prefix(&before).unwrap();
    payload.strip_suffix('}').unwrap().to_owned()
}

fn read<A: Decider>(event_type: &str, version: u16, payload: String) -> A::Event {
    let payload = A::upcast(event_type, version, payload).unwrap();
    serde_json::from_str(&format!(r#"{{"{event_type}":{payload}}}"#)).unwrap()
}

#[rstest]
#[case::order(order_events(), Order::SCHEMAS)]
#[case::stock(stock_events(), Stock::SCHEMAS)]
#[case::payment(payment_events(), Payment::SCHEMAS)]
#[case::fulfilment(fulfilment_events(), Fulfilment::SCHEMAS)]
#[case::notification(notification_events(), Notification::SCHEMAS)]
fn an_event_is_written_as_its_fixture_says<E: DomainEvent>(
    #[case] events: Vec<E>,
    #[case] schemas: &[domain::EventSchema],
) {
    assert_eq!(events.len(), schemas.len(), "one example of each event");
    for (event, schema) in events.iter().zip(schemas) {
        assert_eq!(event.event_type(), schema.event_type);
        assert_eq!(event.event_version(), schema.version.to_string());
        assert_eq!(stored(event), fixture(schema.event_type, schema.version), "{}", schema.event_type);
    }
}

fn every_version_is_read<A: Decider>() {
    for schema in A::SCHEMAS {
        for version in 1..=schema.version {
            let event = read::<A>(schema.event_type, version, fixture(schema.event_type, version));
            assert_eq!(event.event_type(), schema.event_type);
        }
    }
}

#[test]
fn every_event_of_every_version_is_read() {
    every_version_is_read::<Order>();
    every_version_is_read::<Stock>();
    every_version_is_read::<Payment>();
    every_version_is_read::<Fulfilment>();
    every_version_is_read::<Notification>();
}

#[test]
fn an_order_placed_before_there_were_modes_was_async() {
    let event = read::<Order>("OrderPlaced", 1, fixture("OrderPlaced", 1));

    assert_eq!(event, order_placed());
}

#[test]
fn an_upcast_keeps_the_digits_of_money() {
    let old = fixture("OrderPlaced", 1).replace("598.00", "999999999999.90");

    let new = Order::upcast("OrderPlaced", 1, old).unwrap();

    assert!(new.contains(r#""totalAmount":999999999999.90"#), "{new}");
    assert!(new.contains(r#""mode":"async""#), "{new}");
}

#[rstest]
#[case::written_by_a_newer_program("OrderPlaced", 3)]
#[case::no_version("OrderPlaced", 0)]
#[case::written_by_a_newer_program("OrderExpired", 2)]
fn a_version_it_does_not_know_is_refused(#[case] event_type: &str, #[case] version: u16) {
    assert!(matches!(Order::upcast(event_type, version, "{}".to_owned()), Err(UpcastError::UnknownVersion { .. })));
}

#[test]
fn an_event_it_does_not_know_is_refused() {
    assert!(matches!(Stock::upcast("OrderPlaced", 1, "{}".to_owned()), Err(UpcastError::UnknownType { .. })));
}

#[test]
fn an_old_payload_that_is_no_object_is_refused() {
    assert!(matches!(Order::upcast("OrderPlaced", 1, "[]".to_owned()), Err(UpcastError::Malformed { .. })));
}
