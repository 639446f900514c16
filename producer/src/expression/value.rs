//! What an expression has as its value.

use std::borrow::Cow;

use super::decimal::Decimal;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// What a condition gives; 1 or 0 where a number is wanted.
    Boolean(bool),
    /// Of an integer type, YEAR or BIT.
    Integer(i128),
    /// Of DECIMAL.
    Decimal(Decimal),
    /// Of FLOAT or DOUBLE.
    Double(f64),
    /// Of a type of characters, and an ENUM's or a SET's label.
    Text(Cow<'a, str>),
    /// Of a type of bytes.
    Bytes(Cow<'a, [u8]>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Of DATETIME: µs since 1970-01-01 00:00:00, as if the wall clock were UTC's.
    DateTime(i64),
    /// µs since the epoch, UTC.
    Timestamp(i64),
    /// µs.
    Time(i64),
}

impl Value<'_> {
    /// Whether it is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}
