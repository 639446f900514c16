//! The kinds of values that expressions have, and how several become one.

use millrace_schemas::shape::ColumnType;

use super::comparer::charset;
use super::tree::{Literal, Node, Op};
use super::{ColumnInfo, ExpressionError};

/// Digits of a BIGINT and of a BIGINT UNSIGNED.
pub(super) const SIGNED_DIGITS: u8 = 19;
pub(super) const UNSIGNED_DIGITS: u8 = 20;
/// Of a DECIMAL, in all and after the point.
pub(super) const PRECISION_MAX: u8 = 65;
pub(super) const SCALE_MAX: u8 = 30;

/// What values a part of an expression has.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// NULL only.
    Null,
    Boolean,
    Integer {
        /// As MySQL has it: it decides what an operation may result in.
        unsigned: bool,
        /// At most.
        digits: u8,
    },
    /// Of a column of that type, whose text has four digits.
    Year,
    /// Of a column of type BIT, whose text is bytes.
    Bits,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Double,
    Text(TextKind),
    Bytes,
    Date,
    DateTime {
        fsp: u8,
    },
    Timestamp {
        fsp: u8,
    },
    Time {
        fsp: u8,
    },
    /// Of a type that can only be asked for NULL.
    Opaque(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct TextKind {
    pub(super) collation: Collation,
    /// Whether the server holds it in UTF-8, so that its bytes there are those here.
    pub(super) utf8: bool,
    /// Characters, at most.
    pub(super) chars: Option<u32>,
}

/// By what a text compares.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Collation {
    /// A literal: it takes what it is compared with, and else its bytes.
    Literal,
    /// Made by a function, of no column's characters: the same.
    Made,
    /// A column's.
    Column(String),
    /// Nothing: the collation isn't known, or there are several.
    None,
}

impl Kind {
    /// What a column has.
    pub(super) fn of(column: &ColumnInfo) -> Self {
        let integer = |unsigned: bool, digits: u8| Self::Integer { unsigned, digits };
        let text = |chars: Option<u32>| {
            let collation = column.collation.as_deref().filter(|name| charset(name).is_some());
            Self::Text(TextKind {
                utf8: collation.and_then(charset).is_some_and(is_utf8),
                collation: collation.map_or(Collation::None, |name| Collation::Column(name.to_owned())),
                chars,
            })
        };
        match &column.kind {
            ColumnType::TinyInt { unsigned } => integer(*unsigned, 3),
            ColumnType::SmallInt { unsigned } => integer(*unsigned, 5),
            ColumnType::MediumInt { unsigned } => integer(*unsigned, 8),
            ColumnType::Int { unsigned } => integer(*unsigned, 10),
            ColumnType::BigInt { unsigned } => integer(*unsigned, if *unsigned { UNSIGNED_DIGITS } else { SIGNED_DIGITS }),
            ColumnType::Bit { .. } => Self::Bits,
            ColumnType::Year => Self::Year,
            ColumnType::Float | ColumnType::Double => Self::Double,
            ColumnType::Decimal { precision, scale } => Self::Decimal { precision: *precision, scale: *scale },
            ColumnType::Date => Self::Date,
            ColumnType::Time { fsp } => Self::Time { fsp: *fsp },
            ColumnType::DateTime { fsp } => Self::DateTime { fsp: *fsp },
            ColumnType::Timestamp { fsp } => Self::Timestamp { fsp: *fsp },
            ColumnType::Text { chars, .. } => text(Some(*chars).filter(|chars| *chars > 0)),
            ColumnType::Enum { labels } => text(labels.iter().map(|label| count(label)).max()),
            ColumnType::Set { labels } => text(Some(labels.iter().map(|label| count(label) + 1).fold(0, u32::saturating_add))),
            ColumnType::Binary { .. } => Self::Bytes,
            ColumnType::Json => Self::Opaque("JSON"),
            ColumnType::Geometry { .. } => Self::Opaque("a geometry"),
            ColumnType::Vector => Self::Opaque("a vector"),
        }
    }

