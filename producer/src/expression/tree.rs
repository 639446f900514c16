//! The typed tree of an expression.

use millrace_schemas::shape::{BinaryKind, ColumnType, TextKind};

use super::ColumnInfo;
use super::decimal::Decimal;
use super::kind::Kind;

/// A part of an expression, and what its values are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) op: Op,
    pub(super) kind: Kind,
    /// Whether it can be NULL.
    pub(super) nullable: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Literal(Literal),
    /// By its place.
    Column(usize),
    SourceDatabase,
    SourceTable,
    Compare {
        how: How,
        comparison: Comparison,
        left: Box<Node>,
        right: Box<Node>,
    },
    /// The alternatives are literals of the value's kind, or NULL.
    In {
        how: How,
        value: Box<Node>,
        alternatives: Vec<Node>,
    },
    Like {
        /// As bytes, by a collation, or as UTF-8.
        how: How,
        value: Box<Node>,
        pattern: Box<Node>,
        escape: char,
    },
    IsNull(Box<Node>),
    /// `IS TRUE`, `IS FALSE`.
    Is {
        value: Box<Node>,
        wanted: bool,
    },
    And(Vec<Node>),
    Or(Vec<Node>),
    Xor(Box<Node>, Box<Node>),
    Not(Box<Node>),
    /// The kind says in what numbers.
    Arithmetic {
        operator: Operator,
        left: Box<Node>,
        right: Box<Node>,
    },
    /// The first that isn't NULL.
    Coalesce(Vec<Node>),
    /// The value of the first condition that is true, else the last one.
    Case(Vec<(Node, Node)>, Box<Node>),
    Concat(Vec<Node>),
    /// By the collation, to upper or lower case.
    ChangeCase {
        collation: String,
        upper: bool,
        value: Box<Node>,
    },
    Substring {
        value: Box<Node>,
        start: Box<Node>,
        length: Option<Box<Node>>,
    },
    Left(Box<Node>, Box<Node>),
    Right(Box<Node>, Box<Node>),
    /// In bytes.
    Length(Box<Node>),
    /// In characters; of bytes, in bytes.
    CharLength(Box<Node>),
    /// SHA-256 in hexadecimal.
    Sha256(Box<Node>),
    /// To the node's kind.
    Cast(Box<Node>),
    /// To utf8mb4.
    ToUtf8(Box<Node>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Boolean(bool),
    Integer(i128),
    Decimal(Decimal),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Days.
    Date(i32),
    /// µs.
    DateTime(i64),
    /// µs.
    Time(i64),
}

/// In what two values are compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum How {
    /// Integers and decimals.
    Exact,
    Double,
    /// By a column's collation.
    Collation(String),
    /// Texts of no column, by their UTF-8.
    Utf8,
    Bytes,
    /// DATE, DATETIME and TIMESTAMP.
    Moment,
    Time,
    /// With a literal NULL.
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `<=>`
    Same,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Plus,
    Minus,
    Times,
}

impl Comparison {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Same => "<=>",
        }
    }
}

impl Operator {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
        }
    }
}

impl Node {
    pub(super) fn new(op: Op, kind: Kind, nullable: bool) -> Self {
        Self { op, kind, nullable }
    }

    pub(super) fn literal(literal: Literal, kind: Kind) -> Self {
        let nullable = literal == Literal::Null;
        Self { op: Op::Literal(literal), kind, nullable }
    }

    pub(super) fn condition(op: Op, nullable: bool) -> Self {
        Self { op, kind: Kind::Boolean, nullable }
    }

    /// Itself, or its opposite.
    pub(super) fn negated_if(self, negated: bool) -> Self {
        let nullable = self.nullable;
        if negated { Self::condition(Op::Not(Box::new(self)), nullable) } else { self }
    }

    pub(super) fn is_literal(&self) -> bool {
        matches!(self.op, Op::Literal(_))
    }

    pub(super) fn children(&self) -> Vec<&Self> {
        match &self.op {
            Op::Literal(_) | Op::Column(_) | Op::SourceDatabase | Op::SourceTable => Vec::new(),
            Op::Compare { left, right, .. } | Op::Arithmetic { left, right, .. } | Op::Xor(left, right) => vec![left, right],
            Op::In { value, alternatives, .. } => std::iter::once(&**value).chain(alternatives).collect(),
            Op::Like { value, pattern, .. } => vec![value, pattern],
            Op::IsNull(value)
            | Op::Is { value, .. }
            | Op::Not(value)
            | Op::ChangeCase { value, .. }
            | Op::Length(value)
            | Op::CharLength(value)
            | Op::Sha256(value)
            | Op::Cast(value)
            | Op::ToUtf8(value) => vec![value],
            Op::And(nodes) | Op::Or(nodes) | Op::Coalesce(nodes) | Op::Concat(nodes) => nodes.iter().collect(),
            Op::Case(whens, otherwise) => {
                whens.iter().flat_map(|(condition, value)| [condition, value]).chain(std::iter::once(&**otherwise)).collect()
            }
            Op::Substring { value, start, length } => {
                let mut children: Vec<&Self> = vec![value, start];
                children.extend(length.as_deref());
                children
            }
            Op::Left(value, count) | Op::Right(value, count) => vec![value, count],
        }
    }

    pub(super) fn collect_columns(&self, found: &mut Vec<usize>) {
        if let Op::Column(index) = self.op {
            found.push(index);
        }
        for child in self.children() {
            child.collect_columns(found);
        }
    }

    /// A column's type that holds all its values; None for NULL.
    pub(super) fn column_type(&self, columns: &[ColumnInfo]) -> Option<ColumnType> {
        if let Op::Column(index) = self.op
            && let Some(column) = columns.get(index)
        {
            return Some(column.kind.clone());
        }
        let text = |chars: Option<u32>| {
            // Beyond this VARCHAR has no room in a row.
            let (kind, chars) = match chars.filter(|chars| *chars <= 16_383) {
                Some(chars) => (TextKind::VarChar, chars),
                None => (TextKind::LongText, 0),
            };
            ColumnType::Text { kind, chars, charset: "utf8mb4".to_owned() }
        };
        Some(match &self.kind {
            Kind::Null | Kind::Opaque(_) => return None,
            Kind::Boolean => ColumnType::TinyInt { unsigned: false },
            Kind::Integer { unsigned, .. } => ColumnType::BigInt { unsigned: *unsigned },
            Kind::Year | Kind::Bits => ColumnType::BigInt { unsigned: true },
            Kind::Decimal { precision, scale } => ColumnType::Decimal { precision: *precision, scale: *scale },
            Kind::Double => ColumnType::Double,
            Kind::Text(kind) => text(kind.chars),
            Kind::Bytes => ColumnType::Binary { kind: BinaryKind::LongBlob, bytes: 0 },
            Kind::Date => ColumnType::Date,
            Kind::DateTime { fsp } => ColumnType::DateTime { fsp: *fsp },
            Kind::Timestamp { fsp } => ColumnType::Timestamp { fsp: *fsp },
            Kind::Time { fsp } => ColumnType::Time { fsp: *fsp },
        })
    }
}
