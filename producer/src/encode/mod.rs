//! Rows to Avro: a plan compiled once from a table's shape, then bytes in, bytes out.
//!
//! Both readers end here: the row images of the log ([`TablePlan::image`]) and the rows of a SELECT ([`TablePlan::selected`]). The two share
//! every function that writes a value, which is how the same row gives the same bytes (G7). No value becomes an object of its own.

mod column;
pub mod envelope;
mod image;
mod parts;
pub mod schema_change;
mod selected;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use millrace_schemas::avro::{self, Nullability, RenamedFrom, SchemaOptions};
use millrace_schemas::names;
use millrace_schemas::shape::{ColumnType, TableShape};

pub use parts::RowBuffers;

use crate::binlog::reader::EventError;
use crate::decode::DecodeError;
use crate::decode::charset::Charset;
use crate::expression::EvaluationError;
use crate::rules::{OutputCause, OutputError};

/// Why a row can't be encoded. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The bytes of the row image are wrong.
    #[error("{0}")]
    Image(#[from] EventError),
    /// One column's value.
    #[error("column {column}: {cause}")]
    Column {
        /// The column's name.
        column: String,
        /// What is wrong with it.
        cause: ValueError,
    },
    /// The row image lacks a column, and nothing else in the log has its value.
    #[error(
        "the log lacks the value of column {column}: set binlog_row_image=FULL at the source, also for sessions that set it themselves, and read the table again"
    )]
    Partial {
        /// The column's name.
        column: String,
    },
    /// A rule's filter has no result on this row.
    #[error("the filter of its rules: {0}")]
    Filter(EvaluationError),
    /// Rules can't make another row of it.
    #[error("its rules: {0}")]
    Output(Box<OutputError>),
    /// The event has another number of columns than its table's description.
    #[error("the row has {found} columns and its table {expected}")]
    ColumnCount {
        /// Columns of the table.
        expected: usize,
        /// Columns of the row.
        found: usize,
    },
}

impl From<OutputError> for RowError {
    fn from(error: OutputError) -> Self {
        Self::Output(Box::new(error))
    }
}

impl RowError {
    /// Whether the same row may pass another time.
    #[must_use]
    pub fn can_heal(&self) -> bool {
        match self {
            Self::Filter(cause) => matches!(cause, EvaluationError::Comparer { .. }),
            Self::Output(error) => matches!(error.cause, OutputCause::Expression(EvaluationError::Comparer { .. })),
            _ => false,
        }
    }
}

/// What can be wrong with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Its bytes.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// Its bytes' lengths.
    #[error("{0}")]
    Image(#[from] EventError),
    /// NULL where the schema has none.
    #[error("NULL in a column that is NOT NULL")]
    Null,
    /// A date that isn't a day, with `source.invalid_dates: stop`.
    #[error("a date that is not a day, such as 0000-00-00: correct it at the source, or set source.invalid_dates to null")]
    InvalidDate,
    /// An ENUM or SET number beyond its labels.
    #[error("label number {0} is beyond the column's labels")]
    Label(u64),
    /// The kind of value isn't the column's.
    #[error("the server sent {0} for a column of another type")]
    Kind(&'static str),
    /// A geometry shorter than its header, or a POINT that isn't one.
    #[error("malformed geometry")]
    Geometry,
    /// A vector whose length isn't a multiple of four bytes.
    #[error("malformed vector")]
    Vector,
}

/// One column of a plan.
#[derive(Debug)]
pub(crate) struct ColumnPlan {
    pub(crate) kind: ColumnType,
    pub(crate) nullability: Nullability,
    /// For columns of characters.
    pub(crate) charset: Option<Arc<Charset>>,
    /// Whether a date that isn't a day becomes null.
    pub(crate) dates_to_null: bool,
    /// Whether it belongs to the key.
    pub(crate) in_key: bool,
    /// Which of the row's spans its value is, if any: its place in the record key.
    pub(crate) key_place: Option<usize>,
}

/// A table's shape compiled: what there is to know before its rows come.
#[derive(Debug)]
pub struct TablePlan {
    shape: TableShape,
    topic: String,
    options: SchemaOptions,
    renamed: RenamedFrom,
    columns: Vec<ColumnPlan>,
    /// Whether a row's spans are those of all columns, whole, instead of the key's values.
    column_spans: bool,
}

/// Counts what a setting let pass in another form than the source's (G8).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Conversions {
    /// Dates that weren't days and became null.
    pub dates_to_null: u64,
}

