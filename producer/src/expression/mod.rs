//! The language of the rules' filters and values: a subset of MySQL's SQL, evaluated here with the result that MySQL has.
//!
//! An [`Expression`] is parsed once for a table, by the kept parser `sqlparser`, and typed against the table's columns: what it can't decide exactly is
//! refused then, by name. It leaves in two ways that agree: as SQL for the snapshot's SELECT ([`Expression::sql`], made from the typed tree and never from the
//! user's text) and by evaluation on encoded rows ([`Expression::is_true`], [`Expression::value`]), whichever reader they came from. Pure: a test against the
//! real server holds the two together.
//!
//! # The language
//!
//! - Literals: `7`, `-1.50`, `1e3` (beside FLOAT and DOUBLE only), `'text'` with MySQL's escapes, `X'00ff'`, `DATE'2024-02-29'`, `TIMESTAMP'2024-02-29 10:00:00.5'`,
//!   `TIME'-100:00:00'`, `TRUE`, `FALSE`, `NULL`. A text in quotes beside a date, time or bytes is read as one.
//! - Names: columns, in backticks or not, their case not mattering; `@source_database`, `@source_table`.
//! - Conditions: `=` `<>` `!=` `<` `<=` `>` `>=` `<=>`, `[NOT] BETWEEN`, `[NOT] IN (…)`, `[NOT] LIKE … [ESCAPE 'c']`, `IS [NOT] NULL`, `TRUE`, `FALSE`, `UNKNOWN`,
//!   `NOT`, `AND`, `OR`, `XOR`, and an integer alone, which is true if it isn't 0.
//! - Values: `+` `-` `*`, `CONCAT`, `UPPER`, `LOWER`, `SUBSTRING`, `LEFT`, `RIGHT`, `COALESCE`, `IFNULL`, `NULLIF`, `IF`, `CASE`, `LENGTH`, `CHAR_LENGTH`,
//!   `SHA2(x, 256)`, `CAST(x AS CHAR | SIGNED | UNSIGNED | DECIMAL(p,s))`, `CONVERT(x USING utf8mb4)`.
//!
//! All else is refused by name, and so is what MySQL's versions or settings would decide: a comparison of two kinds, of two collations, a cast or a result that may
//! not fit, a pattern that ends in its escape, a predicate within another one without parentheses. JSON, geometries and vectors can only be asked for NULL.
//!
//! # What holds
//!
//! - Logic has three values. NULL is neither true nor false, and only `IS` and `<=>` look at it.
//! - Integers and decimals compare exactly; FLOAT and DOUBLE as doubles, with anything.
//! - Text compares by its column's collation, ENUM and SET by their labels' text. What tests prove is decided here, the [`Comparer`] asks the server for
//!   the rest. Texts that come from no column compare as by utf8mb4_bin.
//! - A date that isn't a day counts as NULL, as in the records: the SQL says so.
//! - TIMESTAMP is UTC's.
//! - Arithmetic is MySQL's: with an unsigned integer the result is unsigned, and one beyond BIGINT is an error in both.
//!
//! MySQL itself understands the text otherwise where a column's shape doesn't tell enough: `CONCAT` and `CAST AS CHAR` here don't print the zeros of ZEROFILL, and a
//! FLOAT(M,D) or DOUBLE(M,D) compares exactly, where MySQL compares it with other fixed decimals only nearly. The SQL that is generated says what is meant here.

mod collation;
pub(crate) mod column;
mod comparer;
mod decimal;
mod evaluate;
mod kind;
mod literal;
mod parse;
mod pattern;
mod sql;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod tree;
mod typed;
mod value;

use std::ops::Range;

use millrace_schemas::avro::Nullability;
use millrace_schemas::shape::ColumnType;
use millrace_schemas::wire::WireError;

pub use comparer::{Comparer, Question, Undecided};
pub use decimal::Decimal;
pub use value::Value;

use tree::Node;

/// A column that an expression may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name; in expressions its case doesn't matter.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// The server's name of its collation; None for a type that has none, and where it isn't known: then its text can't be compared.
    pub collation: Option<String>,
    /// How the encoded row says whether it is NULL.
    pub nullability: Nullability,
}

/// An encoded source row.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    /// Its bytes: an Avro `Value`.
    pub row: &'a [u8],
    /// Where each column's value lies in it, the branch of the union included, in the order of the columns given to [`Expression::parse`].
    pub spans: &'a [Range<usize>],
}

