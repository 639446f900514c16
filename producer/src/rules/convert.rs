//! Values in another type: the same value, or an error. Only floating-point types round, to the nearest number that they have.

use std::borrow::Cow;

use millrace_schemas::shape::{BinaryKind, ColumnType, TextKind};

use super::written::{self, US_PER_DAY, nearest_float, parse_date, parse_datetime, parse_time};
use crate::expression::{Decimal, Value};

/// 2038-01-19 03:14:07.999999, the last that TIMESTAMP has.
const LAST_US_OF_TIMESTAMP: i64 = (1 << 31) * 1_000_000 - 1;

/// Why a value can't be had in a type. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found} that {kind} can't hold exactly: {why}")]
pub struct ConversionError {
    /// What kind of value it is.
    pub found: &'static str,
    /// The type.
    pub kind: String,
    /// What is wrong.
    pub why: &'static str,
}

/// What a type's values are, as far as conversions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Integer,
    Decimal,
    Float,
    Text,
    Bytes,
    Date,
    /// DATETIME, TIMESTAMP
    Moment,
    Time,
    /// Types without conversions.
    Other,
}

fn family(kind: &ColumnType) -> Family {
    match kind {
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. }
        | ColumnType::Bit { .. }
        | ColumnType::Year => Family::Integer,
        ColumnType::Decimal { .. } => Family::Decimal,
        ColumnType::Float | ColumnType::Double => Family::Float,
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json => Family::Text,
        ColumnType::Binary { .. } => Family::Bytes,
        ColumnType::Date => Family::Date,
        ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => Family::Moment,
        ColumnType::Time { .. } => Family::Time,
        ColumnType::Geometry { .. } | ColumnType::Vector => Family::Other,
    }
}

/// Whether values of one type can be had in another.
pub(super) fn is_possible(from: &ColumnType, to: &ColumnType) -> bool {
    use Family::{Bytes, Date, Decimal, Float, Integer, Moment, Other, Text, Time};
    if matches!(to, ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json) {
        return from == to;
    }
    // MySQL takes an ENUM or a SET for its number, text for the bytes of a BIT, and '0' for the year 2000: what is meant isn't clear.
    if matches!(from, ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json) {
        return matches!(to, ColumnType::Text { .. });
    }
    if family(from) == Text && matches!(to, ColumnType::Bit { .. } | ColumnType::Year) {
        return false;
    }
    match (family(from), family(to)) {
        (Other, _) | (_, Other) => false,
        (Integer | Decimal, Integer | Decimal | Float | Text) | (Float, Float) | (Bytes, Bytes) | (Time, Time | Text) => true,
        (Text, Integer | Decimal | Float | Bytes | Date | Moment | Time | Text) | (Date | Moment, Date | Moment | Text) => true,
        _ => false,
    }
}

/// Whether different values stay different in the other type.
pub(super) fn keeps_values_apart(from: &ColumnType, to: &ColumnType) -> bool {
    // '1' and '01' are one number; a rounded number stands for several.
    family(to) != Family::Float && (family(from) != Family::Text || matches!(family(to), Family::Text | Family::Bytes))
        || family(from) == family(to)
}

