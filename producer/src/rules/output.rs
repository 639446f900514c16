//! What a table becomes: a topic's shape, which rows, and how a source row's bytes become an output row's.

use std::sync::Arc;

use millrace_schemas::avro::{Nullability, RenamedFrom};
use millrace_schemas::shape::{ColumnType, TableShape};
use millrace_schemas::wire;

use super::convert::{self, ConversionError};
use super::mask::{self, Salt};
use super::preview::Preview;
use super::written::{self, WriteError};
use crate::encode::KeySpans;
use crate::expression::{ColumnInfo, Comparer, Context, Decimal, EvaluationError, Expression, Malformed, RowView, Value, column};

/// One output of a table.
#[derive(Debug, Clone)]
pub struct Output {
    /// The names, columns and key after the rules. Topic and schema are made from it as from any table's.
    pub shape: TableShape,
    /// Which rows; none: all.
    pub filter: Option<Expression>,
    /// The columns of `shape`, in its order.
    pub columns: Vec<OutputColumn>,
    /// What it does, to show.
    pub preview: Preview,
    /// What may not be meant.
    pub warnings: Vec<String>,
    pub(super) salt: Option<Arc<Salt>>,
}

/// Where an output column's values come from.
#[derive(Debug, Clone)]
pub struct OutputColumn {
    pub(super) base: Base,
    /// What becomes of them, one after the other.
    pub(super) steps: Vec<Step>,
    pub(super) kind: ColumnType,
    pub(super) nullability: Nullability,
    /// Its place in the record key.
    pub(super) key_place: Option<usize>,
}

/// A column of a source row.
#[derive(Debug, Clone)]
pub(super) struct SourceColumn {
    pub(super) place: usize,
    pub(super) info: ColumnInfo,
}

#[derive(Debug, Clone)]
pub(super) enum Base {
    /// The source's column.
    Source(SourceColumn),
    /// The source's column before an update; NULL in all other records.
    Before(SourceColumn),
    /// An expression over the source row, and its type.
    Expression(Box<Expression>, ColumnType),
    /// Always the same.
    Fixed(Value<'static>),
    /// `database.table` of the source.
    SourceName,
}

/// What becomes of a value. `of` is its type before.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Convert { of: ColumnType, to: ColumnType },
    Hash { of: ColumnType },
    DigitsMask { of: ColumnType, mask: char },
    DigitsRandomise { of: ColumnType },
    Truncate { length: usize },
}

/// Why an output row can't be made. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {cause}")]
pub struct OutputError {
    /// The output's column.
    pub column: String,
    /// What is wrong.
    pub cause: OutputCause,
}

