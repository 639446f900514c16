//! One value between a source row and an output row: read from its Avro bytes, written as its text, or as another type's Avro bytes.
//!
//! Only columns whose value changes pass through here; all others are copied as bytes.

use std::borrow::Cow;
use std::fmt::Write as _;

use millrace_schemas::avro::Nullability;
use millrace_schemas::shape::ColumnType;
use millrace_schemas::wire::{self, WireError};

use super::unscaled;
use crate::decode::temporal::{self, days_from_civil};
use crate::decode::{DecodeError, decimal};

pub(super) const US_PER_SECOND: i64 = 1_000_000;
pub(super) const US_PER_DAY: i64 = 86_400 * US_PER_SECOND;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum<'a> {
    Null,
    Boolean(bool),
    Integer(i128),
    /// Its text: a minus where it is negative, digits, and a point and digits where it has a scale.
    Decimal(Cow<'a, str>),
    Float(f32),
    Double(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// Days since 1970-01-01.
    Date(i32),
    /// µs since 1970-01-01 00:00:00 of the same clock.
    DateTime(i64),
    /// µs since 1970-01-01 00:00:00 UTC.
    Timestamp(i64),
    /// µs.
    Time(i64),
}

/// Why a value can't be read from its bytes, or written as its type. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatumError {
    /// The bytes aren't those of the column's type.
    #[error("the row's bytes aren't those of its schema: {0}")]
    Wire(#[from] WireError),
    /// A decimal or a time that can't be written.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// The bytes aren't those of the column's type.
    #[error("the row's bytes aren't those of {0}")]
    Bytes(&'static str),
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

/// Reads a column's value from its bytes, union branch included.
pub(super) fn read<'a>(kind: &ColumnType, nullability: Nullability, mut bytes: &'a [u8]) -> Result<Datum<'a>, DatumError> {
    let null = match nullability {
        Nullability::Required => false,
        Nullability::NullFirst => wire::take_long(&mut bytes)? == 0,
        Nullability::NullLast => wire::take_long(&mut bytes)? == 1,
    };
    if null {
        return Ok(Datum::Null);
    }
    let input = &mut bytes;
    Ok(match kind {
        ColumnType::BigInt { unsigned: true } => {
            let text = unscaled::text(wire::take_bytes(input)?, 0);
            Datum::Integer(text.parse().map_err(|_| DatumError::Bytes("BIGINT UNSIGNED"))?)
        }
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. }
        | ColumnType::Year => Datum::Integer(i128::from(wire::take_long(input)?)),
        ColumnType::Float => Datum::Float(f32::from_le_bytes(array(input, "FLOAT")?)),
        ColumnType::Double => Datum::Double(f64::from_le_bytes(array(input, "DOUBLE")?)),
        ColumnType::Decimal { scale, .. } => Datum::Decimal(Cow::Owned(unscaled::text(wire::take_bytes(input)?, *scale))),
        ColumnType::Bit { bits: 0..=1 } => Datum::Boolean(array::<1>(input, "BIT")? != [0]),
        ColumnType::Bit { .. } => {
            let little_endian = wire::take_bytes(input)?;
            Datum::Integer(little_endian.iter().rev().take(8).fold(0, |value, byte| value << 8 | i128::from(*byte)))
        }
        ColumnType::Date => Datum::Date(i32::try_from(wire::take_long(input)?).map_err(|_| DatumError::Bytes("DATE"))?),
        ColumnType::Time { .. } => Datum::Time(wire::take_long(input)?),
        ColumnType::DateTime { fsp: 0..=3 } => {
            Datum::DateTime(wire::take_long(input)?.checked_mul(1000).ok_or(DatumError::Bytes("DATETIME"))?)
        }
        ColumnType::DateTime { .. } => Datum::DateTime(wire::take_long(input)?),
        ColumnType::Timestamp { .. } => Datum::Timestamp(zoned(wire::take_bytes(input)?).ok_or(DatumError::Bytes("TIMESTAMP"))?),
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json => {
            Datum::Text(Cow::Borrowed(std::str::from_utf8(wire::take_bytes(input)?).map_err(|_| DatumError::Bytes("UTF-8"))?))
        }
        ColumnType::Binary { .. } => Datum::Bytes(Cow::Borrowed(wire::take_bytes(input)?)),
        ColumnType::Geometry { .. } | ColumnType::Vector => {
            return Err(DatumError::Kind { found: "its value", kind: "another type".to_owned() });
        }
    })
}

fn array<const N: usize>(input: &mut &[u8], what: &'static str) -> Result<[u8; N], DatumError> {
    wire::take(input, N)?.try_into().map_err(|_| DatumError::Bytes(what))
}