/// The value as one of `to`.
pub(super) fn convert<'a>(value: Value<'a>, from: &ColumnType, to: &ColumnType) -> Result<Value<'a>, ConversionError> {
    if value == Value::Null {
        return Ok(value);
    }
    let found = written::name(&value);
    let wrong = |why| ConversionError { found, kind: super::types::written(to), why };
    match to {
        ColumnType::Bit { bits: 0..=1 } => match integer(&value).ok_or(wrong("it isn't a whole number"))? {
            bit @ (0 | 1) => Ok(Value::Integer(bit)),
            _ => Err(wrong("it is neither 0 nor 1")),
        },
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. }
        | ColumnType::Bit { .. }
        | ColumnType::Year => {
            let value = integer(&value).ok_or(wrong("it isn't a whole number"))?;
            let (least, most) = range(to);
            if !(least..=most).contains(&value) || (*to == ColumnType::Year && (1..1901).contains(&value)) {
                return Err(wrong("it is out of range"));
            }
            Ok(Value::Integer(value))
        }
        ColumnType::Decimal { precision, scale } => {
            let text = written::text(&value, from).ok_or(wrong("it is no decimal number"))?;
            Ok(Value::Decimal(rescaled(&text, *precision, *scale).map_err(wrong)?))
        }
        // By way of DOUBLE, as MySQL does it.
        ColumnType::Float => {
            let number = match value {
                Value::Double(value) => value,
                other => number(&other, from).ok_or(wrong("it is no number"))?,
            };
            let number = nearest_float(number);
            if number.is_finite() { Ok(Value::Double(f64::from(number))) } else { Err(wrong("it is out of range")) }
        }
        ColumnType::Double => {
            let number = match value {
                Value::Double(value) => value,
                other => number(&other, from).ok_or(wrong("it is no number"))?,
            };
            if number.is_finite() { Ok(Value::Double(number)) } else { Err(wrong("it is out of range")) }
        }
        ColumnType::Text { kind, chars, .. } => {
            let text = match value {
                Value::Text(text) => text,
                other => Cow::Owned(written::text(&other, from).ok_or(wrong("it has no exact text"))?.into_owned()),
            };
            let fits = match kind {
                TextKind::Char | TextKind::VarChar => text.chars().count() <= usize::try_from(*chars).unwrap_or(usize::MAX),
                TextKind::TinyText => text.len() <= 0xff,
                TextKind::Text => text.len() <= 0xffff,
                TextKind::MediumText => text.len() <= 0xff_ffff,
                TextKind::LongText => true,
            };
            if fits { Ok(Value::Text(text)) } else { Err(wrong("it is too long; cut it with truncate, or give the column a longer type")) }
        }
        ColumnType::Binary { kind, bytes: length } => {
            let mut bytes = match value {
                Value::Bytes(bytes) => bytes,
                Value::Text(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
                Value::Text(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
                _ => return Err(wrong("it is neither text nor bytes")),
            };
            let length = usize::try_from(*length).unwrap_or(usize::MAX);
            let most = match kind {
                BinaryKind::Binary | BinaryKind::VarBinary => length,
                BinaryKind::TinyBlob => 0xff,
                BinaryKind::Blob => 0xffff,
                BinaryKind::MediumBlob => 0xff_ffff,
                BinaryKind::LongBlob => usize::MAX,
            };
            if bytes.len() > most {
                return Err(wrong("it is too long; cut it with truncate, or give the column a longer type"));
            }
            if *kind == BinaryKind::Binary && bytes.len() < length {
                bytes.to_mut().resize(length, 0);
            }
            Ok(Value::Bytes(bytes))
        }
        ColumnType::Date => match value {
            Value::Date(days) => Ok(Value::Date(days)),
            Value::DateTime(us) | Value::Timestamp(us) if us.rem_euclid(US_PER_DAY) == 0 => {
                Ok(Value::Date(i32::try_from(us.div_euclid(US_PER_DAY)).map_err(|_| wrong("it is out of range"))?))
            }
            Value::DateTime(_) | Value::Timestamp(_) => Err(wrong("it has a time of the day")),
            Value::Text(text) => Ok(Value::Date(parse_date(&text).ok_or(wrong("it isn't a day in the form 2024-02-29"))?)),
            _ => Err(wrong("it is no day")),
        },
        ColumnType::DateTime { fsp } | ColumnType::Timestamp { fsp } => {
            let us = match value {
                Value::Date(days) => i64::from(days) * US_PER_DAY,
                Value::DateTime(us) | Value::Timestamp(us) => us,
                Value::Text(text) => parse_datetime(&text).ok_or(wrong("it isn't a time in the form 2024-02-29 13:37:03.25"))?,
                _ => return Err(wrong("it is no day")),
            };
            if us % unit(*fsp) != 0 {
                return Err(wrong("it has more fractional digits"));
            }
            match to {
                ColumnType::DateTime { .. } => Ok(Value::DateTime(us)),
                _ if (1_000_000..=LAST_US_OF_TIMESTAMP).contains(&us) => Ok(Value::Timestamp(us)),
                _ => Err(wrong("it is out of range")),
            }
        }
        ColumnType::Time { fsp } => {
            let us = match value {
                Value::Time(us) => us,
                Value::Text(text) => parse_time(&text).ok_or(wrong("it isn't a time in the form 13:37:03.25"))?,
                _ => return Err(wrong("it is no time")),
            };
            if us % unit(*fsp) == 0 { Ok(Value::Time(us)) } else { Err(wrong("it has more fractional digits")) }
        }
        ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json => match value {
            Value::Text(text) => Ok(Value::Text(text)),
            _ => Err(wrong("it is no text")),
        },
        ColumnType::Geometry { .. } | ColumnType::Vector => Err(wrong("it is of another type")),
    }
}

