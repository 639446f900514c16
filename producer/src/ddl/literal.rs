//! The default that a column has from the statement that brought it: what rows read in it which were there before (the manual's "instant" default).
//!
//! Only what is certain is taken. Where a literal would be rounded, cut, filled up or converted on its way into the column, or means something else by a setting
//! of the session (a TIMESTAMP by its time zone, a character beyond ASCII that its column lacks), the server is asked.

use millrace_schemas::shape::{BinaryKind, Column, ColumnType, DefaultValue, TextKind};
use mysql_async::Value;

use crate::decode::defaults::{from_text, value};

/// Significant digits that any decimal number keeps in a DOUBLE, and those that it keeps in a FLOAT by whatever way.
const DOUBLE_DIGITS: usize = 15;
const FLOAT_DIGITS: usize = 9;
/// Bytes that a TINYTEXT holds at most: the smallest of the TEXTs.
const TINYTEXT_BYTES: usize = 255;

/// What stands as a column's default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Literal {
    /// Nothing.
    #[default]
    Absent,
    /// NULL
    Null,
    /// An expression, or the time at which the row is written.
    Computed,
    /// The column itself is computed, or counts.
    Generated,
    /// A number as it is written, its minus in front.
    Number(String),
    /// Text.
    Text(String),
    /// Bytes, which are a number where one is wanted.
    Bytes(Vec<u8>),
    /// Something else.
    Unread,
}

/// The column of an ADD with the value that rows from before read in it. Its default is none where that is NULL or has no value in Avro. None: not certain.
pub(super) fn added(column: &Column, literal: &Literal) -> Option<Column> {
    let default = match literal {
        Literal::Absent if !column.nullable => implied(&column.kind)?,
        _ => explicit(column, literal)?,
    };
    Some(Column { default, ..column.clone() })
}

/// The column of a CREATE TABLE, which no row is older than. None: not certain, or it has no default.
pub(super) fn created(column: &Column, literal: &Literal) -> Option<Column> {
    match literal {
        Literal::Absent if !column.nullable => None,
        _ => Some(Column { default: explicit(column, literal)?, ..column.clone() }),
    }
}

/// The column that was `old` and is `new` now, rows from before read in it what they did. None: not certain.
pub(super) fn carried(old: &Column, new: &Column) -> Option<Column> {
    let Some(default) = &old.default else {
        // A NULL that may be none any more becomes what the session's `sql_mode` says.
        return (new.nullable || !old.nullable).then(|| Column { default: None, ..new.clone() });
    };
    let default = if is_kind(&old.kind, &new.kind) { default.clone() } else { converted(&old.kind, default, &new.kind)? };
    Some(Column { default: Some(default), ..new.clone() })
}

/// Whether the two types hold the same text, or are the same. The character set doesn't count: a statement may leave it open, and all of them have ASCII.
pub(super) fn is_kind(a: &ColumnType, b: &ColumnType) -> bool {
    match (a, b) {
        (ColumnType::Text { kind: a, chars: n, .. }, ColumnType::Text { kind: b, chars: m, .. }) => (a, n) == (b, m),
        (a, b) => a == b,
    }
}

/// What a literal says, of which none is NULL.
fn explicit(column: &Column, literal: &Literal) -> Option<Option<DefaultValue>> {
    match literal {
        Literal::Absent | Literal::Null | Literal::Computed | Literal::Generated => Some(None),
        Literal::Unread => None,
        Literal::Number(_) | Literal::Text(_) | Literal::Bytes(_) => exactly(&column.kind, literal).map(Some),
    }
}

/// What a NOT NULL column without a default reads in rows from before (reference manual, "Data Type Default Values"). Dates have one that isn't a day.
fn implied(kind: &ColumnType) -> Option<Option<DefaultValue>> {
    let zero = match kind {
        ColumnType::Date | ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => return Some(None),
        ColumnType::Json | ColumnType::Geometry { .. } | ColumnType::Vector => return None,
        ColumnType::Enum { labels } => DefaultValue::Text(labels.first()?.clone()),
        ColumnType::Set { .. } | ColumnType::Text { .. } => DefaultValue::Text(String::new()),
        ColumnType::Binary { .. } => value(kind, Value::Bytes(Vec::new()))?,
        ColumnType::Bit { .. } => from_text(kind, "b'0'")?,
        ColumnType::Time { .. } => from_text(kind, "00:00:00")?,
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. }
        | ColumnType::Year
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Decimal { .. } => from_text(kind, "0")?,
    };
    Some(Some(zero))
}

