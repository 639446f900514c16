//! The images of an update that aren't whole: columns left out (`binlog_row_image` NOBLOB or MINIMAL) and JSON values of which only changes are logged
//! (`binlog_row_value_options = PARTIAL_JSON`).
//!
//! What the image after lacks is taken from the one before. What neither has isn't in the log at all, and the row is refused: nothing is invented (G8). Values pass
//! through the same functions as those of whole images, so that the row gives the same bytes (G7).

use millrace_schemas::shape::ColumnType;
use millrace_schemas::wire;

use super::column::Written;
use super::image::{all_present, sized, value};
use super::{ColumnPlan, Conversions, KeySpans, RowError, TablePlan, ValueError};
use crate::binlog::event::RowsEvent;
use crate::binlog::reader::{EventError, Reader};
use crate::binlog::table_map::{Layout, bit_from_low};
use crate::decode::{DecodeError, decimal, json, temporal};

/// The value option of JSON values that are logged as changes (`Rows_event`, `PARTIAL_JSON_UPDATES`).
const PARTIAL_JSON: u64 = 1;

/// Where a row is encoded to.
#[derive(Debug)]
pub struct RowBuffers<'o> {
    /// Its bytes.
    pub row: &'o mut Vec<u8>,
    /// Where in them its key's columns lie.
    pub key: &'o mut KeySpans,
}

/// What an image has of a column. The bytes are those of the image, lengths included.
#[derive(Debug, Clone, Copy)]
enum Cell<'a> {
    Absent,
    Null,
    Value(&'a [u8]),
    /// Changes of a JSON value, without their length.
    Changes(&'a [u8]),
}

impl TablePlan {
    /// Whether all images of the event have all columns and whole values.
    #[must_use]
    pub fn is_whole(&self, event: &RowsEvent<'_>) -> bool {
        let count = self.columns.len();
        !event.partial && all_present(event.present, count) && all_present(event.present_after, count)
    }

    /// Encodes the images of the next update of an event that [isn't whole](Self::is_whole). `layouts` come from the table map that describes the rows.
    ///
    /// Gives the place of the first column that the image before lacks, if it lacks any: the row before then holds its key's columns only.
    ///
    /// # Errors
    /// [`RowError`]; among them that a value is in neither image, or a key's column not in the one before.
    pub fn update_of_parts(
        &self,
        layouts: &[Layout],
        event: &RowsEvent<'_>,
        rows: &mut Reader<'_>,
        before: RowBuffers<'_>,
        after: RowBuffers<'_>,
        conversions: &mut Conversions,
    ) -> Result<Option<usize>, RowError> {
        if layouts.len() != self.columns.len() {
            return Err(RowError::ColumnCount { expected: self.columns.len(), found: layouts.len() });
        }
        let old = self.cells(layouts, event.present, &[], rows)?;
        let changed = if event.partial { self.changed_parts(rows)? } else { &[] };
        let new = self.cells(layouts, event.present_after, changed, rows)?;
        let lacks = old.iter().position(|cell| matches!(cell, Cell::Absent));
        // Without a key only the whole row before tells which row changed.
        if let Some(index) = lacks.filter(|_| !self.has_key()) {
            return Err(self.lacking(index));
        }
        let places = || layouts.iter().zip(&self.columns).enumerate();

        let mut out = Encoder { plan: self, buffers: before, conversions };
        out.begin();
        for (index, (layout, column)) in places() {
            if lacks.is_none() || column.in_key {
                out.put(index, *layout, old.get(index), None)?;
            }
        }
        let mut out = Encoder { plan: self, buffers: after, conversions: out.conversions };
        out.begin();
        for (index, (layout, _)) in places() {
            out.put(index, *layout, new.get(index), old.get(index))?;
        }
        Ok(lacks)
    }

    /// Which JSON columns of the image that follows hold changes: a bit for each JSON column of the table, whether the image has it or not.
    fn changed_parts<'a>(&self, rows: &mut Reader<'a>) -> Result<&'a [u8], RowError> {
        match rows.packed("value options")? {
            0 => Ok(&[]),
            PARTIAL_JSON => {
                let count = self.columns.iter().filter(|column| column.kind == ColumnType::Json).count();
                Ok(rows.bytes(count.div_ceil(8), "partial values")?)
            }
            _ => Err(EventError::Invalid("value options").into()),
        }
    }

    /// Splits the next image into its columns.
    fn cells<'a>(&self, layouts: &[Layout], present: &[u8], changed: &[u8], rows: &mut Reader<'a>) -> Result<Vec<Cell<'a>>, RowError> {
        let count = self.columns.len();
        if present.len() != count.div_ceil(8) {
            return Err(EventError::Invalid("columns present").into());
        }
        let images = (0..count).filter(|&index| bit_from_low(present, index)).count();
        let nulls = rows.bytes(images.div_ceil(8), "null bitmap")?;
        let (mut image, mut json) = (0, 0);
        let mut cells = Vec::with_capacity(count);
        for (index, (column, layout)) in self.columns.iter().zip(layouts).enumerate() {
            let is_changed = column.kind == ColumnType::Json && {
                json += 1;
                bit_from_low(changed, json - 1)
            };
            let cell = if !bit_from_low(present, index) {
                Cell::Absent
            } else {
                image += 1;
                if bit_from_low(nulls, image - 1) {
                    Cell::Null
                } else if is_changed {
                    Cell::Changes(sized(4, rows).map_err(|cause| self.error(index, cause.into()))?)
                } else {
                    let len = value_len(*layout, *rows).map_err(|cause| self.error(index, cause))?;
                    Cell::Value(rows.bytes(len, "value").map_err(|cause| self.error(index, cause.into()))?)
                }
            };
            cells.push(cell);
        }
        Ok(cells)
    }
}

