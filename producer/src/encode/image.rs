//! A whole row image of the log to Avro.

use millrace_schemas::shape::ColumnType;
use millrace_schemas::wire;

use super::column::Written;
use super::{ColumnPlan, Conversions, KeySpans, RowError, TablePlan, ValueError};
use crate::binlog::reader::{EventError, Reader};
use crate::binlog::table_map::{Layout, bit_from_low};
use crate::decode::{decimal, temporal};

impl TablePlan {
    /// Appends the next row of `rows`, which must have all columns, as an Avro `Value`. `layouts` come from the table map that describes the rows, `present` from their event.
    ///
    /// # Errors
    /// [`RowError`]; `out` may then hold part of the row.
    pub fn image(
        &self,
        layouts: &[Layout],
        present: &[u8],
        rows: &mut Reader<'_>,
        out: &mut Vec<u8>,
        spans: &mut KeySpans,
        conversions: &mut Conversions,
    ) -> Result<(), RowError> {
        let count = self.columns.len();
        if layouts.len() != count {
            return Err(RowError::ColumnCount { expected: count, found: layouts.len() });
        }
        if !all_present(present, count) {
            return Err(self.lacking((0..count).find(|&index| !bit_from_low(present, index)).unwrap_or(count)));
        }
        spans.clear();
        spans.resize(self.span_count(), 0..0);
        let mut nulls = LowBits::new(rows.bytes(count.div_ceil(8), "null bitmap")?);
        let mut layouts = layouts.iter();
        for (index, column) in self.columns.iter().enumerate() {
            // There are as many layouts as columns.
            let Some(layout) = layouts.next() else { break };
            let start = out.len();
            let result = if nulls.next() {
                column.put_null(out)
            } else {
                column.put_some(out, spans, conversions, |out| value(column, *layout, rows, out))
            };
            if let Err(cause) = result {
                return Err(self.error(index, cause));
            }
            self.note_span(index, start..out.len(), spans);
        }
        Ok(())
    }
}

/// A bitmap's bits, one after another, from each byte's low one.
struct LowBits<'a> {
    bytes: std::slice::Iter<'a, u8>,
    /// The bits that are left of a byte, below a one that tells where they end.
    left: u32,
}

impl<'a> LowBits<'a> {
    fn new(bitmap: &'a [u8]) -> Self {
        Self { bytes: bitmap.iter(), left: 1 }
    }

    /// The next bit; behind the end there is none that is set.
    #[inline]
    fn next(&mut self) -> bool {
        if self.left == 1 {
            self.left = 0x100 | u32::from(self.bytes.next().copied().unwrap_or(0));
        }
        let bit = self.left & 1 == 1;
        self.left >>= 1;
        bit
    }
}

pub(super) fn all_present(present: &[u8], count: usize) -> bool {
    let (whole, rest) = (count / 8, count % 8);
    present.len() == count.div_ceil(8)
        && present[..whole].iter().all(|&byte| byte == 0xff)
        && (rest == 0 || present[whole] & ((1 << rest) - 1) == (1 << rest) - 1)
}

/// Reads one value by its layout and writes it as its column's type. Most columns are of integers or of text, for which there is no call.
#[inline(always)]
pub(super) fn value(column: &ColumnPlan, layout: Layout, rows: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<Written, ValueError> {
    match (&column.kind, layout) {
        (
            ColumnType::TinyInt { unsigned }
            | ColumnType::SmallInt { unsigned }
            | ColumnType::MediumInt { unsigned }
            | ColumnType::Int { unsigned }
            | ColumnType::BigInt { unsigned },
            Layout::Int { bytes },
        ) => integer(*unsigned, bytes, rows, out),
        (ColumnType::Text { .. }, Layout::Sized { length_bytes, .. }) => column.put_text(sized(length_bytes, rows)?, out),
        _ => other_value(column, layout, rows, out),
    }
}

/// Bytes behind a length of `length_bytes`.
#[inline]
pub(super) fn sized<'a>(length_bytes: u8, rows: &mut Reader<'a>) -> Result<&'a [u8], EventError> {
    let len = rows.uint(usize::from(length_bytes), "length")?;
    rows.bytes(usize::try_from(len).map_err(|_| EventError::Invalid("length"))?, "value")
}