/// The value that a column of this type has by a literal which it holds as it is written.
fn exactly(kind: &ColumnType, literal: &Literal) -> Option<DefaultValue> {
    match kind {
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. } => {
            let number = integer(literal).filter(|number| range(kind).contains(number))?;
            from_text(kind, &number.to_string())
        }
        ColumnType::Year => {
            // Two digits are of this or the last century.
            let year = integer(literal).filter(|year| (1901..=2155).contains(year))?;
            from_text(kind, &year.to_string())
        }
        ColumnType::Float | ColumnType::Double => {
            let Literal::Number(text) = literal else { return None };
            let digits_max = if *kind == ColumnType::Float { FLOAT_DIGITS } else { DOUBLE_DIGITS };
            let is_exact = significant(text) <= digits_max && !(text.starts_with('-') && significant(text) == 0);
            let is_finite = |value: &DefaultValue| matches!(value, DefaultValue::Double(number) if number.is_finite());
            from_text(kind, text).filter(is_finite).filter(|_| is_exact)
        }
        ColumnType::Decimal { precision, scale } => {
            let (Literal::Number(text) | Literal::Text(text)) = literal else { return None };
            let whole = text.trim_start_matches('-').split('.').next()?.trim_start_matches('0');
            from_text(kind, text).filter(|_| whole.len() <= usize::from(precision.saturating_sub(*scale)))
        }
        ColumnType::Bit { bits } => {
            // Text is its bytes here.
            let number = integer(literal).filter(|_| !matches!(literal, Literal::Text(_))).and_then(|number| u64::try_from(number).ok())?;
            from_text(kind, &format!("b'{number:b}'")).filter(|_| 64 - number.leading_zeros() <= u32::from(*bits))
        }
        ColumnType::Date => text(literal).filter(|text| is_written(text, "0000-00-00")).and_then(|text| from_text(kind, text)),
        ColumnType::DateTime { fsp } => {
            let text = text(literal)?;
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let is_exact = is_written(whole, "0000-00-00 00:00:00") && is_fraction(fraction, *fsp);
            if is_exact || is_written(text, "0000-00-00") { from_text(kind, text) } else { None }
        }
        ColumnType::Time { fsp } => {
            let text = text(literal)?;
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let whole = whole.strip_prefix('-').unwrap_or(whole);
            let is_exact = (is_written(whole, "00:00:00") || is_written(whole, "000:00:00")) && is_fraction(fraction, *fsp);
            if is_exact { from_text(kind, text) } else { None }
        }
        ColumnType::Text { kind: TextKind::Char | TextKind::VarChar, chars, .. } => {
            let written = characters(literal)?;
            let fits = u32::try_from(written.chars().count()).is_ok_and(|length| length <= *chars) && !written.ends_with(' ');
            fits.then_some(DefaultValue::Text(written))
        }
        ColumnType::Binary { kind: BinaryKind::Binary | BinaryKind::VarBinary, bytes: length } => {
            let bytes = match literal {
                Literal::Bytes(bytes) => bytes.clone(),
                // The bytes of other text are those of the connection's character set.
                Literal::Text(text) if text.is_empty() => Vec::new(),
                _ => return None,
            };
            let fits = u32::try_from(bytes.len()).is_ok_and(|bytes| bytes <= *length);
            value(kind, Value::Bytes(bytes)).filter(|_| fits)
        }
        ColumnType::Enum { labels } => {
            text(literal).filter(|text| label(labels, text).is_some()).map(|text| DefaultValue::Text(text.to_owned()))
        }
        ColumnType::Set { labels } => set(labels, text(literal)?),
        // A TIMESTAMP is in the session's time zone; the others have no literal defaults.
        ColumnType::Timestamp { .. }
        | ColumnType::Text { .. }
        | ColumnType::Binary { .. }
        | ColumnType::Json
        | ColumnType::Geometry { .. }
        | ColumnType::Vector => None,
    }
}

