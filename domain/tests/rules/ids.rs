use domain::{LockId, NotificationId, OrderId, PaymentId, Quantity, TicketTypeId, UserId};
use rstest::rstest;

use crate::support::order_id;

#[rstest]
#[case("ORD202412010001")]
#[case("ORD20241201340282366920938463463374607431768211455")]
fn an_order_id_is_a_prefix_a_day_and_a_number(#[case] text: &str) {
    let id = OrderId::parse(text).unwrap();

    assert_eq!(id.as_str(), text);
    assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
    assert_eq!(serde_json::from_str::<OrderId>(&format!("\"{text}\"")).unwrap(), id);
}

#[test]
fn an_id_made_for_a_day_has_at_least_four_digits_and_is_read_again() {
    let id = order_id(7);

    assert_eq!(id.as_str(), "ORD202412010007");
    assert_eq!(OrderId::parse(id.as_str()), Ok(id));
    assert_eq!(OrderId::parse(order_id(u128::MAX).as_str()), Ok(order_id(u128::MAX)));
}

#[rstest]
#[case::empty("")]
#[case::another_kind("PAY202412010001")]
#[case::too_short("ORD20241201001")]
#[case::too_long("ORD202412013402823669209384634633746074317682114550")]
#[case::not_digits("ORD2024120100A1")]
#[case::a_path("ORD20241201/../1")]
#[case::digits_of_another_script("ORD2024120100٣١")]
fn what_is_no_order_id_is_refused(#[case] text: &str) {
    assert!(OrderId::parse(text).is_err());
    assert!(serde_json::from_str::<OrderId>(&serde_json::to_string(text).unwrap()).is_err());
}

#[test]
fn each_kind_of_id_has_a_prefix_of_its_own() {
    assert!(PaymentId::parse("PAY202412010001").is_ok());
    assert!(LockId::parse("LOCK202412010001").is_ok());
    assert!(LockId::parse("ORD202412010001").is_err());
}

#[rstest]
#[case("0")]
#[case("-1")]
#[case("1.5")]
#[case("\"1\"")]
#[case("9223372036854775808")]
fn a_number_that_is_no_id_is_refused(#[case] json: &str) {
    assert!(serde_json::from_str::<UserId>(json).is_err());
    assert!(serde_json::from_str::<TicketTypeId>(json).is_err());
}

#[test]
fn numeric_ids_are_json_numbers_and_read_from_text() {
    let id = UserId::parse("12345").unwrap();

    assert_eq!(id.get(), 12345);
    assert_eq!(serde_json::to_string(&id).unwrap(), "12345");
    assert!(UserId::parse("zero").is_err());
}

#[test]
fn a_quantity_is_at_least_one() {
    assert!(Quantity::new(0).is_err());
    assert!(serde_json::from_str::<Quantity>("0").is_err());
    assert_eq!(serde_json::from_str::<Quantity>("2").unwrap().get(), 2);
}

#[test]
fn a_notification_id_is_a_uuid() {
    let text = "01938a3c-7b1e-7c0d-9e2f-3a4b5c6d7e8f";

    assert_eq!(NotificationId::parse(text).unwrap().to_string(), text);
    assert!(NotificationId::parse("1").is_err());
}
