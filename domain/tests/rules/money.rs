use domain::{Money, MoneyError, Quantity};
use proptest::prelude::*;
use rstest::rstest;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::support::{money, quantity};

/// Amounts live inside externally tagged enums: the events.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Paid {
    InFull { amount: Money },
    OnAccount(Money),
}

#[rstest]
#[case::whole("299", "299.00")]
#[case::one_decimal("299.0", "299.00")]
#[case::two_decimals("299.00", "299.00")]
#[case::nothing("0", "0.00")]
#[case::a_cent("0.01", "0.01")]
#[case::what_a_float_cannot_hold("999999999999.99", "999999999999.99")]
fn money_is_read_with_up_to_two_decimals_and_written_with_two(#[case] read: &str, #[case] written: &str) {
    let paid: Paid = serde_json::from_str(&format!(r#"{{"InFull":{{"amount":{read}}}}}"#)).unwrap();

    assert_eq!(serde_json::to_string(&paid).unwrap(), format!(r#"{{"InFull":{{"amount":{written}}}}}"#));
    assert_eq!(Money::parse(read).unwrap().to_string(), written);
}

#[rstest]
#[case::negative("-1.00", MoneyError::Negative)]
#[case::three_decimals("1.005", MoneyError::TooManyDecimals)]
#[case::three_decimals_of_nothing("1.000", MoneyError::TooManyDecimals)]
#[case::exponent("1e2", MoneyError::NotPlain)]
#[case::text("\"299.00\"", MoneyError::NotPlain)]
#[case::null("null", MoneyError::NotPlain)]
#[case::object("{}", MoneyError::NotPlain)]
#[case::above_the_largest("1000000000000", MoneyError::TooLarge)]
#[case::far_above_the_largest("99999999999999999999999999999999999999", MoneyError::TooLarge)]
fn what_is_not_an_amount_is_refused_with_the_reason(#[case] json: &str, #[case] expected: MoneyError) {
    assert_eq!(Money::parse(json), Err(expected));

    let refused = serde_json::from_str::<Paid>(&format!(r#"{{"InFull":{{"amount":{json}}}}}"#));
    let message = refused.unwrap_err().to_string();
    assert!(message.starts_with(&expected.to_string()), "{message}");
}

#[rstest]
#[case("")]
#[case(".5")]
#[case("5.")]
#[case("+5")]
#[case("1_000")]
#[case(" 5")]
#[case("٣")]
fn text_that_is_no_plain_number_is_refused(#[case] text: &str) {
    assert_eq!(Money::parse(text), Err(MoneyError::NotPlain));
}

#[rstest]
#[case::as_a_database_pads_it(Decimal::new(1_500, 3), Ok("1.50"))]
#[case::whole(Decimal::new(2, 0), Ok("2.00"))]
#[case::three_decimals(Decimal::new(1_005, 3), Err(MoneyError::TooManyDecimals))]
#[case::negative(Decimal::new(-1, 2), Err(MoneyError::Negative))]
#[case::too_large(Decimal::MAX, Err(MoneyError::TooLarge))]
fn a_decimal_is_money_where_no_digit_is_lost(#[case] decimal: Decimal, #[case] expected: Result<&str, MoneyError>) {
    assert_eq!(Money::try_from(decimal), expected.map(money));
}

#[test]
fn a_price_times_a_quantity_is_exact_or_nothing() {
    assert_eq!(money("299.99").times(quantity(3)), Some(money("899.97")));
    assert_eq!(Money::MAX.times(quantity(2)), None);
}

const MAX_MINOR_UNITS: u64 = 99_999_999_999_999;

proptest! {
    #[test]
    fn sums_and_differences_are_exact(a in 0..=MAX_MINOR_UNITS, b in 0..=MAX_MINOR_UNITS) {
        let (x, y) = (Money::from_minor_units(a).unwrap(), Money::from_minor_units(b).unwrap());

        prop_assert_eq!(x.checked_add(y), Money::from_minor_units(a + b).ok());
        let difference = a.checked_sub(b).map(|units| Money::from_minor_units(units).unwrap());
        prop_assert_eq!(x.checked_sub(y), difference);
    }

    #[test]
    fn what_is_added_can_be_taken_away_again(a in 0..=MAX_MINOR_UNITS / 2, b in 0..=MAX_MINOR_UNITS / 2) {
        let (x, y) = (Money::from_minor_units(a).unwrap(), Money::from_minor_units(b).unwrap());

        prop_assert_eq!(x.checked_add(y).unwrap().checked_sub(y), Some(x));
    }

    #[test]
    fn multiplication_is_repeated_addition(units in 0..=1_000_000_000_u64, times in 1..=50_u32) {
        let price = Money::from_minor_units(units).unwrap();
        let sum = (0..times).try_fold(Money::ZERO, |sum, _| sum.checked_add(price));

        prop_assert_eq!(price.times(Quantity::new(times).unwrap()), sum);
    }

    #[test]
    fn json_keeps_every_digit(units in 0..=MAX_MINOR_UNITS) {
        let paid = Paid::OnAccount(Money::from_minor_units(units).unwrap());
        let json = serde_json::to_string(&paid).unwrap();

        prop_assert_eq!(&json, &format!(r#"{{"OnAccount":{}.{:02}}}"#, units / 100, units % 100));
        prop_assert_eq!(serde_json::from_str::<Paid>(&json).unwrap(), paid);
    }
}
