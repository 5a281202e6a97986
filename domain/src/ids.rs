//! Identifiers and quantities that can only hold a valid value.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// `yyyymmdd` and at least four more digits follow the prefix.
const DIGITS_MIN: usize = 12;
/// Room for a date and the largest 128-bit number; longer text is nobody's id.
const DIGITS_MAX: usize = 47;

/// Why a value is not an identifier or a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("{kind} is \"{prefix}\" followed by yyyymmdd and at least four digits")]
    Dated { kind: &'static str, prefix: &'static str },
    #[error("{kind} is a whole number above 0")]
    NotPositive { kind: &'static str },
    #[error("a notification id is a UUID")]
    NotAUuid,
}

macro_rules! dated_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        // Shared text: states hold thousands of ids and are cloned for every decision.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// The id with this number among those of `day`; the caller sees to it that it is unique.
            pub fn on(day: NaiveDate, number: u128) -> Self {
                Self(format!("{}{}{number:04}", $prefix, day.format("%Y%m%d")).into())
            }

            /// Reads an id; anything that does not look like one is refused.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                if is_dated(text, $prefix) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError::Dated { kind: $kind, prefix: $prefix })
                }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    };
}

dated_id!(
    /// An order: `ORD202412010001`.
    OrderId,
    "ORD",
    "an order id"
);
dated_id!(
    /// An attempt to pay for an order: `PAY202412010001`.
    PaymentId,
    "PAY",
    "a payment id"
);
dated_id!(
    /// Stock set aside for an order: `LOCK202412010001`.
    LockId,
    "LOCK",
    "a lock id"
);

fn is_dated(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| {
        (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name(i64);

        impl $name {
            /// An id above 0.
            pub const fn new(number: i64) -> Result<Self, IdError> {
                if number > 0 {
                    Ok(Self(number))
                } else {
                    Err(IdError::NotPositive { kind: $kind })
                }
            }

            /// Reads an id from text.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let number = text.parse().map_err(|_| IdError::NotPositive { kind: $kind })?;
                Self::new(number)
            }

            /// The id as a number.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl TryFrom<i64> for $name {
            type Error = IdError;

            fn try_from(number: i64) -> Result<Self, IdError> {
                Self::new(number)
            }
        }

        impl From<$name> for i64 {
            fn from(id: $name) -> i64 {
                id.0
            }
        }
    };
}

numeric_id!(
    /// Who orders, and whose orders they are.
    UserId,
    "a user id"
);
numeric_id!(
    /// What the tickets are for.
    ShowId,
    "a show id"
);
numeric_id!(
    /// A kind of ticket with a price and a stock of its own.
    TicketTypeId,
    "a ticket type id"
);

/// One notification to one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NotificationId(Uuid);

impl NotificationId {
    /// Reads an id from text.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        Uuid::parse_str(text).map(Self).map_err(|_| IdError::NotAUuid)
    }

    /// The id as a UUID.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for NotificationId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl FromStr for NotificationId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of tickets, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Quantity(NonZeroU32);

impl Quantity {
    /// A quantity above 0.
    pub const fn new(number: u32) -> Result<Self, IdError> {
        match NonZeroU32::new(number) {
            Some(number) => Ok(Self(number)),
            None => Err(IdError::NotPositive { kind: "a quantity" }),
        }
    }

    /// The quantity as a number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl TryFrom<u32> for Quantity {
    type Error = IdError;

    fn try_from(number: u32) -> Result<Self, IdError> {
        Self::new(number)
    }
}

impl From<Quantity> for u32 {
    fn from(quantity: Quantity) -> u32 {
        quantity.get()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