/// What can be wrong with one value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputCause {
    /// Its expression.
    #[error("{0}")]
    Expression(#[from] EvaluationError),
    /// Its type.
    #[error("{0}: correct it at the source, or change the rule")]
    Conversion(#[from] ConversionError),
    /// Its bytes in the source row.
    #[error("the row's bytes aren't those of its schema: {0}")]
    Malformed(#[from] Malformed),
    /// Writing it.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// The row has no bytes of the column.
    #[error("the row ends before it")]
    Span,
    /// NULL in the record key.
    #[error("NULL in a column of the record key: choose other columns with define-primary-key")]
    NullKey,
    /// A mask without its salt, which the settings never have.
    #[error("rules_salt isn't set")]
    Salt,
}

impl Output {
    /// Appends the output row of a source row as an Avro `Value`, and says where in `out` its key's columns lie. `before` is the source row that an
    /// update changed. On an error `out` may hold part of the row.
    ///
    /// # Errors
    /// [`OutputError`]
    pub fn write(
        &self,
        row: RowView<'_>,
        before: Option<RowView<'_>>,
        context: Context<'_>,
        comparer: &dyn Comparer,
        out: &mut Vec<u8>,
        key: &mut KeySpans,
    ) -> Result<(), OutputError> {
        key.clear();
        key.resize(self.shape.key.len(), 0..0);
        for (place, column) in self.columns.iter().enumerate() {
            let start = out.len();
            column.write(row, before, context, comparer, self.salt.as_deref(), out).map_err(|cause| self.error(place, cause))?;
            let Some(span) = column.key_place.and_then(|place| key.get_mut(place)) else { continue };
            // The branch of a union takes one byte, and the key has none.
            *span = match column.nullability {
                Nullability::Required => start..out.len(),
                nullability if is_null(nullability, out.get(start..).unwrap_or_default()) => {
                    return Err(self.error(place, OutputCause::NullKey));
                }
                _ => start + 1..out.len(),
            };
        }
        Ok(())
    }

    /// Of a table that is gone: nothing is known but what it was called.
    #[must_use]
    pub fn empty(shape: TableShape) -> Self {
        Self { shape, filter: None, columns: Vec::new(), preview: Preview::default(), warnings: Vec::new(), salt: None }
    }

    fn error(&self, place: usize, cause: OutputCause) -> OutputError {
        OutputError { column: self.shape.columns.get(place).map(|column| column.name.clone()).unwrap_or_default(), cause }
    }

    /// What the schema says about renamed columns, of those that have their source's name.
    #[must_use]
    pub fn renamed(&self, source: &TableShape, renamed: &RenamedFrom) -> RenamedFrom {
        let own_name = |name: &str| {
            self.columns.iter().zip(&self.shape.columns).any(|(column, shape)| match &column.base {
                Base::Source(from) => shape.name == name && source.columns.get(from.place).is_some_and(|column| column.name == name),
                _ => false,
            })
        };
        renamed.iter().filter(|(name, _)| own_name(name)).map(|(name, from)| (name.clone(), from.clone())).collect()
    }

    /// The column that has the values of the source's column of that place, as they are.
    #[must_use]
    pub fn copy_of(&self, place: usize) -> Option<usize> {
        let is_copy = |column: &OutputColumn| column.steps.is_empty() && matches!(&column.base, Base::Source(from) if from.place == place);
        self.columns.iter().position(is_copy)
    }

    /// The column that tells which source table a row is of, by its place in the shape; none where nothing does.
    #[must_use]
    pub fn source_column(&self) -> Option<usize> {
        let tells = |column: &OutputColumn| matches!(column.base, Base::SourceName) && column.steps.is_empty();
        self.columns.iter().position(tells)
    }

    /// The names of the columns that hold values before an update.
    pub fn before_columns(&self) -> impl Iterator<Item = &str> {
        let columns = self.columns.iter().zip(&self.shape.columns);
        columns.filter(|(column, _)| matches!(column.base, Base::Before(_))).map(|(_, shape)| shape.name.as_str())
    }

    /// Whether a source row is among those that pass the filter.
    ///
    /// # Errors
    /// The filter's.
    pub fn passes(&self, row: RowView<'_>, context: Context<'_>, comparer: &dyn Comparer) -> Result<bool, EvaluationError> {
        self.filter.as_ref().map_or(Ok(true), |filter| filter.is_true(row, context, comparer))
    }

    /// What keeps the two from sharing a topic; none: nothing.
    #[must_use]
    pub fn conflict(&self, other: &Self) -> Option<String> {
        let (own, others) = (&self.shape, &other.shape);
        let names = |shape: &TableShape| shape.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>().join(", ");
        if own.columns.len() != others.columns.len() || own.columns.iter().zip(&others.columns).any(|(a, b)| a.name != b.name) {
            return Some(format!("one has the columns {}, the other {}", names(own), names(others)));
        }
        let differs = own.columns.iter().zip(&others.columns).find(|(a, b)| a.kind != b.kind || a.nullable != b.nullable);
        if let Some((a, b)) = differs {
            let written = |column: &millrace_schemas::shape::Column| {
                format!("{}{}", super::types::written(&column.kind), if column.nullable { "" } else { " NOT NULL" })
            };
            return Some(format!("column {} is {} in one and {} in the other", a.name, written(a), written(b)));
        }
        (own.key != others.key).then(|| "their keys have different columns".to_owned())
    }
}

/// Whether the bytes, union branch first, are NULL's.
fn is_null(nullability: Nullability, bytes: &[u8]) -> bool {
    // Branches 0 and 1, zig-zag.
    match nullability {
        Nullability::Required => false,
        Nullability::NullFirst => bytes.first() == Some(&0),
        Nullability::NullLast => bytes.first() == Some(&2),
    }
}

impl OutputColumn {
    fn write(
        &self,
        row: RowView<'_>,
        before: Option<RowView<'_>>,
        context: Context<'_>,
        comparer: &dyn Comparer,
        salt: Option<&Salt>,
        out: &mut Vec<u8>,
    ) -> Result<(), OutputCause> {
        let mut value = match &self.base {
            Base::Source(column) => match self.copied(column, row, out)? {
                None => return Ok(()),
                Some(value) => value,
            },
            Base::Before(column) => match before {
                None => Value::Null,
                Some(before) => match self.copied(column, before, out)? {
                    None => return Ok(()),
                    Some(value) => value,
                },
            },
            Base::Expression(expression, kind) => convert::convert(expression.value(row, context, comparer)?, kind, kind)?,
            Base::Fixed(value) => value.clone(),
            Base::SourceName => Value::Text(format!("{}.{}", context.database, context.table).into()),
        };
        for step in &self.steps {
            value = step.take(value, salt)?;
        }
        Ok(written::write(&value, &self.kind, self.nullability, out)?)
    }

    /// Copies the column's bytes where nothing becomes of them; else reads its value.
    fn copied<'a>(&self, column: &SourceColumn, row: RowView<'a>, out: &mut Vec<u8>) -> Result<Option<Value<'a>>, OutputCause> {
        let bytes = row.spans.get(column.place).and_then(|span| row.row.get(span.clone())).ok_or(OutputCause::Span)?;
        if !self.steps.is_empty() {
            return Ok(Some(column::read(&column.info, bytes)?));
        }
        if self.nullability == column.info.nullability {
            out.extend_from_slice(bytes);
            return Ok(None);
        }
        if is_null(column.info.nullability, bytes) {
            return Ok(Some(Value::Null));
        }
        match self.nullability {
            Nullability::Required => {}
            Nullability::NullFirst => wire::put_long(out, 1),
            Nullability::NullLast => wire::put_long(out, 0),
        }
        let branch = usize::from(column.info.nullability != Nullability::Required);
        out.extend_from_slice(bytes.get(branch..).ok_or(OutputCause::Span)?);
        Ok(None)
    }
}

