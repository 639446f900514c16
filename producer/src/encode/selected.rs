//! A row of a SELECT to Avro. Which kind of value each type comes as is said in [`crate::source::select`], how it lies in the row in [`crate::decode::result_row`].

use millrace_schemas::shape::ColumnType;
use millrace_schemas::wire;

use super::column::Written;
use super::{ColumnPlan, Conversions, KeySpans, RowError, TablePlan, ValueError};
use crate::decode::decimal;
use crate::decode::result_row::{Cell, ResultRow};
use crate::decode::temporal::{Temporal, days_from_civil};

const US_PER_SECOND: i64 = 1_000_000;

impl TablePlan {
    /// Appends a row as an Avro `Value`. The shape's columns come first in it, in their order.
    ///
    /// # Errors
    /// [`RowError`]; `out` may then hold part of the row.
    pub fn selected(
        &self,
        row: &ResultRow,
        out: &mut Vec<u8>,
        spans: &mut KeySpans,
        conversions: &mut Conversions,
    ) -> Result<(), RowError> {
        spans.clear();
        spans.resize(self.span_count(), 0..0);
        let mut cells = row.cells()?;
        for (index, column) in self.columns.iter().enumerate() {
            let start = out.len();
            let result = match cells.next() {
                None => return Err(RowError::ColumnCount { expected: self.columns.len(), found: row.len() }),
                Some(Err(cause)) => Err(cause.into()),
                Some(Ok(Cell::Null)) => column.put_null(out),
                Some(Ok(cell)) => column.put_some(out, spans, conversions, |out| value(column, cell, out)),
            };
            result.map_err(|cause| self.error(index, cause))?;
            self.note_span(index, start..out.len(), spans);
        }
        Ok(())
    }
}

#[inline]
fn value(column: &ColumnPlan, cell: Cell<'_>, out: &mut Vec<u8>) -> Result<Written, ValueError> {
    match (&column.kind, cell) {
        (ColumnType::BigInt { unsigned: true }, cell) => ColumnPlan::put_unsigned_big(unsigned(cell)?, out),
        (
            ColumnType::TinyInt { .. }
            | ColumnType::SmallInt { .. }
            | ColumnType::MediumInt { .. }
            | ColumnType::Int { .. }
            | ColumnType::BigInt { .. }
            | ColumnType::Year,
            cell,
        ) => ColumnPlan::put_integer(signed(cell)?, out),
        (ColumnType::Float, Cell::Float(value)) => {
            wire::put_float(out, value);
            Ok(Written::Value)
        }
        (ColumnType::Double, Cell::Double(value)) => {
            wire::put_double(out, value);
            Ok(Written::Value)
        }
        (ColumnType::Decimal { scale, .. }, Cell::Bytes(text)) => {
            wire::put_sized(out, |out| decimal::from_text(text, *scale, out))?;
            Ok(Written::Value)
        }
        (ColumnType::Bit { bits }, Cell::Bytes(bytes)) => ColumnPlan::put_bits(*bits, bytes, out),
        (ColumnType::Date, Cell::Date { year, month, day, .. }) => ColumnPlan::put_date(days(year, month, day), out),
        (ColumnType::DateTime { fsp }, Cell::Date { .. }) => ColumnPlan::put_datetime(micros(cell), *fsp, out),
        (ColumnType::Timestamp { fsp }, Cell::Date { .. }) => ColumnPlan::put_timestamp(micros(cell), *fsp, out),
        (ColumnType::Time { .. }, Cell::Time { negative, days, hours, minutes, seconds, us }) => {
            let hours = i64::from(days) * 24 + i64::from(hours);
            let total = ((hours * 60 + i64::from(minutes)) * 60 + i64::from(seconds)) * US_PER_SECOND + i64::from(us);
            ColumnPlan::put_integer(if negative { -total } else { total }, out)
        }
        (ColumnType::Text { .. }, Cell::Bytes(bytes)) => column.put_text(bytes, out),
        (ColumnType::Binary { .. }, Cell::Bytes(bytes)) => ColumnPlan::put_binary(bytes, column.fill_to(), out),
        (ColumnType::Enum { labels }, Cell::Int(_) | Cell::UInt(_)) => ColumnPlan::put_enum(labels, unsigned(cell)?, out),
        (ColumnType::Set { labels }, Cell::Int(_) | Cell::UInt(_)) => ColumnPlan::put_set(labels, unsigned(cell)?, out),
        (ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json, Cell::Bytes(text)) => {
            wire::put_bytes(out, text);
            Ok(Written::Value)
        }
        (ColumnType::Geometry { kind }, Cell::Bytes(bytes)) => ColumnPlan::put_geometry(*kind, bytes, out),
        (ColumnType::Vector, Cell::Bytes(bytes)) => ColumnPlan::put_vector(bytes, out),
        (_, Cell::Bytes(_)) => Err(ValueError::Kind("bytes")),
        (_, Cell::Date { .. }) => Err(ValueError::Kind("a date")),
        (_, Cell::Time { .. }) => Err(ValueError::Kind("a time")),
        (_, Cell::Int(_) | Cell::UInt(_)) => Err(ValueError::Kind("an integer")),
        (_, Cell::Float(_) | Cell::Double(_)) => Err(ValueError::Kind("a floating-point number")),
        (_, Cell::Null) => Err(ValueError::Null),
    }
}

fn unsigned(cell: Cell<'_>) -> Result<u64, ValueError> {
    match cell {
        Cell::UInt(value) => Ok(value),
        Cell::Int(value) => u64::try_from(value).map_err(|_| ValueError::Kind("a negative number")),
        _ => Err(ValueError::Kind("no integer")),
    }
}

fn signed(cell: Cell<'_>) -> Result<i64, ValueError> {
    match cell {
        Cell::Int(value) => Ok(value),
        Cell::UInt(value) => i64::try_from(value).map_err(|_| ValueError::Kind("a number over 63 bits")),
        _ => Err(ValueError::Kind("no integer")),
    }
}

fn days(year: u16, month: u8, day: u8) -> Temporal<i32> {
    days_from_civil(year, month, day).map_or(Temporal::Unrepresentable, Temporal::Value)
}

fn micros(cell: Cell<'_>) -> Temporal<i64> {
    let Cell::Date { year, month, day, hour, minute, second, us } = cell else { return Temporal::Unrepresentable };
    match days(year, month, day) {
        Temporal::Value(days) => {
            let seconds = ((i64::from(days) * 24 + i64::from(hour)) * 60 + i64::from(minute)) * 60 + i64::from(second);
            Temporal::Value(seconds * US_PER_SECOND + i64::from(us))
        }
        Temporal::Unrepresentable => Temporal::Unrepresentable,
    }
}
