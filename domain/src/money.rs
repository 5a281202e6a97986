//! Exact, non-negative amounts with two decimals.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

use crate::ids::Quantity;

const DECIMALS: u32 = 2;
/// Twelve digits before the point: what `numeric(14, 2)` holds.
const MAX_MINOR_UNITS: u64 = 99_999_999_999_999;
const MAX: Decimal = Decimal::from_parts(MAX_MINOR_UNITS as u32, (MAX_MINOR_UNITS >> 32) as u32, 0, false, DECIMALS);

/// An amount of money: never negative, never more than two decimals, never a float.
///
/// In JSON it is a number written with two decimals (`299.00`), read and written as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(Decimal);

/// Why a value is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("an amount is a plain decimal number like 299.00")]
    NotPlain,
    #[error("an amount is not negative")]
    Negative,
    #[error("an amount has at most two decimals")]
    TooManyDecimals,
    #[error("an amount is at most {MAX}")]
    TooLarge,
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::from_parts(0, 0, 0, false, DECIMALS));
    /// The largest amount.
    pub const MAX: Self = Self(MAX);

    /// Reads `299`, `299.0` or `299.00`.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        if text.starts_with('-') {
            return Err(MoneyError::Negative);
        }
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(MoneyError::NotPlain),
            None => (text, ""),
        };
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return Err(MoneyError::NotPlain);
        }
        if fraction.len() > DECIMALS as usize {
            return Err(MoneyError::TooManyDecimals);
        }
        let amount = Decimal::from_str_exact(text).map_err(|_| MoneyError::TooLarge)?;
        Self::try_from(amount)
    }

    /// An amount from whole hundredths.
    pub fn from_minor_units(minor_units: u64) -> Result<Self, MoneyError> {
        if minor_units > MAX_MINOR_UNITS {
            return Err(MoneyError::TooLarge);
        }
        Ok(Self(Decimal::from_i128_with_scale(i128::from(minor_units), DECIMALS)))
    }

    /// The exact sum; `None` beyond [`Money::MAX`].
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Self::try_from(self.0.checked_add(other.0)?).ok()
    }

    /// The exact difference; `None` below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Self::try_from(self.0.checked_sub(other.0)?).ok()
    }

    /// The price of that many; `None` beyond [`Money::MAX`].
    #[must_use]
    pub fn times(self, quantity: Quantity) -> Option<Self> {
        Self::try_from(self.0.checked_mul(Decimal::from(quantity.get()))?).ok()
    }

    /// The amount as a decimal with two digits after the point.
    pub const fn as_decimal(self) -> Decimal {
        self.0
    }
}

impl Default for Money {
    fn default() -> Self {
        Self::ZERO
    }
}

impl TryFrom<Decimal> for Money {
    type Error = MoneyError;

    fn try_from(amount: Decimal) -> Result<Self, MoneyError> {
        if amount < Decimal::ZERO {
            return Err(MoneyError::Negative);
        }
        if amount > MAX {
            return Err(MoneyError::TooLarge);
        }
        let mut exact = amount;
        exact.rescale(DECIMALS);
        if exact != amount {
            return Err(MoneyError::TooManyDecimals);
        }
        Ok(Self(exact))
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        Self::parse(text)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Money({})", self.0)
    }
}

/// Raw JSON, because every other way to a JSON number in serde goes through `f64`.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(number.get()).map_err(de::Error::custom)
    }
}
