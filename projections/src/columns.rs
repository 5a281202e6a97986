//! Columns of a read model as domain values.

use domain::Money;
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row, Type};

/// A column, made a domain value by `convert`.
pub(crate) fn column<'r, S, T, E>(
    row: &'r PgRow,
    name: &'static str,
    convert: impl FnOnce(S) -> Result<T, E>,
) -> Result<T, sqlx::Error>
where
    S: Decode<'r, Postgres> + Type<Postgres>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    convert(row.try_get(name)?).map_err(|error| decode_error(name, error))
}

/// A column that may be null.
pub(crate) fn optional<T, E>(
    row: &PgRow,
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, sqlx::Error>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let text: Option<&str> = row.try_get(name)?;
    text.map(parse).transpose().map_err(|error| decode_error(name, error))
}

pub(crate) fn money(row: &PgRow, name: &'static str) -> Result<Money, sqlx::Error> {
    column(row, name, |amount: Decimal| Money::try_from(amount))
}

fn decode_error(name: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: name.to_owned(), source: error.into() }
}
