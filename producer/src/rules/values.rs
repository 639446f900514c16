//! What a change makes of a column of some type: the type after it and the step that each value takes; or why it can't be.

use std::borrow::Cow;

use millrace_schemas::shape::{BinaryKind, ColumnType, TextKind};

use super::convert;
use super::model::ValueChange;
use super::output::Step;
use super::types;
use crate::expression::{Decimal, Value};

/// A SHA-256 in hexadecimal digits.
const HASH_CHARS: u32 = 64;

/// A change on a column of a known type.
pub(super) struct Made {
    pub(super) change: Change,
    /// The type after it.
    pub(super) kind: ColumnType,
    /// Whether different values stay different.
    pub(super) keeps_values_apart: bool,
    /// What it does, to show.
    pub(super) words: String,
}

pub(super) enum Change {
    None,
    Step(Step),
    /// All that came before doesn't matter.
    Fixed(Value<'static>),
}

/// What `change` is for a column of type `of`.
pub(super) fn step(change: &ValueChange, of: &ColumnType, nullable: bool) -> Result<Made, String> {
    let name = || types::written(of);
    let made = |step: Step, kind: ColumnType, keeps_values_apart: bool, words: String| Made {
        change: Change::Step(step),
        kind,
        keeps_values_apart,
        words,
    };
    match change {
        ValueChange::Type(to) if to == of => {
            Ok(Made { change: Change::None, kind: of.clone(), keeps_values_apart: true, words: format!("is {}", name()) })
        }
        ValueChange::Type(to) => {
            if !convert::is_possible(of, to) {
                return Err(format!("{} can't become {}", name(), types::written(to)));
            }
            let apart = convert::keeps_values_apart(of, to);
            Ok(made(Step::Convert { of: of.clone(), to: to.clone() }, to.clone(), apart, format!("{} to {}", name(), types::written(to))))
        }
        ValueChange::Hash => match of {
            ColumnType::Float | ColumnType::Double | ColumnType::Geometry { .. } | ColumnType::Vector => {
                Err(format!("{} has no exact text to hash; remove the column, or redact it", name()))
            }
            _ => Ok(made(Step::Hash { of: of.clone() }, types::varchar(HASH_CHARS), true, "HMAC-SHA256".to_owned())),
        },
        ValueChange::DigitsMask(mask) => {
            let kind = match of {
                ColumnType::Text { .. } => of.clone(),
                kind if has_digits(kind) => types::varchar(TEXT_CHARS),
                ColumnType::Enum { .. } | ColumnType::Set { .. } => types::long_text(),
                _ => return Err(format!("{} has no digits to mask; remove the column, or redact it", name())),
            };
            Ok(made(Step::DigitsMask { of: of.clone(), mask: *mask }, kind, false, format!("digits as {mask}")))
        }
        ValueChange::DigitsRandomise => match of {
            ColumnType::Text { .. }
            | ColumnType::Decimal { .. }
            | ColumnType::TinyInt { .. }
            | ColumnType::SmallInt { .. }
            | ColumnType::MediumInt { .. }
            | ColumnType::Int { .. }
            | ColumnType::BigInt { .. } => {
                Ok(made(Step::DigitsRandomise { of: of.clone() }, of.clone(), false, "random digits".to_owned()))
            }
            _ => Err(format!("random digits aren't a {}; hash it, or redact it", name())),
        },
        ValueChange::Truncate(length) => {
            let kind = match of {
                ColumnType::Text { kind: kind @ (TextKind::Char | TextKind::VarChar), chars, charset } => {
                    ColumnType::Text { kind: *kind, chars: (*chars).min(*length), charset: charset.clone() }
                }
                ColumnType::Binary { kind: BinaryKind::Binary | BinaryKind::VarBinary, bytes } => {
                    ColumnType::Binary { kind: BinaryKind::VarBinary, bytes: (*bytes).min(*length) }
                }
                ColumnType::Text { .. } | ColumnType::Binary { .. } => of.clone(),
                _ => return Err(format!("only text and bytes can be cut, not {}", name())),
            };
            let unit = if matches!(of, ColumnType::Text { .. }) { "characters" } else { "bytes" };
            let length_usize = usize::try_from(*length).unwrap_or(usize::MAX);
            Ok(made(Step::Truncate { length: length_usize }, kind, false, format!("first {length} {unit}")))
        }
        ValueChange::Constant(text) => {
            let value = constant(text, of)?;
            Ok(Made { change: Change::Fixed(value), kind: of.clone(), keeps_values_apart: false, words: format!("always {text:?}") })
        }
        ValueChange::Redact => {
            let value = if nullable {
                Value::Null
            } else {
                empty(of).ok_or_else(|| format!("{} NOT NULL has no empty value; remove the column", name()))?
            };
            Ok(Made { change: Change::Fixed(value), kind: of.clone(), keeps_values_apart: false, words: "redacted".to_owned() })
        }
    }
}

/// The longest text of a type with digits: a DECIMAL's 65, a minus and a point, or a date and a time.
const TEXT_CHARS: u32 = 67;

/// Whether the type's values are written in digits.
fn has_digits(kind: &ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::TinyInt { .. }
            | ColumnType::SmallInt { .. }
            | ColumnType::MediumInt { .. }
            | ColumnType::Int { .. }
            | ColumnType::BigInt { .. }
            | ColumnType::Decimal { .. }
            | ColumnType::Year
            | ColumnType::Date
            | ColumnType::Time { .. }
            | ColumnType::DateTime { .. }
            | ColumnType::Timestamp { .. }
    )
}