/// Writes one row's cells.
struct Encoder<'p, 'o, 'c> {
    plan: &'p TablePlan,
    buffers: RowBuffers<'o>,
    conversions: &'c mut Conversions,
}

impl Encoder<'_, '_, '_> {
    fn begin(&mut self) {
        self.buffers.row.clear();
        self.buffers.key.clear();
        self.buffers.key.resize(self.plan.span_count(), 0..0);
    }

    /// Writes a column by its cell; `old` is the cell of the image before, for an image after.
    fn put(&mut self, index: usize, layout: Layout, cell: Option<&Cell<'_>>, old: Option<&Cell<'_>>) -> Result<(), RowError> {
        let plan = self.plan;
        let Some(column) = plan.columns.get(index) else { return Err(plan.lacking(index)) };
        let (row, key) = (&mut *self.buffers.row, &mut *self.buffers.key);
        let cell = match cell {
            Some(Cell::Absent) | None => old,
            cell => cell,
        };
        let start = row.len();
        let result = match (cell, old) {
            (Some(Cell::Null), _) => column.put_null(row),
            (Some(Cell::Value(bytes)), _) => {
                column.put_some(row, key, self.conversions, |out| value(column, layout, &mut Reader::new(bytes), out))
            }
            (Some(Cell::Changes(changes)), Some(Cell::Value(bytes))) => {
                column.put_some(row, key, self.conversions, |out| changed_json(layout, bytes, changes, out))
            }
            (Some(Cell::Changes(_)), Some(Cell::Null)) => Err(DecodeError::JsonDiff { what: "the value before it is NULL" }.into()),
            _ => return Err(plan.lacking(index)),
        };
        result.map_err(|cause| plan.error(index, cause))?;
        plan.note_span(index, start..row.len(), key);
        Ok(())
    }
}

/// Writes the document that the bytes before become by the changes.
fn changed_json(layout: Layout, bytes: &[u8], changes: &[u8], out: &mut Vec<u8>) -> Result<Written, ValueError> {
    let Layout::Sized { length_bytes, .. } = layout else { return Err(ValueError::Kind("changes of a JSON value")) };
    let document = sized(length_bytes, &mut Reader::new(bytes))?;
    // No changes are what a column has that the statement left as it was.
    if changes.is_empty() {
        return ColumnPlan::put_json(document, out);
    }
    wire::put_sized(out, |out| json::write_changed_text(document, changes, out))?;
    Ok(Written::Value)
}

/// Bytes of the value that comes next, its length included.
fn value_len(layout: Layout, mut rows: Reader<'_>) -> Result<usize, ValueError> {
    Ok(match layout {
        Layout::Int { bytes } | Layout::Enum { bytes } | Layout::Set { bytes } => usize::from(bytes),
        Layout::Float => 4,
        Layout::Double => 8,
        Layout::Decimal { precision, scale } => decimal::binary_len(precision, scale)?,
        Layout::Bit { bits } => usize::from(bits).div_ceil(8),
        Layout::Year => 1,
        Layout::Date => 3,
        Layout::Time { fsp } => 3 + temporal::fraction_len(fsp)?,
        Layout::DateTime { fsp } => 5 + temporal::fraction_len(fsp)?,
        Layout::Timestamp { fsp } => 4 + temporal::fraction_len(fsp)?,
        Layout::Sized { length_bytes, .. } => usize::from(length_bytes) + sized(length_bytes, &mut rows)?.len(),
    })
}
