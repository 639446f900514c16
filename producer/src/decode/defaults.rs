//! Column defaults: what rows written before a column was added read in it. Pure.
//!
//! The catalogue's COLUMN_DEFAULT can't be trusted: it holds a TIMESTAMP in the time zone of whoever wrote the statement, binary strings cut at a
//! zero byte, and `?` for characters beyond the basic plane. So the server is asked to evaluate `DEFAULT(column)` in our session, and the answer
//! is a value like any other. Only where that takes a row and there is none is the text read, as far as it is exact.

use millrace_schemas::shape::{BinaryKind, ColumnType, DefaultValue};
use mysql_async::Value;

use super::{decimal, temporal};

const US_PER_SECOND: i64 = 1_000_000;

/// What `DEFAULT(column)` gave, characters in UTF-8, as the Avro type of the column holds it. None for NULL, and for a
/// date that isn't a day: those have no value in Avro.
pub(crate) fn value(kind: &ColumnType, value: Value) -> Option<DefaultValue> {
    match (kind, value) {
        (ColumnType::BigInt { unsigned: true }, value) => {
            let mut unscaled = Vec::new();
            decimal::u64_to_unscaled(unsigned(&value)?, &mut unscaled);
            Some(DefaultValue::Bytes(unscaled))
        }
        (
            ColumnType::TinyInt { .. }
            | ColumnType::SmallInt { .. }
            | ColumnType::MediumInt { .. }
            | ColumnType::Int { .. }
            | ColumnType::BigInt { unsigned: false }
            | ColumnType::Year,
            Value::Int(number),
        ) => Some(DefaultValue::Long(number)),
        // By way of the shortest decimal, so that 1.1 stays 1.1 and doesn't become 1.100000023841858.
        (ColumnType::Float, Value::Float(number)) => number.to_string().parse().ok().map(DefaultValue::Double),
        (ColumnType::Double, Value::Double(number)) => Some(DefaultValue::Double(number)),
        (ColumnType::Decimal { scale, .. }, Value::Bytes(text)) => {
            let mut unscaled = Vec::new();
            decimal::from_text(&text, *scale, &mut unscaled).ok()?;
            Some(DefaultValue::Bytes(unscaled))
        }
        (ColumnType::Bit { bits: 1 }, Value::Bytes(bytes)) => Some(DefaultValue::Boolean(bytes.iter().any(|byte| *byte != 0))),
        (ColumnType::Bit { .. }, Value::Bytes(mut bytes)) => {
            bytes.reverse();
            Some(DefaultValue::Bytes(bytes))
        }
        (ColumnType::Binary { kind: BinaryKind::Binary, bytes: length }, Value::Bytes(mut bytes)) => {
            bytes.resize(usize::try_from(*length).ok()?, 0);
            Some(DefaultValue::Bytes(bytes))
        }
        (ColumnType::Binary { .. }, Value::Bytes(bytes)) => Some(DefaultValue::Bytes(bytes)),
        (ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. }, Value::Bytes(bytes)) => {
            String::from_utf8(bytes).ok().map(DefaultValue::Text)
        }
        (ColumnType::Date, value) => Some(DefaultValue::Long(micros(&value)?.div_euclid(86_400 * US_PER_SECOND))),
        (ColumnType::DateTime { fsp: 0..=3 }, value) => Some(DefaultValue::Long(micros(&value)?.div_euclid(1_000))),
        (ColumnType::DateTime { .. }, value) => Some(DefaultValue::Long(micros(&value)?)),
        (ColumnType::Timestamp { fsp }, value) => {
            let mut text = Vec::new();
            temporal::write_zoned(micros(&value)?, *fsp, &mut text).ok()?;
            String::from_utf8(text).ok().map(DefaultValue::Text)
        }
        (ColumnType::Time { .. }, Value::Time(negative, days, hours, minutes, seconds, micros)) => {
            let hours = i64::from(days) * 24 + i64::from(hours);
            let whole = (hours * 60 + i64::from(minutes)) * 60 + i64::from(seconds);
            let us = whole * US_PER_SECOND + i64::from(micros);
            Some(DefaultValue::Long(if negative { -us } else { us }))
        }
        // JSON, geometry and vectors have no literal defaults; NULL is none.
        _ => None,
    }
}