/// The least and the greatest value of an integer type.
pub(super) fn range(kind: &ColumnType) -> (i128, i128) {
    let signed = |bits: u32| (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1);
    let unsigned = |bits: u32| (0, (1_i128 << bits) - 1);
    let of = |is_unsigned: bool, bits| if is_unsigned { unsigned(bits) } else { signed(bits) };
    match kind {
        ColumnType::TinyInt { unsigned } => of(*unsigned, 8),
        ColumnType::SmallInt { unsigned } => of(*unsigned, 16),
        ColumnType::MediumInt { unsigned } => of(*unsigned, 24),
        ColumnType::Int { unsigned } => of(*unsigned, 32),
        ColumnType::BigInt { unsigned } => of(*unsigned, 64),
        ColumnType::Bit { bits } => unsigned(u32::from(*bits)),
        ColumnType::Year => (0, 2155),
        _ => (0, 0),
    }
}

fn unit(fsp: u8) -> i64 {
    10_i64.pow(6_u32.saturating_sub(u32::from(fsp)))
}

/// The value as a whole number, if it is one.
fn integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Boolean(value) => Some(i128::from(*value)),
        Value::Integer(value) => Some(*value),
        Value::Decimal(value) => value.to_integer().filter(|whole| Decimal::from_integer(*whole) == *value),
        Value::Text(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            if digits.bytes().all(|digit| digit.is_ascii_digit()) { text.parse().ok() } else { None }
        }
        _ => None,
    }
}

/// The nearest floating-point number.
fn number(value: &Value<'_>, from: &ColumnType) -> Option<f64> {
    let text = written::text(value, from)?;
    // Words that Rust takes for numbers.
    if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')) {
        text.parse().ok()
    } else {
        None
    }
}

/// The decimal number with exactly `scale` digits after its point.
fn rescaled(text: &str, precision: u8, scale: u8) -> Result<Decimal, &'static str> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || digits.ends_with('.') || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err("it is no decimal number");
    }
    let (whole, scale) = (whole.trim_start_matches('0'), usize::from(scale));
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > scale {
        return Err("it has more digits after the point");
    }
    if whole.len() > usize::from(precision).saturating_sub(scale) {
        return Err("it is out of range");
    }
    let sign = if negative { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Decimal::parse(&format!("{sign}{whole}.{fraction:0<scale$}")).ok_or("it is no decimal number")
}

#[cfg(test)]
mod tests {
    use super::super::types::parse;
    use super::*;