/// What an expression may name beside columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context<'a> {
    /// `@source_database`: the database that the row is from.
    pub database: &'a str,
    /// `@source_table`: the table that the row is from.
    pub table: &'a str,
}

/// The type of an expression's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionKind {
    /// The type of a column that holds every value; a column's own type for a column alone. None for NULL alone.
    pub column_type: Option<ColumnType>,
    /// Whether the value can be NULL.
    pub nullable: bool,
}

/// Why a text isn't an expression over these columns: what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(pub(crate) String);

/// Why an expression has no value on a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// The bytes of a column in the encoded row.
    #[error("column {column}: its encoded value can't be read: {cause}")]
    Encoded {
        /// The column's name.
        column: String,
        /// What is wrong with them.
        cause: Malformed,
    },
    /// A result beyond its type, which is an error in MySQL as well.
    #[error("{0} is out of range, as it would be in MySQL")]
    OutOfRange(&'static str),
    /// A value that isn't of the kind for which the expression was typed: never, while the tree and the columns are those of each other.
    #[error("a value is of another type than its column")]
    Untyped,
    /// The server couldn't be asked to compare.
    #[error("comparing by {collation}: {cause}")]
    Comparer {
        /// The collation.
        collation: String,
        /// The comparer's words.
        cause: String,
    },
}

/// What can be wrong with the bytes of an encoded value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The Avro encoding.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The row has no span for the column, or one beyond its end.
    #[error("it isn't in the row")]
    Span,
    /// A union branch that the schema doesn't have.
    #[error("union branch {0}")]
    Branch(i64),
    /// Bytes that aren't UTF-8.
    #[error("text that isn't UTF-8")]
    Utf8,
    /// A value that its type doesn't have.
    #[error("not a value of its type")]
    Value,
}

/// An expression over the columns of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    root: Node,
    /// All columns that it was parsed for.
    columns: Vec<ColumnInfo>,
    /// Those that it names, ascending.
    used: Vec<usize>,
}

impl Expression {
    /// Parses a condition or a value over these columns.
    ///
    /// # Errors
    /// What isn't understood, isn't of the language, or can't be evaluated exactly.
    pub fn parse(text: &str, columns: &[ColumnInfo]) -> Result<Self, ExpressionError> {
        let root = parse::parse(text, columns)?;
        let mut used = Vec::new();
        root.collect_columns(&mut used);
        used.sort_unstable();
        used.dedup();
        Ok(Self { root, columns: columns.to_vec(), used })
    }

    /// Parses a condition: an expression that is true, false or NULL.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and a value that isn't a condition.
    pub fn parse_condition(text: &str, columns: &[ColumnInfo]) -> Result<Self, ExpressionError> {
        let expression = Self::parse(text, columns)?;
        expression.root.kind.check_condition("the filter")?;
        Ok(expression)
    }

    /// The columns that it names, by their places, ascending.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        &self.used
    }

    /// The type of its value.
    #[must_use]
    pub fn kind(&self) -> ExpressionKind {
        let column_type = self.root.column_type(&self.columns);
        ExpressionKind { column_type, nullable: self.root.nullable }
    }

    /// As SQL for one of the producer's sessions with the source, whose time zone and `sql_mode` it takes for granted.
    #[must_use]
    pub fn sql(&self, context: Context<'_>) -> String {
        sql::expression(&self.root, &self.columns, context)
    }

    /// Its value on a row.
    ///
    /// # Errors
    /// [`EvaluationError`].
    pub fn value<'a>(&'a self, row: RowView<'a>, context: Context<'a>, comparer: &dyn Comparer) -> Result<Value<'a>, EvaluationError> {
        evaluate::Evaluation { columns: &self.columns, row, context, comparer }.value(&self.root)
    }

    /// Whether it is true on a row; NULL isn't.
    ///
    /// # Errors
    /// [`EvaluationError`].
    pub fn is_true(&self, row: RowView<'_>, context: Context<'_>, comparer: &dyn Comparer) -> Result<bool, EvaluationError> {
        let truth = evaluate::Evaluation { columns: &self.columns, row, context, comparer }.truth(&self.root)?;
        Ok(truth == Some(true))
    }
}