/// `2018-06-20T13:37:03.1Z`, as µs.
fn zoned(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    Some(i64::from(parse_date(date)?) * US_PER_DAY + parse_time(time).filter(|us| (0..US_PER_DAY).contains(us))?)
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
    if hour > 838 || minute > 59 || second > 59 || fraction.len() > 6 {
        return None;
    }
    let micros: i64 = if fraction.is_empty() { 0 } else { digits(&format!("{fraction:0<6}"))? };
    let us = ((hour * 60 + minute) * 60 + second) * US_PER_SECOND + micros;
    Some(if negative { -us } else { us })
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

impl Datum<'_> {
    /// What it is, in words.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Boolean(_) => "a truth value",
            Self::Integer(_) => "an integer",
            Self::Decimal(_) => "a decimal",
            Self::Float(_) | Self::Double(_) => "a floating-point number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Date(_) => "a date",
            Self::DateTime(_) | Self::Timestamp(_) => "a time of a day",
            Self::Time(_) => "a time",
        }
    }

    /// Its text as MySQL shows it, with as many fractional digits as `kind` has. None for what has no exact one: floating-point numbers and bytes.
    pub(super) fn text(&self, kind: &ColumnType) -> Option<Cow<'_, str>> {
        let fsp = match kind {
            ColumnType::Time { fsp } | ColumnType::DateTime { fsp } | ColumnType::Timestamp { fsp } => *fsp,
            _ => 0,
        };
        Some(match self {
            Self::Null | Self::Float(_) | Self::Double(_) | Self::Bytes(_) => return None,
            Self::Boolean(value) => Cow::Borrowed(if *value { "1" } else { "0" }),
            // A YEAR has four digits.
            Self::Integer(value) if *kind == ColumnType::Year => Cow::Owned(format!("{value:04}")),
            Self::Integer(value) => Cow::Owned(value.to_string()),
            Self::Decimal(text) | Self::Text(text) => Cow::Borrowed(text),
            Self::Date(days) => Cow::Owned(date_text(*days)),
            Self::DateTime(us) | Self::Timestamp(us) => {
                let day = i32::try_from(us.div_euclid(US_PER_DAY)).ok()?;
                Cow::Owned(format!("{} {}", date_text(day), time_text(us.rem_euclid(US_PER_DAY), fsp)))
            }
            Self::Time(us) => Cow::Owned(time_text(*us, fsp)),
        })
    }

    /// Appends it as a value of `kind`, union branch included. It must be one: nothing is converted here.
    pub(super) fn write(&self, kind: &ColumnType, nullability: Nullability, out: &mut Vec<u8>) -> Result<(), DatumError> {
        let null = *self == Self::Null;
        match nullability {
            Nullability::Required if null => return Err(DatumError::Null),
            Nullability::Required => {}
            Nullability::NullFirst => wire::put_long(out, i64::from(!null)),
            Nullability::NullLast => wire::put_long(out, i64::from(null)),
        }
        if null {
            return Ok(());
        }
        let long = |value: &i128| i64::try_from(*value).map_err(|_| self.misfit(kind));
        match (kind, self) {
            (ColumnType::BigInt { unsigned: true }, Self::Integer(value)) => {
                let value = u64::try_from(*value).map_err(|_| self.misfit(kind))?;
                wire::put_sized(out, |out| {
                    decimal::u64_to_unscaled(value, out);
                    Ok::<_, DatumError>(())
                })?;
            }
            (
                ColumnType::TinyInt { .. }
                | ColumnType::SmallInt { .. }
                | ColumnType::MediumInt { .. }
                | ColumnType::Int { .. }
                | ColumnType::BigInt { .. }
                | ColumnType::Year,
                Self::Integer(value),
            ) => wire::put_long(out, long(value)?),
            (ColumnType::Float, Self::Float(value)) => wire::put_float(out, *value),
            (ColumnType::Double, Self::Double(value)) => wire::put_double(out, *value),
            (ColumnType::Decimal { scale, .. }, Self::Decimal(text)) => {
                wire::put_sized(out, |out| decimal::from_text(text.as_bytes(), *scale, out))?;
            }
            (ColumnType::Bit { bits: 0..=1 }, Self::Boolean(value)) => out.push(u8::from(*value)),
            (ColumnType::Bit { bits }, Self::Integer(value)) => {
                let little_endian = u64::try_from(*value).map_err(|_| self.misfit(kind))?.to_le_bytes();
                wire::put_bytes(out, little_endian.get(..usize::from(*bits).div_ceil(8)).unwrap_or(&little_endian));
            }
            (ColumnType::Date, Self::Date(days)) => wire::put_long(out, i64::from(*days)),
            (ColumnType::Time { .. }, Self::Time(us)) => wire::put_long(out, *us),
            (ColumnType::DateTime { fsp }, Self::DateTime(us)) => wire::put_long(out, if *fsp <= 3 { us.div_euclid(1000) } else { *us }),
            (ColumnType::Timestamp { fsp }, Self::Timestamp(us)) => wire::put_sized(out, |out| temporal::write_zoned(*us, *fsp, out))?,
            (ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json, Self::Text(text)) => {
                wire::put_bytes(out, text.as_bytes());
            }
            (ColumnType::Binary { .. }, Self::Bytes(bytes)) => wire::put_bytes(out, bytes),
            _ => return Err(self.misfit(kind)),
        }
        Ok(())
    }

    fn misfit(&self, kind: &ColumnType) -> DatumError {
        DatumError::Kind { found: self.name(), kind: super::types::written(kind) }
    }
}

fn date_text(days: i32) -> String {
    let mut zoned = Vec::new();
    // The day's first second always has a text; what stands before the T is the day.
    let _ = temporal::write_zoned(i64::from(days) * US_PER_DAY, 0, &mut zoned);
    let text = String::from_utf8(zoned).unwrap_or_default();
    text.split('T').next().unwrap_or_default().to_owned()
}

fn time_text(us: i64, fsp: u8) -> String {
    let (magnitude, sign) = (us.unsigned_abs(), if us < 0 { "-" } else { "" });
    let seconds = magnitude / 1_000_000;
    let mut text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fsp > 0 {
        let fraction = format!("{:06}", magnitude % 1_000_000);
        let _ = write!(text, ".{}", fraction.get(..usize::from(fsp)).unwrap_or(&fraction));
    }
    text
}