    fn converted(value: Value<'static>, from: &str, to: &str) -> Result<Value<'static>, String> {
        let (from, to) = (parse(from).unwrap(), parse(to).unwrap());
        assert!(is_possible(&from, &to), "{from:?} to {to:?}");
        convert(value, &from, &to).map_err(|error| error.to_string())
    }

    fn text(text: &'static str) -> Value<'static> {
        Value::Text(Cow::Borrowed(text))
    }

    fn decimal(text: &'static str) -> Value<'static> {
        Value::Decimal(Decimal::parse(text).unwrap())
    }

    /// With its scale, which doesn't count when decimals compare.
    fn exactly(value: Result<Value<'_>, String>) -> String {
        format!("{value:?}")
    }

    #[test]
    fn a_value_is_the_same_in_its_new_type() {
        let noon = 12 * 3_600_000_000;
        for (value, from, to, expected) in [
            (Value::Integer(300), "INT", "SMALLINT", Value::Integer(300)),
            (Value::Integer(i128::from(u64::MAX)), "BIGINT UNSIGNED", "DECIMAL(20,0)", decimal("18446744073709551615")),
            (Value::Integer(-7), "INT", "DECIMAL(5,2)", decimal("-7.00")),
            (Value::Integer(0), "INT", "DECIMAL(5,0)", decimal("0")),
            (Value::Integer(-7), "INT", "VARCHAR(2)", text("-7")),
            (Value::Integer(5), "INT", "DOUBLE", Value::Double(5.0)),
            (Value::Integer(1), "TINYINT", "BIT", Value::Integer(1)),
            (Value::Integer(1), "BIT", "INT", Value::Integer(1)),
            (Value::Integer(0), "YEAR", "VARCHAR(4)", text("0000")),
            (decimal("-12.500"), "DECIMAL(10,3)", "DECIMAL(4,1)", decimal("-12.5")),
            (decimal("-12.00"), "DECIMAL(10,2)", "INT", Value::Integer(-12)),
            (decimal("0.10"), "DECIMAL(10,2)", "DOUBLE", Value::Double(0.1)),
            (text("0012"), "VARCHAR(9)", "INT", Value::Integer(12)),
            (text("-0.0"), "VARCHAR(9)", "DECIMAL(3,1)", decimal("0.0")),
            (text("1e3"), "VARCHAR(9)", "DOUBLE", Value::Double(1000.0)),
            (text("é"), "VARCHAR(9)", "BINARY(4)", Value::Bytes(Cow::Borrowed(&[0xc3, 0xa9, 0, 0]))),
            (text("2024-02-29"), "VARCHAR(30)", "DATE", Value::Date(19_782)),
            (text("1970-01-02 12:00:00.5"), "VARCHAR(30)", "DATETIME(1)", Value::DateTime(US_PER_DAY + noon + 500_000)),
            (text("-01:00:00"), "CHAR(9)", "TIME", Value::Time(-3_600_000_000)),
            (Value::Date(1), "DATE", "DATETIME", Value::DateTime(US_PER_DAY)),
            (Value::Date(1), "DATE", "VARCHAR(10)", text("1970-01-02")),
            (Value::DateTime(US_PER_DAY), "DATETIME", "DATE", Value::Date(1)),
            (Value::DateTime(noon + 250_000), "DATETIME(3)", "TIMESTAMP(2)", Value::Timestamp(noon + 250_000)),
            (Value::Timestamp(noon + 250_000), "TIMESTAMP(3)", "VARCHAR(30)", text("1970-01-01 12:00:00.250")),
            (Value::Time(-noon - 1), "TIME(6)", "VARCHAR(30)", text("-12:00:00.000001")),
            (Value::Double(0.5), "DOUBLE", "FLOAT", Value::Double(0.5)),
            (Value::Null, "INT", "DATE", Value::Null),
        ] {
            let possible = (parse(from).unwrap(), parse(to).unwrap());
            if value == Value::Null {
                assert_eq!(convert(value, &possible.0, &possible.1), Ok(expected));
                continue;
            }
            assert_eq!(exactly(converted(value.clone(), from, to)), exactly(Ok(expected)), "{value:?} {from} {to}");
        }
    }

    #[test]
    fn what_would_lose_something_is_an_error() {
        for (value, from, to) in [
            (Value::Integer(128), "INT", "TINYINT"),
            (Value::Integer(-1), "INT", "BIGINT UNSIGNED"),
            (Value::Integer(2), "INT", "BIT"),
            (Value::Integer(1900), "INT", "YEAR"),
            (Value::Integer(1000), "INT", "DECIMAL(5,2)"),
            (Value::Integer(-10), "INT", "VARCHAR(2)"),
            (decimal("1.5"), "DECIMAL(5,1)", "INT"),
            (decimal("1.55"), "DECIMAL(5,2)", "DECIMAL(5,1)"),
            (text("1 "), "VARCHAR(9)", "INT"),
            (text("+1"), "VARCHAR(9)", "INT"),
            (text("inf"), "VARCHAR(9)", "DOUBLE"),
            (text("1e999"), "VARCHAR(9)", "DOUBLE"),
            (text(""), "VARCHAR(9)", "DECIMAL(5,1)"),
            (text("2023-02-29"), "VARCHAR(30)", "DATE"),
            (text("2024-2-9"), "VARCHAR(30)", "DATE"),
            (text("24:00:00"), "VARCHAR(30)", "DATETIME"),
            (Value::DateTime(1), "DATETIME(6)", "DATE"),
            (Value::DateTime(1), "DATETIME(6)", "DATETIME(5)"),
            (Value::DateTime(-1), "DATETIME(6)", "TIMESTAMP(6)"),
            (Value::Double(1e39), "DOUBLE", "FLOAT"),
            (Value::Bytes(Cow::Borrowed(&[1, 2])), "BLOB", "BINARY(1)"),
        ] {
            let error = converted(value.clone(), from, to).unwrap_err();
            assert!(error.contains("can't hold exactly"), "{error}");
        }
    }

    #[test]
    fn a_key_keeps_its_rows_apart() {
        let apart = |from: &str, to: &str| keeps_values_apart(&parse(from).unwrap(), &parse(to).unwrap());
        assert!(
            apart("INT", "VARCHAR(20)") && apart("VARCHAR(20)", "LONGTEXT") && apart("DATE", "DATETIME") && apart("INT", "DECIMAL(10,0)")
        );
        assert!(!apart("VARCHAR(20)", "INT") && !apart("BIGINT", "DOUBLE"));
    }
}