    /// A text of no column.
    pub(super) fn made(chars: Option<u32>) -> Self {
        Self::Text(TextKind { collation: Collation::Made, utf8: true, chars })
    }

    /// The kind in words, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Boolean => "a condition",
            Self::Integer { .. } => "an integer",
            Self::Year => "a year",
            Self::Bits => "a BIT",
            Self::Decimal { .. } => "a decimal",
            Self::Double => "a floating-point number",
            Self::Text(_) => "text",
            Self::Bytes => "bytes",
            Self::Date => "a date",
            Self::DateTime { .. } => "a date with time",
            Self::Timestamp { .. } => "a timestamp",
            Self::Time { .. } => "a time",
            Self::Opaque(name) => name,
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Boolean | Self::Integer { .. } | Self::Year | Self::Bits | Self::Decimal { .. } | Self::Double)
    }

    pub(super) fn is_moment(&self) -> bool {
        matches!(self, Self::Date | Self::DateTime { .. } | Self::Timestamp { .. })
    }

    /// Whether it is unsigned and how many digits it has at most, of an integer.
    pub(super) fn integer(&self) -> Option<(bool, u8)> {
        match self {
            Self::Integer { unsigned, digits } => Some((*unsigned, *digits)),
            Self::Year => Some((true, 4)),
            Self::Bits => Some((true, UNSIGNED_DIGITS)),
            _ => None,
        }
    }

    /// Digits before and after the point, of an exact number.
    pub(super) fn digits(&self) -> Option<(u8, u8)> {
        match self {
            Self::Boolean => Some((1, 0)),
            Self::Decimal { precision, scale } => Some((precision.saturating_sub(*scale), *scale)),
            other => other.integer().map(|(_, digits)| (digits, 0)),
        }
    }

    /// The DECIMAL with that many digits before and after the point.
    pub(super) fn decimal(whole: u8, scale: u8) -> Result<Self, ExpressionError> {
        let precision = whole.saturating_add(scale).max(1);
        if precision > PRECISION_MAX || scale > SCALE_MAX {
            return Err(ExpressionError(format!(
                "a result may have {whole} digits before the point and {scale} after it, and DECIMAL has {PRECISION_MAX} at most, {SCALE_MAX} of them after the point; \
                 cast its parts to smaller decimals"
            )));
        }
        Ok(Self::Decimal { precision, scale })
    }

    /// Whether it is a condition: an integer that isn't 0 is true. Of other numbers MySQL's versions differ in whether 0.5 is.
    pub(super) fn check_condition(&self, place: &str) -> Result<(), ExpressionError> {
        if matches!(self, Self::Null | Self::Boolean) || self.integer().is_some() {
            return Ok(());
        }
        Err(ExpressionError(format!("{place} is {}, not a condition: compare it with something", self.name())))
    }
}

/// Character sets whose bytes are UTF-8's.
fn is_utf8(charset: &str) -> bool {
    matches!(charset, "utf8mb4" | "utf8mb3" | "utf8" | "ascii")
}

/// Characters of a text.
pub(super) fn count(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// The collation that texts have together.
pub(super) fn collation<'a>(texts: impl Iterator<Item = &'a TextKind>) -> Collation {
    texts.map(|text| text.collation.clone()).reduce(together).unwrap_or(Collation::Made)
}

fn together(a: Collation, b: Collation) -> Collation {
    match (a, b) {
        (Collation::Literal, other) | (other, Collation::Literal) => other,
        (a, b) if a == b => a,
        _ => Collation::None,
    }
}