impl Step {
    fn take<'a>(&self, value: Value<'a>, salt: Option<&Salt>) -> Result<Value<'a>, OutputCause> {
        if value == Value::Null {
            return Ok(value);
        }
        Ok(match self {
            Self::Convert { of, to } => convert::convert(value, of, to)?,
            Self::Hash { of } => {
                let salt = salt.ok_or(OutputCause::Salt)?;
                Value::Text(match &value {
                    Value::Bytes(bytes) => mask::hash(salt, bytes).into(),
                    other => mask::hash(salt, text(other, of)?.as_bytes()).into(),
                })
            }
            Self::DigitsMask { of, mask } => Value::Text(mask::digits_mask(&text(&value, of)?, *mask).into()),
            Self::DigitsRandomise { of } => {
                let salt = salt.ok_or(OutputCause::Salt)?;
                match value {
                    Value::Integer(value) => {
                        let (least, most) = convert::range(of);
                        Value::Integer(mask::integer_randomise(salt, value, if value < 0 { least } else { most }))
                    }
                    // As many digits are a number of the same type.
                    Value::Decimal(value) => {
                        let random = mask::digits_randomise(salt, &value.to_string(), true);
                        Value::Decimal(Decimal::parse(&random).ok_or_else(|| misfit(&Value::Decimal(value)))?)
                    }
                    other => Value::Text(mask::digits_randomise(salt, &text(&other, of)?, false).into()),
                }
            }
            Self::Truncate { length } => match value {
                Value::Text(text) => match text.char_indices().nth(*length) {
                    None => Value::Text(text),
                    Some((end, _)) => Value::Text(text.get(..end).unwrap_or_default().to_owned().into()),
                },
                Value::Bytes(bytes) => Value::Bytes(bytes.get(..*length).unwrap_or(&bytes).to_owned().into()),
                other => other,
            },
        })
    }
}

fn text<'v>(value: &'v Value<'_>, of: &ColumnType) -> Result<std::borrow::Cow<'v, str>, OutputCause> {
    written::text(value, of).ok_or_else(|| misfit(value))
}

fn misfit(value: &Value<'_>) -> OutputCause {
    WriteError::Kind { found: written::name(value), kind: "text".to_owned() }.into()
}