/// What COLUMN_DEFAULT says, where that is exact. A statement's literal in the same words says the same.
pub(crate) fn from_text(kind: &ColumnType, text: &str) -> Option<DefaultValue> {
    let exact = match kind {
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. }
        | ColumnType::Year => match text.parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::UInt(text.parse().ok()?),
        },
        ColumnType::Float => Value::Float(text.parse().ok()?),
        ColumnType::Double => Value::Double(text.parse().ok()?),
        ColumnType::Decimal { .. } => Value::Bytes(text.as_bytes().to_vec()),
        ColumnType::Bit { bits } => {
            let number = u64::from_str_radix(text.strip_prefix("b'")?.strip_suffix('\'')?, 2).ok()?;
            let length = usize::from(bits.div_ceil(8));
            Value::Bytes(number.to_be_bytes().get(8_usize.checked_sub(length)?..)?.to_vec())
        }
        ColumnType::Date | ColumnType::DateTime { .. } => datetime(text)?,
        ColumnType::Time { .. } => time(text)?,
        // A label of the catalogue's own, so that both are the same text.
        ColumnType::Enum { .. } | ColumnType::Set { .. } => Value::Bytes(text.as_bytes().to_vec()),
        ColumnType::Text { .. } if !text.contains('?') => Value::Bytes(text.as_bytes().to_vec()),
        _ => return None,
    };
    value(kind, exact)
}

/// `2020-01-02` or `2020-01-02 03:04:05.678`
fn datetime(text: &str) -> Option<Value> {
    let (date, clock) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (hours, minutes, seconds, us) = clock_of(clock)?;
    Some(Value::Date(year, month, day, u8::try_from(hours).ok()?, minutes, seconds, us))
}

/// `-838:59:59.000001`
fn time(text: &str) -> Option<Value> {
    let (hours, minutes, seconds, us) = clock_of(text.strip_prefix('-').unwrap_or(text))?;
    let (days, hours) = (hours / 24, u8::try_from(hours % 24).ok()?);
    Some(Value::Time(text.starts_with('-'), days, hours, minutes, seconds, us))
}

fn clock_of(text: &str) -> Option<(u32, u8, u8, u32)> {
    let mut parts = text.split(':');
    let (hours, minutes, rest) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    let (seconds, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let us = format!("{fraction:0<6}").parse().ok()?;
    Some((hours, minutes, seconds.parse().ok()?, us))
}

fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::UInt(number) => Some(*number),
        _ => None,
    }
}

