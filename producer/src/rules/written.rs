//! A value as a column's Avro bytes, as MySQL's text, and from it.
//!
//! Only columns whose value changes pass through here; all others are copied as bytes.

use std::borrow::Cow;

use millrace_schemas::avro::Nullability;
use millrace_schemas::shape::ColumnType;
use millrace_schemas::wire;

use super::types;
use crate::decode::temporal::{self, days_from_civil};
use crate::decode::{DecodeError, decimal};
use crate::expression::{Value, text};

pub(super) const US_PER_SECOND: i64 = 1_000_000;
pub(super) const US_PER_DAY: i64 = 86_400 * US_PER_SECOND;

/// 838:59:59, the longest TIME.
const TIME_US_MAX: i64 = (839 * 3600 - 1) * US_PER_SECOND;

/// Why a value can't be written as its type. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A time that can't be written.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// The value and the column's type have nothing to do with each other.
    #[error("{found} can't be written as {kind}")]
    Kind {
        /// What there is.
        found: &'static str,
        /// The column's type.
        kind: String,
    },
    /// NULL where the schema has none.
    #[error("NULL in a column that is NOT NULL")]
    Null,
}

/// What a value is, in words.
pub(super) fn name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Boolean(_) => "a truth value",
        Value::Integer(_) => "an integer",
        Value::Decimal(_) => "a decimal",
        Value::Double(_) => "a floating-point number",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Date(_) => "a date",
        Value::DateTime(_) | Value::Timestamp(_) => "a time of a day",
        Value::Time(_) => "a time",
    }
}

/// A value's text as MySQL shows it, with as many fractional digits as `kind` has. None for what has no exact one: floating-point numbers and bytes.
pub(super) fn text<'v>(value: &'v Value<'_>, kind: &ColumnType) -> Option<Cow<'v, str>> {
    let fsp = match kind {
        ColumnType::Time { fsp } | ColumnType::DateTime { fsp } | ColumnType::Timestamp { fsp } => *fsp,
        _ => 0,
    };
    Some(match value {
        Value::Null | Value::Double(_) | Value::Bytes(_) => return None,
        Value::Boolean(value) => Cow::Borrowed(if *value { "1" } else { "0" }),
        // A YEAR has four digits.
        Value::Integer(value) if *kind == ColumnType::Year => Cow::Owned(format!("{value:04}")),
        Value::Integer(value) => Cow::Owned(value.to_string()),
        Value::Decimal(value) => Cow::Owned(value.to_string()),
        Value::Text(text) => Cow::Borrowed(text),
        Value::Date(days) => Cow::Owned(text::date(i64::from(*days))),
        Value::DateTime(us) | Value::Timestamp(us) => Cow::Owned(text::datetime(*us, fsp)),
        Value::Time(us) => Cow::Owned(text::time(*us, fsp)),
    })
}

/// Appends a value of `kind`, union branch included. Nothing is converted here.
pub(super) fn write(value: &Value<'_>, kind: &ColumnType, nullability: Nullability, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let null = value.is_null();
    match nullability {
        Nullability::Required if null => return Err(WriteError::Null),
        Nullability::Required => {}
        Nullability::NullFirst => wire::put_long(out, i64::from(!null)),
        Nullability::NullLast => wire::put_long(out, i64::from(null)),
    }
    if null {
        return Ok(());
    }
    let misfit = || WriteError::Kind { found: name(value), kind: types::written(kind) };
    match (kind, value) {
        (ColumnType::BigInt { unsigned: true }, Value::Integer(value)) => {
            let value = u64::try_from(*value).map_err(|_| misfit())?;
            wire::put_sized(out, |out| {
                decimal::u64_to_unscaled(value, out);
                Ok::<_, WriteError>(())
            })?;
        }
        (ColumnType::Bit { bits: 0..=1 }, Value::Integer(value)) => out.push(u8::from(*value != 0)),
        (ColumnType::Bit { bits }, Value::Integer(value)) => {
            let little_endian = u64::try_from(*value).map_err(|_| misfit())?.to_le_bytes();
            wire::put_bytes(out, little_endian.get(..usize::from(*bits).div_ceil(8)).unwrap_or(&little_endian));
        }
        (
            ColumnType::TinyInt { .. }
            | ColumnType::SmallInt { .. }
            | ColumnType::MediumInt { .. }
            | ColumnType::Int { .. }
            | ColumnType::BigInt { .. }
            | ColumnType::Year,
            Value::Integer(value),
        ) => wire::put_long(out, i64::try_from(*value).map_err(|_| misfit())?),
        (ColumnType::Float, Value::Double(value)) => wire::put_float(out, nearest_float(*value)),
        (ColumnType::Double, Value::Double(value)) => wire::put_double(out, *value),
        (ColumnType::Decimal { scale, .. }, Value::Decimal(value)) if value.scale() == *scale => {
            wire::put_sized(out, |out| {
                value.append_unscaled(out);
                Ok::<_, WriteError>(())
            })?;
        }
        (ColumnType::Date, Value::Date(days)) => wire::put_long(out, i64::from(*days)),
        (ColumnType::Time { .. }, Value::Time(us)) => wire::put_long(out, *us),
        (ColumnType::DateTime { fsp }, Value::DateTime(us)) => wire::put_long(out, if *fsp <= 3 { us.div_euclid(1000) } else { *us }),
        (ColumnType::Timestamp { fsp }, Value::Timestamp(us)) => wire::put_sized(out, |out| temporal::write_zoned(*us, *fsp, out))?,
        (ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json, Value::Text(text)) => {
            wire::put_bytes(out, text.as_bytes());
        }
        (ColumnType::Binary { .. }, Value::Bytes(bytes)) => wire::put_bytes(out, bytes),
        _ => return Err(misfit()),
    }
    Ok(())
}

/// The nearest FLOAT, ties to even; infinite for what is beyond.
#[allow(clippy::cast_possible_truncation, clippy::as_conversions, reason = "there is no other conversion, and it rounds to the nearest")]
pub(super) fn nearest_float(value: f64) -> f32 {
    value as f32
}

/// `2018-06-20`, as days.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let mut fields = text.split('-');
    let (year, month, day) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    days_from_civil(digits(year)?, digits(month)?, digits(day)?)
}

/// `13:37:03.1` or `-838:59:59`, as µs.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut fields = whole.split(':');
    let (hour, minute, second) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || !(2..=3).contains(&hour.len()) || minute.len() != 2 || second.len() != 2 || text.ends_with('.') {
        return None;
    }
    let (hour, minute, second): (i64, i64, i64) = (digits(hour)?, digits(minute)?, digits(second)?);
    if minute > 59 || second > 59 || fraction.len() > 6 {
        return None;
    }
    let micros: i64 = if fraction.is_empty() { 0 } else { digits(&format!("{fraction:0<6}"))? };
    let us = ((hour * 60 + minute) * 60 + second) * US_PER_SECOND + micros;
    (us <= TIME_US_MAX).then_some(if negative { -us } else { us })
}

/// `2018-06-20 13:37:03.1`, or a day alone, as µs.
pub(super) fn parse_datetime(text: &str) -> Option<i64> {
    match text.split_once(' ') {
        None => Some(i64::from(parse_date(text)?) * US_PER_DAY),
        Some((date, time)) => Some(i64::from(parse_date(date)?) * US_PER_DAY + parse_time(time).filter(|us| (0..US_PER_DAY).contains(us))?),
    }
}

/// Digits alone: no sign, which `parse` would take.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
