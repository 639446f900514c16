//! A key's values as the bound between two chunks: from a row, to a statement and to the resume record, without loss. Pure.

use std::fmt::Write as _;

use millrace_schemas::shape::ColumnType;
use mysql_async::Value;
use serde_json::{Value as Json, json};

use super::hex;

/// The key of the last row of a chunk: the next chunk begins after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBound(Vec<KeyValue>);

/// One column's value, in the form in which a statement can hold it exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyValue {
    /// A number as a literal: integers, decimals, floats with an exponent, the indexes of ENUM and SET.
    Number(String),
    /// A date or time between quotes.
    Time(String),
    /// Characters in the column's character set, or bytes.
    Bytes(Vec<u8>),
}

/// A key that can't be a bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A column of a type that no order can be read by.
    #[error("a {0} column can't be read in order")]
    Type(String),
    /// A value that isn't of the column's type.
    #[error("a {0} column holds a value of another type")]
    Value(String),
    /// A bound of another number of columns than the key has.
    #[error("the bound has {found} values, the key {expected} columns")]
    Columns {
        /// Values in the bound.
        found: usize,
        /// Columns in the key.
        expected: usize,
    },
    /// Text that isn't a bound.
    #[error("the text isn't a key bound")]
    Text,
}

impl KeyBound {
    /// From a row's values of the key's columns: ENUM and SET by number, all else as selected.
    pub(super) fn new<'a>(values: impl IntoIterator<Item = (&'a ColumnType, &'a Value)>) -> Result<Self, KeyError> {
        values.into_iter().map(|(kind, value)| KeyValue::new(kind, value)).collect::<Result<_, _>>().map(Self)
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value at `i` as a literal that compares under the column's own collation.
    pub(super) fn literal(&self, i: usize, kind: &ColumnType) -> Result<String, KeyError> {
        let value = self.0.get(i).ok_or_else(|| KeyError::Value(kind.name()))?;
        match (value, kind) {
            (KeyValue::Number(text), _) => Ok(text.clone()),
            (KeyValue::Time(text), _) => Ok(format!("'{text}'")),
            // The introducer says what the bytes are; a literal yields to the column's collation, so none is named.
            (KeyValue::Bytes(bytes), ColumnType::Text { charset, .. }) => Ok(format!("_{charset} X'{}'", hex::encode(bytes))),
            (KeyValue::Bytes(bytes), ColumnType::Binary { .. }) => Ok(format!("X'{}'", hex::encode(bytes))),
            (KeyValue::Bytes(_), _) => Err(KeyError::Value(kind.name())),
        }
    }

    /// A value about halfway between two keys, in the first column in which they differ: that column's place and a bound of the one value. Only a guess at
    /// where half of the rows are, and for characters at how the collation orders them: a key of the table that is found by it is what counts. None where
    /// there is nothing between, or the type allows no guess.
    #[must_use]
    pub(super) fn between(first: &Self, last: &Self, kinds: &[&ColumnType]) -> Option<(usize, Self)> {
        let place = first.0.iter().zip(&last.0).position(|(a, b)| a != b)?;
        let middle = match (first.0.get(place)?, last.0.get(place)?, kinds.get(place)?) {
            (KeyValue::Number(a), KeyValue::Number(b), ColumnType::Float | ColumnType::Double) => {
                let middle = a.parse::<f64>().ok()? / 2.0 + b.parse::<f64>().ok()? / 2.0;
                KeyValue::Number(format!("{middle:e}"))
            }
            (KeyValue::Number(a), KeyValue::Number(b), _) => {
                // A decimal's whole part is enough for a guess.
                let whole = |text: &str| text.split('.').next().and_then(|whole| whole.parse::<i128>().ok());
                let (a, b) = (whole(a)?, whole(b)?);
                KeyValue::Number((a.checked_add(b.checked_sub(a)? / 2)?).to_string())
            }
            (KeyValue::Bytes(a), KeyValue::Bytes(b), ColumnType::Binary { .. }) => KeyValue::Bytes(middle_bytes(a, b)),
            (KeyValue::Bytes(a), KeyValue::Bytes(b), ColumnType::Text { charset, .. }) if !is_wide(charset) => {
                KeyValue::Bytes(middle_text(a, b)?)
            }
            _ => return None,
        };
        Some((place, Self(vec![middle])))
    }

    /// The values as texts: numbers and times as MySQL prints them (ENUM and SET by number), characters and bytes as they are in the table.
    #[must_use]
    pub fn texts(&self) -> Vec<Vec<u8>> {
        let one = |value: &KeyValue| match value {
            KeyValue::Number(text) | KeyValue::Time(text) => text.clone().into_bytes(),
            KeyValue::Bytes(bytes) => bytes.clone(),
        };
        self.0.iter().map(one).collect()
    }