/// A value after its column's type has changed.
fn converted(from: &ColumnType, default: &DefaultValue, to: &ColumnType) -> Option<DefaultValue> {
    match (from, to, default) {
        (ColumnType::Decimal { precision: from, scale: a }, ColumnType::Decimal { precision: to, scale: b }, value)
            if a == b && from <= to =>
        {
            Some(value.clone())
        }
        (ColumnType::Text { .. } | ColumnType::Enum { .. }, ColumnType::Text { kind, .. }, DefaultValue::Text(text))
            if !matches!(kind, TextKind::Char | TextKind::VarChar) =>
        {
            (text.is_ascii() && text.len() <= TINYTEXT_BYTES).then(|| DefaultValue::Text(text.clone()))
        }
        (
            ColumnType::Text { .. } | ColumnType::Enum { .. },
            ColumnType::Text { .. } | ColumnType::Enum { .. },
            DefaultValue::Text(text),
        ) => exactly(to, &Literal::Text(text.clone())),
        // What is unsigned may be filled up with zeros (ZEROFILL), which become text.
        (
            ColumnType::TinyInt { unsigned }
            | ColumnType::SmallInt { unsigned }
            | ColumnType::MediumInt { unsigned }
            | ColumnType::Int { unsigned }
            | ColumnType::BigInt { unsigned },
            _,
            DefaultValue::Long(number),
        ) if !unsigned || is_integer(to) => match to {
            ColumnType::Text { .. } | ColumnType::Decimal { .. } => exactly(to, &Literal::Number(number.to_string())),
            to if is_integer(to) => exactly(to, &Literal::Number(number.to_string())),
            _ => None,
        },
        _ => None,
    }
}

fn is_integer(kind: &ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::TinyInt { .. }
            | ColumnType::SmallInt { .. }
            | ColumnType::MediumInt { .. }
            | ColumnType::Int { .. }
            | ColumnType::BigInt { .. }
    )
}

/// The numbers of an integer type.
fn range(kind: &ColumnType) -> std::ops::RangeInclusive<i128> {
    let (bits, unsigned) = match kind {
        ColumnType::TinyInt { unsigned } => (8, *unsigned),
        ColumnType::SmallInt { unsigned } => (16, *unsigned),
        ColumnType::MediumInt { unsigned } => (24, *unsigned),
        ColumnType::Int { unsigned } => (32, *unsigned),
        ColumnType::BigInt { unsigned } => (64, *unsigned),
        _ => (0, true),
    };
    if unsigned { 0..=(1_i128 << bits) - 1 } else { -(1_i128 << (bits - 1))..=(1_i128 << (bits - 1)) - 1 }
}

/// An integer as it is written, or by its bytes.
fn integer(literal: &Literal) -> Option<i128> {
    match literal {
        Literal::Number(text) | Literal::Text(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
        }
        Literal::Bytes(bytes) if (1..=8).contains(&bytes.len()) => {
            Some(bytes.iter().fold(0, |number, byte| number << 8 | i128::from(*byte)))
        }
        _ => None,
    }
}

/// The characters of a text literal. Whether its column's character set has them all is seen when that is known ([`super::stated`]).
fn text(literal: &Literal) -> Option<&str> {
    match literal {
        Literal::Text(text) => Some(text),
        _ => None,
    }
}

/// The characters that a literal is as text.
fn characters(literal: &Literal) -> Option<String> {
    match literal {
        Literal::Number(written) => {
            let number = integer(literal)?.to_string();
            (number == *written && number.len() <= DOUBLE_DIGITS).then_some(number)
        }
        _ => text(literal).map(str::to_owned),
    }
}