/// A text as a value of the type.
fn constant(text: &str, kind: &ColumnType) -> Result<Value<'static>, String> {
    let value = Value::Text(Cow::Owned(text.to_owned()));
    match kind {
        ColumnType::Enum { labels } if labels.iter().any(|label| label == text) => Ok(value),
        ColumnType::Set { labels } if text.is_empty() || text.split(',').all(|chosen| labels.iter().any(|label| label == chosen)) => {
            Ok(value)
        }
        ColumnType::Json if serde_json::from_str::<serde_json::Value>(text).is_ok() => Ok(value),
        kind if matches!(kind, ColumnType::Bit { .. } | ColumnType::Year) || convert::is_possible(&types::long_text(), kind) => {
            convert::convert(value, &types::long_text(), kind).map_err(|error| format!("{text:?} is {error}"))
        }
        kind => Err(format!("{text:?} isn't a value of {}", types::written(kind))),
    }
}

/// A type's value that says nothing.
fn empty(kind: &ColumnType) -> Option<Value<'static>> {
    Some(match kind {
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. }
        | ColumnType::Bit { .. }
        | ColumnType::Year => Value::Integer(0),
        ColumnType::Float | ColumnType::Double => Value::Double(0.0),
        ColumnType::Decimal { scale, .. } => Value::Decimal(Decimal::from_integer(0).rescaled(*scale)?),
        ColumnType::Date => Value::Date(0),
        ColumnType::DateTime { .. } => Value::DateTime(0),
        // 1970-01-01 00:00:01 is the first that there is.
        ColumnType::Timestamp { .. } => Value::Timestamp(1_000_000),
        ColumnType::Time { .. } => Value::Time(0),
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => Value::Text(Cow::Borrowed("")),
        ColumnType::Json => Value::Text(Cow::Borrowed("null")),
        ColumnType::Binary { kind: BinaryKind::Binary, bytes } => Value::Bytes(Cow::Owned(vec![0; usize::try_from(*bytes).ok()?])),
        ColumnType::Binary { .. } => Value::Bytes(Cow::Borrowed(&[])),
        ColumnType::Geometry { .. } | ColumnType::Vector => return None,
    })
}