    /// For the resume record: an array with one object for each column.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let one = |value: &KeyValue| match value {
            KeyValue::Number(text) => json!({ "number": text }),
            KeyValue::Time(text) => json!({ "time": text }),
            KeyValue::Bytes(bytes) => json!({ "bytes": hex::encode(bytes) }),
        };
        self.0.iter().map(one).collect()
    }

    /// What [`to_json`](Self::to_json) gave.
    ///
    /// # Errors
    ///
    /// It isn't that. The text goes into statements, so nothing else is let through.
    pub fn from_json(json: &Json) -> Result<Self, KeyError> {
        let values = json.as_array().ok_or(KeyError::Text)?;
        values.iter().map(KeyValue::from_json).collect::<Option<_>>().map(Self).ok_or(KeyError::Text)
    }
}

impl KeyValue {
    fn new(kind: &ColumnType, value: &Value) -> Result<Self, KeyError> {
        let wrong = || KeyError::Value(kind.name());
        match (kind, value) {
            (ColumnType::Json | ColumnType::Geometry { .. } | ColumnType::Vector, _) => Err(KeyError::Type(kind.name())),
            (ColumnType::Text { .. } | ColumnType::Binary { .. }, Value::Bytes(bytes)) => Ok(Self::Bytes(bytes.clone())),
            (ColumnType::Bit { .. }, Value::Bytes(bytes)) if bytes.len() <= 8 => {
                let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
                Ok(Self::Number(number.to_string()))
            }
            (ColumnType::Decimal { .. }, Value::Bytes(text)) => {
                let text = std::str::from_utf8(text).ok().filter(|text| is_number(text));
                text.map(|text| Self::Number(text.to_owned())).ok_or_else(wrong)
            }
            (ColumnType::Text { .. } | ColumnType::Binary { .. } | ColumnType::Bit { .. } | ColumnType::Decimal { .. }, _) => Err(wrong()),
            // A FLOAT is widened, since the server compares as DOUBLE; the exponent makes the literal one.
            (_, Value::Float(number)) => Ok(Self::Number(format!("{:e}", f64::from(*number)))),
            (_, Value::Double(number)) => Ok(Self::Number(format!("{number:e}"))),
            (_, Value::Int(number)) => Ok(Self::Number(number.to_string())),
            (_, Value::UInt(number)) => Ok(Self::Number(number.to_string())),
            (ColumnType::Date, Value::Date(year, month, day, ..)) => Ok(Self::Time(format!("{year:04}-{month:02}-{day:02}"))),
            (_, Value::Date(year, month, day, hour, minute, second, us)) => {
                let date = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
                Ok(Self::Time(with_micros(date, *us)))
            }
            (_, Value::Time(negative, days, hours, minutes, seconds, us)) => {
                let sign = if *negative { "-" } else { "" };
                let hours = days * 24 + u32::from(*hours);
                Ok(Self::Time(with_micros(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"), *us)))
            }
            (_, Value::NULL | Value::Bytes(_)) => Err(wrong()),
        }
    }

    fn from_json(json: &Json) -> Option<Self> {
        let object = json.as_object().filter(|object| object.len() == 1)?;
        let (name, text) = object.iter().next()?;
        let text = text.as_str()?;
        match name.as_str() {
            "number" if is_number(text) => Some(Self::Number(text.to_owned())),
            "time" if is_time(text) => Some(Self::Time(text.to_owned())),
            "bytes" => hex::decode(text).map(Self::Bytes),
            _ => None,
        }
    }
}

/// A value given as text, as a literal to compare a column with: numbers and times as MySQL prints them, labels and characters in UTF-8, bytes as they are.
pub(super) fn literal_of_text(kind: &ColumnType, collation: Option<&str>, text: &[u8]) -> Result<String, KeyError> {
    let wrong = || KeyError::Value(kind.name());
    let plain = |is: fn(&str) -> bool| std::str::from_utf8(text).ok().filter(|text| is(text)).ok_or_else(wrong);
    let utf8 = || format!("_utf8mb4 X'{}'", hex::encode(text));
    match kind {
        ColumnType::Json | ColumnType::Geometry { .. } | ColumnType::Vector => Err(KeyError::Type(kind.name())),
        ColumnType::Binary { .. } => Ok(format!("X'{}'", hex::encode(text))),
        ColumnType::Text { charset, .. } if charset == "utf8mb4" => Ok(utf8()),
        // Converted here: what the column's character set lacks would be an error, and the column would be converted instead of the literal.
        ColumnType::Text { charset, .. } => {
            let collate = collation.map(|collation| format!(" COLLATE {collation}")).unwrap_or_default();
            Ok(format!("CONVERT({} USING {charset}){collate}", utf8()))
        }
        ColumnType::Enum { .. } | ColumnType::Set { .. } => Ok(utf8()),
        ColumnType::Date | ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } | ColumnType::Time { .. } => {
            Ok(format!("'{}'", plain(is_time)?))
        }
        // The exponent makes the literal a double: a decimal one would be compared as such.
        ColumnType::Float | ColumnType::Double => {
            let number = plain(is_number)?.parse::<f64>().map_err(|_| wrong())?;
            Ok(format!("{number:e}"))
        }
        _ => plain(is_number).map(str::to_owned),
    }
}

/// Whether a character set has characters of two bytes where ASCII has one.
fn is_wide(charset: &str) -> bool {
    charset.starts_with("ucs2") || charset.starts_with("utf16") || charset.starts_with("utf32")
}

/// Halfway between two strings of bytes, by the eight bytes after what they have in common.
fn middle_bytes(a: &[u8], b: &[u8]) -> Vec<u8> {
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let number = |bytes: &[u8]| {
        let rest = bytes.get(common..).unwrap_or_default();
        (0..8).fold(0_u64, |number, at| number << 8 | u64::from(rest.get(at).copied().unwrap_or(0)))
    };
    let (low, high) = (number(a).min(number(b)), number(a).max(number(b)));
    let mut middle = a.get(..common).unwrap_or_default().to_vec();
    middle.extend((low + (high - low) / 2).to_be_bytes());
    middle
}

/// Halfway between two texts, by the first character in which they differ; only between ASCII ones, which are the same in every character set here.
fn middle_text(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let prefix = a.get(..common).filter(|prefix| prefix.is_ascii())?;
    // The end of a text orders like the lowest character; beyond ASCII, like the highest.
    let (low, high) = (a.get(common).copied().unwrap_or(b' ').clamp(b' ', b'~'), b.get(common).copied().unwrap_or(b' ').clamp(b' ', b'~'));
    let (low, high) = (low.min(high), low.max(high));
    let mut middle = prefix.to_vec();
    middle.push(low + (high - low) / 2);
    if low.abs_diff(high) < 2 {
        // Neighbours: the middle is among what begins with the lower one.
        middle.push(b'm');
    }
    Some(middle)
}

fn with_micros(mut text: String, us: u32) -> String {
    if us > 0 {
        let _ = write!(text, ".{us:06}");
    }
    text
}

fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    digits(whole) && digits(fraction) && digits(exponent.strip_prefix('-').unwrap_or(exponent))
}

fn is_time(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || b"-: .".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gbk() -> ColumnType {
        ColumnType::Text { kind: millrace_schemas::shape::TextKind::VarChar, chars: 9, charset: "gbk".into() }
    }

    fn literal(kind: &ColumnType, value: Value) -> String {
        KeyBound::new([(kind, &value)]).unwrap().literal(0, kind).unwrap()
    }

    #[test]
    fn values_become_literals_that_hold_them_exactly() {
        let big = ColumnType::BigInt { unsigned: true };
        assert_eq!(literal(&big, Value::UInt(u64::MAX)), "18446744073709551615");
        assert_eq!(literal(&big, Value::Int(-1)), "-1");
        assert_eq!(literal(&gbk(), Value::Bytes(vec![0xd6, 0xd0])), "_gbk X'd6d0'");
        assert_eq!(literal(&ColumnType::Float, Value::Float(0.1)), "1.0000000149011612e-1");
        assert_eq!(literal(&ColumnType::Bit { bits: 64 }, Value::Bytes(vec![255; 8])), "18446744073709551615");
        assert_eq!(literal(&ColumnType::Date, Value::Date(0, 0, 0, 0, 0, 0, 0)), "'0000-00-00'");
        let datetime = ColumnType::DateTime { fsp: 6 };
        assert_eq!(literal(&datetime, Value::Date(2024, 2, 29, 1, 2, 3, 4)), "'2024-02-29 01:02:03.000004'");
        assert_eq!(literal(&ColumnType::Time { fsp: 0 }, Value::Time(true, 34, 22, 59, 59, 0)), "'-838:59:59'");
        let decimal = ColumnType::Decimal { precision: 65, scale: 30 };
        assert_eq!(literal(&decimal, Value::Bytes(b"-0.000000000000000000000000000001".to_vec())), "-0.000000000000000000000000000001");
    }

    #[test]
    fn a_text_becomes_a_literal_of_its_column_and_nothing_else() {
        let of = |kind: &ColumnType, text: &str| literal_of_text(kind, Some("gbk_bin"), text.as_bytes());
        let utf8 = ColumnType::Text { kind: millrace_schemas::shape::TextKind::VarChar, chars: 9, charset: "utf8mb4".into() };
        assert_eq!(of(&utf8, "é'").as_deref(), Ok("_utf8mb4 X'c3a927'"));
        assert_eq!(of(&gbk(), "é").as_deref(), Ok("CONVERT(_utf8mb4 X'c3a9' USING gbk) COLLATE gbk_bin"));
        assert_eq!(of(&ColumnType::Int { unsigned: false }, "-5").as_deref(), Ok("-5"));
        assert_eq!(of(&ColumnType::Double, "0.1").as_deref(), Ok("1e-1"));
        assert_eq!(of(&ColumnType::Time { fsp: 1 }, "-00:00:00.5").as_deref(), Ok("'-00:00:00.5'"));
        for (kind, text) in [(ColumnType::Int { unsigned: false }, "1 OR 1"), (ColumnType::Date, "1' OR '1"), (ColumnType::Json, "{}")] {
            assert!(of(&kind, text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cant_be_a_bound_is_an_error() {
        assert!(KeyBound::new([(&ColumnType::Json, &Value::Bytes(b"{}".to_vec()))]).is_err());
        assert!(KeyBound::new([(&ColumnType::Date, &Value::NULL)]).is_err());
        let decimal = ColumnType::Decimal { precision: 5, scale: 0 };
        assert!(KeyBound::new([(&decimal, &Value::Bytes(b"1 or 1".to_vec()))]).is_err());
    }

    #[test]
    fn a_resume_record_cant_bring_in_a_statement() {
        for text in [
            r#"[{"number":"1 OR 1=1"}]"#,
            r#"[{"time":"'; DROP"}]"#,
            r#"[{"bytes":"xx"}]"#,
            r#"[{"number":"1","time":"1"}]"#,
            "{}",
            r#"["1"]"#,
            r#"[{"number":""}]"#,
        ] {
            let json = serde_json::from_str(text).unwrap();
            assert_eq!(KeyBound::from_json(&json), Err(KeyError::Text), "{text}");
        }
    }

    #[test]
    fn a_guess_lies_between_the_keys_it_is_made_from() {
        let int = ColumnType::BigInt { unsigned: true };
        let binary = ColumnType::Binary { kind: millrace_schemas::shape::BinaryKind::Binary, bytes: 16 };
        let of = |kind: &ColumnType, value: Value| KeyBound::new([(kind, &value)]).unwrap();
        let guess = |kind: &ColumnType, a: Value, b: Value| {
            let (place, middle) = KeyBound::between(&of(kind, a), &of(kind, b), &[kind])?;
            assert_eq!(place, 0);
            Some(middle.literal(0, kind).unwrap())
        };
        assert_eq!(guess(&int, Value::UInt(0), Value::UInt(u64::MAX)).as_deref(), Some("9223372036854775807"));
        assert_eq!(guess(&int, Value::Int(5), Value::Int(5)), None);
        assert_eq!(guess(&binary, Value::Bytes(vec![9, 0]), Value::Bytes(vec![9, 255])).as_deref(), Some("X'097f80000000000000'"));
        let text = |text: &str| Value::Bytes(text.as_bytes().to_vec());
        assert_eq!(guess(&gbk(), text("user-a"), text("user-i")).as_deref(), Some("_gbk X'757365722d65'"));
        assert_eq!(guess(&gbk(), text("a"), text("b")).as_deref(), Some("_gbk X'616d'"));
        assert_eq!(guess(&ColumnType::Date, Value::Date(2024, 1, 1, 0, 0, 0, 0), Value::Date(2025, 1, 1, 0, 0, 0, 0)), None);
    }

    proptest! {
        #[test]
        fn json_brings_back_what_it_was_given(bytes in prop::collection::vec(any::<u8>(), 0..40), double in any::<f64>().prop_filter("finite", |x| x.is_finite()), int in any::<i64>()) {
            let values = [(gbk(), Value::Bytes(bytes)), (ColumnType::Double, Value::Double(double)), (ColumnType::BigInt { unsigned: false }, Value::Int(int))];
            let bound = KeyBound::new(values.iter().map(|(kind, value)| (kind, value))).unwrap();
            let text = bound.to_json().to_string();
            let json = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(KeyBound::from_json(&json).unwrap(), bound.clone());
            prop_assert_eq!(bound.literal(1, &ColumnType::Double).unwrap().parse::<f64>().unwrap().to_bits(), double.to_bits());
        }
    }
}