/// Where the key's columns lie in the bytes of an encoded row, in key order; where rules work on it, where each column lies, its union branch included.
pub type KeySpans = Vec<Range<usize>>;

impl TablePlan {
    /// Compiles the plan of `shape` for a topic prefix. `charset` gives the decoder of a character set.
    ///
    /// # Errors
    /// The name of a character set which `charset` doesn't have.
    pub fn new(
        prefix: &str,
        shape: TableShape,
        options: SchemaOptions,
        charset: impl Fn(&str) -> Option<Arc<Charset>>,
    ) -> Result<Self, String> {
        let topic = names::table_topic(prefix, &shape.database, &shape.table);
        let columns = shape
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let charset = match &column.kind {
                    ColumnType::Text { charset: name, .. } => Some(charset(name).ok_or_else(|| name.clone())?),
                    _ => None,
                };
                let key_place = shape.key.iter().position(|&key| key == index);
                Ok(ColumnPlan {
                    kind: column.kind.clone(),
                    nullability: Nullability::of(column, options),
                    charset,
                    dates_to_null: options.dates_nullable,
                    in_key: key_place.is_some(),
                    key_place,
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { shape, topic, options, renamed: RenamedFrom::new(), columns, column_spans: false })
    }

    /// With the spans of all columns for each row, for rules that work on it.
    #[must_use]
    pub fn with_column_spans(mut self) -> Self {
        self.column_spans = true;
        self.columns.iter_mut().for_each(|column| column.key_place = None);
        self
    }

    /// How many spans a row has.
    #[must_use]
    pub fn span_count(&self) -> usize {
        if self.column_spans { self.columns.len() } else { self.shape.key.len() }
    }

    /// Notes where a column lies, if that is wanted.
    #[inline]
    fn note_span(&self, index: usize, span: Range<usize>, spans: &mut KeySpans) {
        if self.column_spans
            && let Some(place) = spans.get_mut(index)
        {
            *place = span;
        }
    }

    /// With what its schema says about renamed columns.
    #[must_use]
    pub fn with_renamed(mut self, mut renamed: RenamedFrom) -> Self {
        renamed.retain(|name, _| self.shape.columns.iter().any(|column| column.name == *name));
        self.renamed = renamed;
        self
    }

    /// What its schema says about renamed columns.
    #[must_use]
    pub fn renamed(&self) -> &RenamedFrom {
        &self.renamed
    }

    /// The table's shape.
    #[must_use]
    pub fn shape(&self) -> &TableShape {
        &self.shape
    }

    /// What changes its schemas.
    #[must_use]
    pub fn options(&self) -> SchemaOptions {
        self.options
    }

    /// The table's topic, if no rule makes it another one; in any case what it is told from others by.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Whether its records have a key.
    #[must_use]
    pub fn has_key(&self) -> bool {
        !self.shape.key.is_empty()
    }

    /// The schema of its record values.
    #[must_use]
    pub fn value_schema(&self) -> String {
        avro::value_schema_after(&self.shape, &self.renamed, &self.topic, self.options)
    }

    /// The schema of its record keys; none without a key.
    #[must_use]
    pub fn key_schema(&self) -> Option<String> {
        avro::key_schema(&self.shape, &self.topic)
    }

    /// Appends the key of an encoded row: the same bytes as in the row, without their union branches.
    pub fn append_key(row: &[u8], spans: &[Range<usize>], out: &mut Vec<u8>) {
        for span in spans {
            out.extend_from_slice(row.get(span.clone()).unwrap_or_default());
        }
    }

    fn error(&self, index: usize, cause: ValueError) -> RowError {
        RowError::Column { column: self.column_name(index), cause }
    }

    /// The error of a row whose image lacks the column of that place.
    #[must_use]
    pub fn lacking(&self, index: usize) -> RowError {
        RowError::Partial { column: self.column_name(index) }
    }

    fn column_name(&self, index: usize) -> String {
        self.shape.columns.get(index).map(|column| column.name.clone()).unwrap_or_default()
    }
}