/// The digits of a number between its first and its last one that isn't a zero.
fn significant(number: &str) -> usize {
    let mantissa = number.split(['e', 'E']).next().unwrap_or(number);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len()
}

/// Whether the text has a digit wherever the form has a zero, and is the form's elsewhere.
fn is_written(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, form)| if form == b'0' { byte.is_ascii_digit() } else { byte == form })
}

/// Whether these digits of a second are at most so many; a single zero always is.
fn is_fraction(digits: &str, fsp: u8) -> bool {
    digits == "0" || (!digits.is_empty() && digits.len() <= usize::from(fsp) && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The place of the label that is written so and can't be another one by its column's collation.
fn label(labels: &[String], text: &str) -> Option<usize> {
    let mut alike = labels.iter().enumerate().filter(|(_, label)| label.eq_ignore_ascii_case(text));
    let (at, label) = alike.next()?;
    (label == text && alike.next().is_none()).then_some(at)
}

/// The value of a SET whose labels are in its own order.
fn set(labels: &[String], text: &str) -> Option<DefaultValue> {
    let value = || DefaultValue::Text(text.to_owned());
    if text.is_empty() {
        // A label may be empty as well.
        return labels.iter().all(|label| !label.is_empty()).then(value);
    }
    let places: Vec<usize> = text.split(',').map(|part| label(labels, part)).collect::<Option<_>>()?;
    places.is_sorted_by(|a, b| a < b).then(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ddl::parse_type;
    use proptest::prelude::*;

    fn of(kind: &str, literal: &Literal) -> Option<DefaultValue> {
        exactly(&parse_type(kind, None).expect("a type"), literal)
    }

    fn number(text: &str) -> Literal {
        Literal::Number(text.to_owned())
    }

    fn word(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    #[test]
    fn a_literal_that_the_column_holds_as_it_is_written_is_its_default() {
        let (long, bytes) = (DefaultValue::Long, |bytes: &[u8]| DefaultValue::Bytes(bytes.to_vec()));
        let text = |text: &str| DefaultValue::Text(text.to_owned());
        for (kind, literal, expected) in [
            ("INT", number("5"), long(5)),
            ("INT", word("-5"), long(-5)),
            ("TINYINT UNSIGNED", number("255"), long(255)),
            ("INT", Literal::Bytes(vec![1, 0]), long(256)),
            ("BIGINT UNSIGNED", number("18446744073709551615"), bytes(&[0, 255, 255, 255, 255, 255, 255, 255, 255])),
            ("YEAR", word("2024"), long(2024)),
            ("FLOAT", number("1.1"), DefaultValue::Double(1.1)),
            ("DOUBLE", number("-1e-3"), DefaultValue::Double(-0.001)),
            ("DECIMAL(5,2)", number("1.5"), bytes(&[0, 150])),
            ("DECIMAL(5,2)", word("-0.01"), bytes(&[255])),
            ("BIT(1)", number("1"), DefaultValue::Boolean(true)),
            ("BIT(12)", Literal::Bytes(vec![0x0a, 0x05]), bytes(&[0x05, 0x0a])),
            ("DATE", word("1969-12-31"), long(-1)),
            ("DATETIME", word("1970-01-02"), long(86_400_000)),
            ("DATETIME(3)", word("1970-01-01 00:00:01.5"), long(1500)),
            ("TIME", word("-25:00:00"), long(-90_000_000_000)),
            ("VARCHAR(3)", word("a b"), text("a b")),
            ("VARCHAR(3)", number("-12"), text("-12")),
            ("CHAR(3)", word(""), text("")),
            ("BINARY(3)", Literal::Bytes(vec![7]), bytes(&[7, 0, 0])),
            ("VARBINARY(3)", word(""), bytes(&[])),
            ("ENUM('a','b')", word("b"), text("b")),
            ("SET('a','b','c')", word("a,c"), text("a,c")),
            ("SET('a')", word(""), text("")),
        ] {
            assert_eq!(of(kind, &literal), Some(expected), "{kind} {literal:?}");
        }
    }

    #[test]
    fn what_the_column_changes_is_left_to_the_server() {
        for (kind, literal) in [
            ("INT", number("1.5")),
            ("INT", number("1e2")),
            ("INT", word(" 5")),
            ("INT", word("+5")),
            ("TINYINT", number("128")),
            ("INT UNSIGNED", number("-1")),
            ("INT", Literal::Bytes(vec![])),
            ("BIGINT", Literal::Bytes(vec![1; 9])),
            ("YEAR", number("24")),
            ("YEAR", number("0")),
            ("FLOAT", number("1.2345678901")),
            ("FLOAT", number("1e39")),
            ("DOUBLE", word("1.5")),
            ("DECIMAL(5,2)", number("1.255")),
            ("DECIMAL(5,2)", number("1000")),
            ("DECIMAL(5,2)", number("1e1")),
            ("BIT(3)", number("8")),
            ("BIT(8)", word("1")),
            ("DATE", word("2024-5-6")),
            ("DATE", word("2024-05-06 00:00:00")),
            ("DATE", word("2023-02-29")),
            ("DATE", word("0000-00-00")),
            ("DATETIME", word("2024-05-06 07:08:09.5")),
            ("DATETIME(3)", word("2024-05-06 07:08:09+01:00")),
            ("TIME", word("11:12")),
            ("TIME", word("00:00:00.5")),
            ("TIMESTAMP", word("2024-05-06 07:08:09")),
            ("VARCHAR(3)", word("abcd")),
            ("VARCHAR(3)", number("007")),
            ("VARCHAR(9)", number("1.50")),
            ("VARCHAR(9)", Literal::Bytes(vec![0x41])),
            ("CHAR(3)", word("a ")),
            ("TEXT", word("")),
            ("BINARY(3)", word("a")),
            ("VARBINARY(1)", Literal::Bytes(vec![1, 2])),
            ("ENUM('a','b')", word("B")),
            ("ENUM('a','A')", word("A")),
            ("ENUM('a','b')", number("1")),
            ("SET('a','b')", word("b,a")),
            ("SET('a','')", word("")),
            ("JSON", word("{}")),
        ] {
            assert_eq!(of(kind, &literal), None, "{kind} {literal:?}");
        }
    }

    #[test]
    fn without_a_default_older_rows_read_null_or_the_types_zero() {
        let column =
            |kind: &str, nullable| Column { name: "c".to_owned(), kind: parse_type(kind, None).expect("a type"), nullable, default: None };
        let read = |kind: &str, nullable| added(&column(kind, nullable), &Literal::Absent).map(|column| column.default);
        assert_eq!(read("INT", true), Some(None));
        assert_eq!(read("INT", false), Some(Some(DefaultValue::Long(0))));
        assert_eq!(read("ENUM('x','y')", false), Some(Some(DefaultValue::Text("x".to_owned()))));
        assert_eq!(read("BINARY(2)", false), Some(Some(DefaultValue::Bytes(vec![0, 0]))));
        assert_eq!(read("TEXT", false), Some(Some(DefaultValue::Text(String::new()))));
        assert_eq!(read("DATE", false), Some(None), "no day");
        assert_eq!(read("JSON", false), None);
        assert_eq!(created(&column("INT", false), &Literal::Absent), None, "no row is older");
    }

    proptest! {
        #[test]
        fn a_value_that_is_carried_is_what_its_text_says(number: i32, bits in 0_usize..3, decimal: bool) {
            let old = Column { name: "c".to_owned(), kind: ColumnType::Int { unsigned: false }, nullable: true, default: Some(DefaultValue::Long(number.into())) };
            let to = match (bits, decimal) {
                (0, false) => "BIGINT",
                (1, false) => "TINYINT",
                (_, false) => "VARCHAR(11)",
                (0, true) => "DECIMAL(20,3)",
                (_, true) => "DECIMAL(5,0)",
            };
            let new = Column { kind: parse_type(to, None).expect("a type"), default: None, ..old.clone() };
            let carried = carried(&old, &new).and_then(|column| column.default);
            prop_assert_eq!(carried, exactly(&new.kind, &Literal::Number(number.to_string())));
        }
    }
}