/// Microseconds since 1970-01-01 of a date that is a day.
fn micros(value: &Value) -> Option<i64> {
    let Value::Date(year, month, day, hour, minute, second, us) = *value else { return None };
    let days = i64::from(temporal::days_from_civil(year, month, day)?);
    let seconds = ((days * 24 + i64::from(hour)) * 60 + i64::from(minute)) * 60 + i64::from(second);
    Some(seconds * US_PER_SECOND + i64::from(us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_value() {
        let long = |number| Some(DefaultValue::Long(number));
        assert_eq!(value(&ColumnType::Int { unsigned: false }, Value::Int(-5)), long(-5));
        assert_eq!(value(&ColumnType::Year, Value::Int(2020)), long(2020));
        assert_eq!(value(&ColumnType::Float, Value::Float(1.1)), Some(DefaultValue::Double(1.1)));
        let maximum = DefaultValue::Bytes(vec![0, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(value(&ColumnType::BigInt { unsigned: true }, Value::UInt(u64::MAX)), Some(maximum));
        let decimal = ColumnType::Decimal { precision: 10, scale: 3 };
        assert_eq!(value(&decimal, Value::Bytes(b"-1.500".to_vec())), Some(DefaultValue::Bytes(vec![0xfa, 0x24])));
    }

    #[test]
    fn bytes_and_bits_have_their_avro_form() {
        let binary = ColumnType::Binary { kind: BinaryKind::Binary, bytes: 4 };
        assert_eq!(value(&binary, Value::Bytes(b"ab".to_vec())), Some(DefaultValue::Bytes(b"ab\0\0".to_vec())));
        assert_eq!(value(&ColumnType::Bit { bits: 1 }, Value::Bytes(vec![1])), Some(DefaultValue::Boolean(true)));
        assert_eq!(value(&ColumnType::Bit { bits: 12 }, Value::Bytes(vec![0x0a, 0x05])), Some(DefaultValue::Bytes(vec![0x05, 0x0a])));
    }

    #[test]
    fn times_are_counted_from_1970() {
        let date = Value::Date(2020, 1, 2, 3, 4, 5, 678_000);
        let long = |number| Some(DefaultValue::Long(number));
        assert_eq!(value(&ColumnType::Date, Value::Date(1969, 12, 31, 0, 0, 0, 0)), long(-1));
        assert_eq!(value(&ColumnType::DateTime { fsp: 3 }, date.clone()), long(1_577_934_245_678));
        assert_eq!(value(&ColumnType::DateTime { fsp: 6 }, date.clone()), long(1_577_934_245_678_000));
        let zoned = DefaultValue::Text("2020-01-02T03:04:05.678000Z".into());
        assert_eq!(value(&ColumnType::Timestamp { fsp: 6 }, date), Some(zoned));
        assert_eq!(value(&ColumnType::Time { fsp: 0 }, Value::Time(true, 1, 1, 0, 0, 0)), long(-90_000_000_000));
    }

    #[test]
    fn text_is_read_where_it_is_exact() {
        let long = |number| Some(DefaultValue::Long(number));
        assert_eq!(from_text(&ColumnType::Int { unsigned: true }, "0007"), long(7));
        assert_eq!(from_text(&ColumnType::BigInt { unsigned: true }, "1"), Some(DefaultValue::Bytes(vec![1])));
        assert_eq!(from_text(&ColumnType::Bit { bits: 1 }, "b'0'"), Some(DefaultValue::Boolean(false)));
        assert_eq!(from_text(&ColumnType::Bit { bits: 12 }, "b'101000000101'"), Some(DefaultValue::Bytes(vec![0x05, 0x0a])));
        assert_eq!(from_text(&ColumnType::Date, "1969-12-31"), long(-1));
        assert_eq!(from_text(&ColumnType::DateTime { fsp: 3 }, "2020-01-02 03:04:05.678"), long(1_577_934_245_678));
        assert_eq!(from_text(&ColumnType::Time { fsp: 6 }, "-25:00:00.000001"), long(-90_000_000_001));
        let text = ColumnType::Text { kind: millrace_schemas::shape::TextKind::VarChar, chars: 9, charset: "utf8mb4".into() };
        assert_eq!(from_text(&text, ""), Some(DefaultValue::Text(String::new())));
        assert_eq!(from_text(&text, "?"), None);
        assert_eq!(from_text(&ColumnType::Timestamp { fsp: 0 }, "2020-01-01 00:00:00"), None);
        assert_eq!(from_text(&ColumnType::Binary { kind: BinaryKind::VarBinary, bytes: 9 }, "0x"), None);
        for broken in ["", "x", "1:2", "2020-01", "b'2'"] {
            for kind in [ColumnType::Time { fsp: 0 }, ColumnType::Date, ColumnType::Bit { bits: 9 }, ColumnType::Double] {
                assert_eq!(from_text(&kind, broken), None, "{kind:?} {broken}");
            }
        }
    }

    #[test]
    fn what_has_no_value_is_no_default() {
        assert_eq!(value(&ColumnType::Date, Value::Date(0, 0, 0, 0, 0, 0, 0)), None);
        assert_eq!(value(&ColumnType::DateTime { fsp: 0 }, Value::Date(2024, 2, 0, 0, 0, 0, 0)), None);
        assert_eq!(value(&ColumnType::Double, Value::NULL), None);
    }
}