/// The kind of a value that is one of these, as of CASE.
pub(super) fn united(nodes: &[&Node]) -> Result<Kind, ExpressionError> {
    let kinds: Vec<&Kind> = nodes.iter().map(|node| &node.kind).filter(|kind| **kind != Kind::Null).collect();
    let Some(first) = kinds.first().copied() else { return Ok(Kind::Null) };
    let mixed = || {
        let mut names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        names.dedup();
        ExpressionError(format!("a value would be one of different kinds, {}: write all of them as one kind", names.join(" and ")))
    };
    if kinds.iter().all(|kind| **kind == Kind::Boolean) {
        return Ok(Kind::Boolean);
    }
    if kinds.iter().all(|kind| kind.is_number()) {
        return number(nodes);
    }
    let fsp =
        |of: fn(&Kind) -> Option<u8>| kinds.iter().map(|kind| of(kind)).collect::<Option<Vec<u8>>>().and_then(|all| all.into_iter().max());
    match first {
        Kind::Text(_) => {
            let texts: Vec<&TextKind> =
                kinds.iter().filter_map(|kind| if let Kind::Text(text) = kind { Some(text) } else { None }).collect();
            if texts.len() < kinds.len() {
                return Err(mixed());
            }
            Ok(Kind::Text(TextKind {
                collation: collation(texts.iter().copied()),
                utf8: texts.iter().all(|text| text.utf8),
                chars: texts.iter().map(|text| text.chars).collect::<Option<Vec<u32>>>().and_then(|all| all.into_iter().max()),
            }))
        }
        Kind::Bytes | Kind::Date if kinds.iter().all(|kind| *kind == first) => Ok(first.clone()),
        Kind::DateTime { .. } => fsp(|kind| if let Kind::DateTime { fsp } = kind { Some(*fsp) } else { None })
            .map(|fsp| Kind::DateTime { fsp })
            .ok_or_else(mixed),
        Kind::Timestamp { .. } => fsp(|kind| if let Kind::Timestamp { fsp } = kind { Some(*fsp) } else { None })
            .map(|fsp| Kind::Timestamp { fsp })
            .ok_or_else(mixed),
        Kind::Time { .. } => {
            fsp(|kind| if let Kind::Time { fsp } = kind { Some(*fsp) } else { None }).map(|fsp| Kind::Time { fsp }).ok_or_else(mixed)
        }
        Kind::Opaque(name) => Err(ExpressionError(format!("{name} can only be asked whether it IS NULL"))),
        _ => Err(mixed()),
    }
}

fn number(nodes: &[&Node]) -> Result<Kind, ExpressionError> {
    let numbers: Vec<&&Node> = nodes.iter().filter(|node| node.kind != Kind::Null).collect();
    if numbers.iter().any(|node| node.kind == Kind::Double) {
        return Ok(Kind::Double);
    }
    let digits = |node: &&&Node| node.kind.digits().unwrap_or((PRECISION_MAX, 0));
    let whole = numbers.iter().map(digits).map(|(whole, _)| whole).max().unwrap_or(1);
    let scale = numbers.iter().map(digits).map(|(_, scale)| scale).max().unwrap_or(0);
    if numbers.iter().any(|node| matches!(node.kind, Kind::Decimal { .. })) {
        return Kind::decimal(whole, scale);
    }
    let is_of_unsigned = |node: &&&Node| node.kind.integer().is_some_and(|(unsigned, _)| unsigned);
    if numbers.iter().all(|node| is_never_negative(node)) && numbers.iter().any(is_of_unsigned) {
        return Ok(Kind::Integer { unsigned: true, digits: whole });
    }
    // Neither of the two BIGINTs has all values of both.
    if numbers.iter().any(|node| node.kind.integer().is_some_and(|(unsigned, digits)| unsigned && digits >= UNSIGNED_DIGITS)) {
        return Kind::decimal(UNSIGNED_DIGITS, 0);
    }
    Ok(Kind::Integer { unsigned: false, digits: whole })
}

/// Whether an integer is never negative.
fn is_never_negative(node: &Node) -> bool {
    match (&node.op, &node.kind) {
        (Op::Literal(Literal::Integer(value)), _) => *value >= 0,
        (_, kind) => kind.integer().map_or(*kind == Kind::Boolean, |(unsigned, _)| unsigned),
    }
}