#[inline(never)]
fn other_value(column: &ColumnPlan, layout: Layout, rows: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<Written, ValueError> {
    match (&column.kind, layout) {
        (ColumnType::Float, Layout::Float) => {
            out.extend_from_slice(&rows.array::<4>("FLOAT")?);
            Ok(Written::Value)
        }
        (ColumnType::Double, Layout::Double) => {
            out.extend_from_slice(&rows.array::<8>("DOUBLE")?);
            Ok(Written::Value)
        }
        (ColumnType::Decimal { .. }, Layout::Decimal { precision, scale }) => {
            let bytes = rows.bytes(decimal::binary_len(precision, scale)?, "DECIMAL")?;
            wire::put_sized(out, |out| decimal::from_binary(bytes, precision, scale, out))?;
            Ok(Written::Value)
        }
        (ColumnType::Bit { .. }, Layout::Bit { bits }) => {
            ColumnPlan::put_bits(bits, rows.bytes(usize::from(bits).div_ceil(8), "BIT")?, out)
        }
        (ColumnType::Year, Layout::Year) => ColumnPlan::put_integer(i64::from(temporal::year(rows.bytes(1, "YEAR")?)?), out),
        (ColumnType::Date, Layout::Date) => ColumnPlan::put_date(temporal::date(rows.bytes(3, "DATE")?)?, out),
        (ColumnType::Time { .. }, Layout::Time { fsp }) => {
            let bytes = rows.bytes(3 + temporal::fraction_len(fsp)?, "TIME")?;
            ColumnPlan::put_integer(temporal::time(bytes, fsp)?, out)
        }
        (ColumnType::DateTime { .. }, Layout::DateTime { fsp }) => {
            let bytes = rows.bytes(5 + temporal::fraction_len(fsp)?, "DATETIME")?;
            ColumnPlan::put_datetime(temporal::datetime(bytes, fsp)?, fsp, out)
        }
        (ColumnType::Timestamp { .. }, Layout::Timestamp { fsp }) => {
            let bytes = rows.bytes(4 + temporal::fraction_len(fsp)?, "TIMESTAMP")?;
            ColumnPlan::put_timestamp(temporal::timestamp(bytes, fsp)?, fsp, out)
        }
        (kind, Layout::Sized { length_bytes, .. }) => {
            let bytes = sized(length_bytes, rows)?;
            match kind {
                ColumnType::Binary { .. } => ColumnPlan::put_binary(bytes, column.fill_to(), out),
                ColumnType::Json => ColumnPlan::put_json(bytes, out),
                ColumnType::Geometry { kind } => ColumnPlan::put_geometry(*kind, bytes, out),
                ColumnType::Vector => ColumnPlan::put_vector(bytes, out),
                _ => Err(ValueError::Kind("bytes")),
            }
        }
        (ColumnType::Enum { labels }, Layout::Enum { bytes }) => ColumnPlan::put_enum(labels, rows.uint(usize::from(bytes), "ENUM")?, out),
        (ColumnType::Set { labels }, Layout::Set { bytes }) => ColumnPlan::put_set(labels, rows.uint(usize::from(bytes), "SET")?, out),
        _ => Err(ValueError::Kind("a value")),
    }
}

#[inline]
fn integer(unsigned: bool, bytes: u8, rows: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<Written, ValueError> {
    const PART: &str = "integer";
    let value = match (unsigned, bytes) {
        (false, 1) => i64::from(i8::from_le_bytes(rows.array(PART)?)),
        (false, 2) => i64::from(i16::from_le_bytes(rows.array(PART)?)),
        (false, 4) => i64::from(i32::from_le_bytes(rows.array(PART)?)),
        (false, 8) => i64::from_le_bytes(rows.array(PART)?),
        (true, 8) => return ColumnPlan::put_unsigned_big(rows.u64(PART)?, out),
        (unsigned, _) => {
            let raw = rows.uint(usize::from(bytes), PART)?.cast_signed();
            let unused = 64 - 8 * u32::from(bytes.clamp(1, 7));
            if unsigned { raw } else { raw << unused >> unused }
        }
    };
    wire::put_long(out, value);
    Ok(Written::Value)
}
