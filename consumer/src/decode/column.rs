//! Columns of a Native block, filled value by value straight from Avro bytes.
//!
//! A value's bytes are read, checked and appended in one step: there is no value in between, and no allocation but the column's own growth.
//! A value that fails leaves the column as it was; [`Column::truncate`] takes a row's earlier values back.

use std::ops::Range;

use bytes::Bytes;
use millrace_schemas::wire::{self, WireError};

use crate::decode::nested::NestedProblem;
use crate::decode::number::{POWERS_OF_TEN, little_endian, short, within_digits};
use crate::decode::types::{ColumnType, Decode, Scalar, decimal_width};
use crate::decode::unfit;
use crate::decode::zoned::{NoTicks, Zoned};

/// Why a value can't go into its column. Never shows the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The bytes don't fit the schema.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A union branch that the schema doesn't have.
    #[error("a union branch {0} does not exist in the schema")]
    Branch(i64),
    /// A boolean that is neither 0 nor 1.
    #[error("a boolean is neither 0 nor 1")]
    NotABoolean,
    /// A value outside what the column's type holds.
    #[error("the value is outside the range of {0}")]
    Range(ColumnType),
    /// A value with more fractional digits than the column's type has.
    #[error("the value has more fractional digits than {0}")]
    Digits(ColumnType),
    /// Text that should be a time and isn't.
    #[error("the text is not an ISO 8601 time")]
    NotATime,
    /// A number that isn't the same in the column's type.
    #[error("the value is not exact in {0}")]
    Inexact(ColumnType),
    /// A value that isn't one of the column's type.
    #[error("the value is none of {0}")]
    NotOf(ColumnType),
    /// Text or bytes of another length than the column has.
    #[error("the value does not have {0} bytes")]
    Length(usize),
    /// A string that isn't UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// NULL where the table has a column of its key.
    #[error("NULL in a column of the key")]
    NullInKey,
    /// NULL where the column has none.
    #[error("NULL in a column that has none")]
    Null,
    /// A geometry without its bytes.
    #[error("a geometry without WKB")]
    NoGeometry,
    /// A value within a nested one.
    #[error("{problem}")]
    Nested {
        /// Its place among the paths of [`Nested`](crate::decode::nested::Nested).
        at: u32,
        /// What is wrong.
        problem: NestedProblem,
    },
}

impl ValueError {
    /// Whether a value is at fault, for which the settings have a policy; else the record's bytes aren't what their schema says.
    #[must_use]
    pub fn is_of_a_value(self) -> bool {
        match self {
            Self::Wire(_) | Self::Branch(_) | Self::NotABoolean | Self::Nested { .. } => false,
            Self::Range(_)
            | Self::Digits(_)
            | Self::Inexact(_)
            | Self::NotOf(_)
            | Self::Length(_)
            | Self::NotUtf8
            | Self::NotATime
            | Self::NullInKey
            | Self::Null
            | Self::NoGeometry => true,
        }
    }
}

/// A column being filled.
#[derive(Debug)]
pub struct Column {
    of: ColumnType,
    rows: usize,
    nulls: Vec<u8>,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Fixed {
        width: usize,
        bytes: Vec<u8>,
    },
    /// Each value behind its length; `last` is where the last one starts.
    Text {
        bytes: Vec<u8>,
        last: usize,
    },
    /// Where each array ends, and all elements.
    Floats {
        ends: Vec<u8>,
        values: Vec<u8>,
    },
}

impl Column {
    /// An empty column of a type.
    #[must_use]
    pub fn new(of: ColumnType) -> Self {
        let data = match (of.scalar.width(), of.scalar) {
            (Some(width), _) => Data::Fixed { width, bytes: Vec::new() },
            (None, Scalar::Floats) => Data::Floats { ends: Vec::new(), values: Vec::new() },
            (None, _) => Data::Text { bytes: Vec::new(), last: 0 },
        };
        Self { of: of.in_block(), rows: 0, nulls: Vec::new(), data }
    }

    /// Its type in the block.
    #[must_use]
    pub fn of(&self) -> ColumnType {
        self.of
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The memory it holds, in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let data = match &self.data {
            Data::Fixed { bytes, .. } | Data::Text { bytes, .. } => bytes.capacity(),
            Data::Floats { ends, values } => ends.capacity() + values.capacity(),
        };
        data + self.nulls.capacity()
    }

    /// Appends an integer as its low bytes; the caller knows that it fits.
    #[inline]
    pub fn push_integer(&mut self, value: i64) {
        if let Data::Fixed { width, bytes } = &mut self.data {
            let value = value.to_le_bytes();
            match width {
                1 => bytes.push(value[0]),
                2 => bytes.extend_from_slice(&value[..2]),
                4 => bytes.extend_from_slice(&value[..4]),
                _ => bytes.extend_from_slice(&value),
            }
        }
        self.count_value();
    }

    /// Appends text to a String column.
    #[inline]
    pub fn push_text(&mut self, text: &[u8]) {
        if let Data::Text { bytes, last } = &mut self.data {
            *last = bytes.len();
            put_var_uint(bytes, text.len());
            bytes.extend_from_slice(text);
        }
        self.count_value();
    }

    /// Appends text that is written straight into a String column.
    ///
    /// # Errors
    /// What `write` returns; the column is then as it was before.
    pub fn push_written<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        if let Data::Text { bytes, last } = &mut self.data {
            let start = bytes.len();
            // Most texts are shorter than 128 bytes, whose length takes one byte: room for that one, the rest moves if it was a guess too small.
            bytes.push(0);
            if let Err(error) = write(bytes) {
                bytes.truncate(start);
                return Err(error);
            }
            let len = bytes.len() - start - 1;
            if len < 0x80 {
                bytes[start] = (len & 0x7f) as u8;
            } else {
                let mut prefix = Vec::with_capacity(10);
                put_var_uint(&mut prefix, len);
                bytes.splice(start..=start, prefix);
            }
            *last = start;
        }
        self.count_value();
        Ok(())
    }

    /// Appends NULL; in a column that can't hold it the type's default, which stands for it (an empty array).
    #[inline]
    pub fn push_null(&mut self) {
        match &mut self.data {
            Data::Fixed { width, bytes } => bytes.resize(bytes.len() + *width, 0),
            Data::Text { bytes, last } => {
                *last = bytes.len();
                bytes.push(0);
            }
            Data::Floats { ends, values } => ends.extend_from_slice(&((values.len() / 4) as u64).to_le_bytes()),
        }
        self.rows += 1;
        if self.of.nullable {
            self.nulls.push(1);
        }
    }

    #[inline]
    fn count_value(&mut self) {
        self.rows += 1;
        if self.of.nullable {
            self.nulls.push(0);
        }
    }

    /// Takes rows back until `rows` are left. Text can give back one row, which is what a failed row leaves behind.
    pub fn truncate(&mut self, rows: usize) {
        if self.rows <= rows {
            return;
        }
        match &mut self.data {
            Data::Fixed { width, bytes } => bytes.truncate(rows * *width),
            Data::Text { bytes, last } => {
                debug_assert_eq!(self.rows, rows + 1, "only the last text can be taken back");
                bytes.truncate(*last);
            }
            Data::Floats { ends, values } => {
                ends.truncate(rows * 8);
                let end = ends.last_chunk().map_or(0, |end| u64::from_le_bytes(*end));
                values.truncate(usize::try_from(end).unwrap_or(usize::MAX).saturating_mul(4));
            }
        }
        self.nulls.truncate(rows);
        self.rows = rows;
    }

    /// Takes one value from the front of `input` and appends it.
    ///
    /// # Errors
    /// [`ValueError`]; the column is then as it was before.
    #[inline]
    pub fn append(&mut self, decode: &Decode, input: &mut &[u8]) -> Result<(), ValueError> {
        match decode {
            Decode::Integer { min, max, .. } => {
                let value = wire::take_long(input)?;
                if value < *min || value > *max {
                    return Err(ValueError::Range(self.of));
                }
                self.push_integer(value);
            }
            Decode::Text => {
                let text = wire::take_bytes(input)?;
                self.push_text(text);
            }
            Decode::Utf8 => {
                let text = wire::take_bytes(input)?;
                if !is_utf8(text) {
                    return Err(ValueError::NotUtf8);
                }
                self.push_text(text);
            }
            Decode::Boolean => match wire::take(input, 1)? {
                [0] => self.push_integer(0),
                [1] => self.push_integer(1),
                _ => return Err(ValueError::NotABoolean),
            },
            Decode::Float32 => self.push_raw(wire::take(input, 4)?),
            Decode::Float64 => self.push_raw(wire::take(input, 8)?),
            Decode::Ticks { multiply, divide, min, max, .. } => {
                let value = wire::take_long(input)?;
                let ticks = value.checked_mul(*multiply).ok_or(ValueError::Range(self.of))?;
                if ticks % divide != 0 {
                    return Err(ValueError::Digits(self.of));
                }
                let ticks = ticks / divide;
                if ticks < *min || ticks > *max {
                    return Err(ValueError::Range(self.of));
                }
                self.push_integer(ticks);
            }
            Decode::Decimal { precision } => self.append_decimal(*precision, wire::take_bytes(input)?)?,
            // The plan has its steps, and doesn't come here.
            Decode::Nested => return Err(WireError::Truncated.into()),
            Decode::Unsigned64 => {
                let value = unsigned64(wire::take_bytes(input)?).ok_or(ValueError::Range(self.of))?;
                self.push_integer(value.cast_signed());
            }
            Decode::Bits => {
                let bytes = wire::take_bytes(input)?;
                let mut value = [0; 8];
                let (low, high) = bytes.split_at(bytes.len().min(8));
                if high.iter().any(|byte| *byte != 0) {
                    return Err(ValueError::Range(self.of));
                }
                value[..low.len()].copy_from_slice(low);
                self.push_raw(&value);
            }
            Decode::Zoned { digits, min, max } => {
                let zoned = Zoned::parse(wire::take_bytes(input)?).ok_or(ValueError::NotATime)?;
                let ticks = zoned.ticks(*digits).map_err(|error| match error {
                    NoTicks::Digits => ValueError::Digits(self.of),
                    NoTicks::Range => ValueError::Range(self.of),
                })?;
                if ticks < *min || ticks > *max {
                    return Err(ValueError::Range(self.of));
                }
                self.push_integer(ticks);
            }
            Decode::Floats => self.append_floats(input)?,
            Decode::Geometry { point } => {
                if *point {
                    let coordinates = wire::take(input, 16)?;
                    match wire::take_long(input)? {
                        0 => {
                            // A point in WKB: little-endian, type 1, x, y (OGC 06-103r4, 8.2.8).
                            let mut wkb = [0; 21];
                            (wkb[0], wkb[1]) = (1, 1);
                            wkb[5..].copy_from_slice(coordinates);
                            self.push_text(&wkb);
                            return Ok(());
                        }
                        1 => {}
                        branch => return Err(ValueError::Branch(branch)),
                    }
                }
                let wkb = wire::take_bytes(input)?;
                if wkb.is_empty() {
                    return Err(ValueError::NoGeometry);
                }
                self.push_text(wkb);
            }
            Decode::Number { .. }
            | Decode::Floating { .. }
            | Decode::Widened
            | Decode::Narrowed
            | Decode::Written(_)
            | Decode::Exactly { .. }
            | Decode::Uuid
            | Decode::Address { .. } => self.append_converted(decode, input)?,
        }
        Ok(())
    }

    /// Appends the nearest value that the column holds, for one that [`Column::append`] refused; nothing where there is none that is nearest.
    #[cold]
    pub fn append_nearest(&mut self, decode: &Decode, mut value: &[u8]) -> bool {
        unfit::append_nearest(self, decode, &mut value).is_some()
    }

    /// Appends bytes that are already as the block has them.
    #[inline]
    pub(crate) fn push_raw(&mut self, raw: &[u8]) {
        if let Data::Fixed { bytes, .. } = &mut self.data {
            bytes.extend_from_slice(raw);
        }
        self.count_value();
    }

    #[inline]
    fn append_decimal(&mut self, precision: u8, big_endian: &[u8]) -> Result<(), ValueError> {
        // The usual one: up to 64 bits into a column of as many.
        if let (Some(value), Some(power)) = (short(big_endian), POWERS_OF_TEN.get(usize::from(precision))) {
            if value.unsigned_abs() >= *power {
                return Err(ValueError::Range(self.of));
            }
            self.push_integer(value);
            return Ok(());
        }
        let value = little_endian(big_endian).filter(|value| within_digits(value, precision)).ok_or(ValueError::Range(self.of))?;
        let width = decimal_width(precision);
        self.push_raw(&value[..width]);
        Ok(())
    }

    fn append_floats(&mut self, input: &mut &[u8]) -> Result<(), ValueError> {
        let Data::Floats { ends, values } = &mut self.data else { return Ok(()) };
        let start = values.len();
        let taken = take_floats(input, values);
        if taken.is_err() {
            values.truncate(start);
            return taken;
        }
        ends.extend_from_slice(&((values.len() / 4) as u64).to_le_bytes());
        self.rows += 1;
        Ok(())
    }

    /// The column's bytes in the block, in the order they stand there.
    #[must_use]
    pub fn into_chunks(self) -> [Bytes; 3] {
        let nulls = Bytes::from(self.nulls);
        match self.data {
            Data::Fixed { bytes, .. } | Data::Text { bytes, .. } => [nulls, Bytes::from(bytes), Bytes::new()],
            Data::Floats { ends, values } => [nulls, Bytes::from(ends), Bytes::from(values)],
        }
    }
}

/// The chunks of some of a column's rows.
#[must_use]
pub fn slice_chunks(of: ColumnType, chunks: &[Bytes; 3], rows: &Range<usize>) -> [Bytes; 3] {
    let [nulls, values, elements] = chunks;
    let nulls = if nulls.is_empty() { Bytes::new() } else { nulls.slice(rows.clone()) };
    match (of.scalar.width(), of.scalar) {
        (Some(width), _) => [nulls, values.slice(rows.start * width..rows.end * width), Bytes::new()],
        (None, Scalar::Floats) => {
            let end = |row: usize| row.checked_sub(1).map_or(0, |last| end_at(values, last));
            let (first, last) = (end(rows.start), end(rows.end));
            let ends = rows.clone().flat_map(|row| ((end_at(values, row) - first) as u64).to_le_bytes());
            [nulls, ends.collect(), elements.slice(first * 4..last * 4)]
        }
        (None, _) => {
            let start = (0..rows.start).fold(0, |at, _| behind_text(values, at));
            let end = rows.clone().fold(start, |at, _| behind_text(values, at));
            [nulls, values.slice(start..end), Bytes::new()]
        }
    }
}

/// Most texts are ASCII, which is found out eight bytes at a time wherever they stand.
#[inline]
pub(super) fn is_utf8(text: &[u8]) -> bool {
    text.is_ascii() || std::str::from_utf8(text).is_ok()
}

fn end_at(ends: &[u8], row: usize) -> usize {
    let end = ends.get(row * 8..).and_then(<[u8]>::first_chunk).map_or(0, |end| u64::from_le_bytes(*end));
    usize::try_from(end).unwrap_or(usize::MAX)
}

/// Where the text ends that begins at a place with its length.
fn behind_text(bytes: &[u8], mut at: usize) -> usize {
    let (mut len, mut shift) = (0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        len |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    at + len
}

/// Appends a length as Native has it: base 128, least significant group first, without zig-zag.
pub fn put_var_uint(out: &mut Vec<u8>, value: usize) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

fn take_floats(input: &mut &[u8], values: &mut Vec<u8>) -> Result<(), ValueError> {
    loop {
        let mut count = wire::take_long(input)?;
        if count == 0 {
            return Ok(());
        }
        if count < 0 {
            wire::take_long(input)?; // The block's length in bytes, which four times the count says as well.
            count = count.checked_neg().ok_or(WireError::Length(count))?;
        }
        let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(4)).ok_or(WireError::Length(count))?;
        values.extend_from_slice(wire::take(input, bytes)?);
    }
}

fn unsigned64(big_endian: &[u8]) -> Option<u64> {
    if big_endian.first().is_some_and(|byte| byte & 0x80 != 0) {
        return None;
    }
    let (excess, low) = big_endian.split_at(big_endian.len().saturating_sub(8));
    if excess.iter().any(|byte| *byte != 0) {
        return None;
    }
    Some(low.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::number::Wide;
    use proptest::prelude::*;

    fn fixed(column: Column) -> Vec<u8> {
        let [_, data, _] = column.into_chunks();
        data.to_vec()
    }

    fn append(of: Scalar, decode: Decode, avro: &[u8]) -> Result<Vec<u8>, ValueError> {
        let mut column = Column::new(ColumnType::plain(of));
        let mut input = avro;
        column.append(&decode, &mut input).map(|()| fixed(column))
    }

    fn sized(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_bytes(&mut out, bytes);
        out
    }

    #[test]
    fn a_decimal_is_held_to_its_digits() {
        let decimal = |precision, bytes: &[u8]| append(Scalar::Decimal(precision, 0), Decode::Decimal { precision }, &sized(bytes));
        assert_eq!(decimal(3, &999_i16.to_be_bytes()), Ok(999_i32.to_le_bytes().to_vec()));
        assert_eq!(decimal(3, &(-999_i16).to_be_bytes()), Ok((-999_i32).to_le_bytes().to_vec()));
        assert!(matches!(decimal(3, &1000_i16.to_be_bytes()), Err(ValueError::Range(_))));
        assert!(matches!(decimal(3, &(-1000_i16).to_be_bytes()), Err(ValueError::Range(_))));
        assert_eq!(decimal(38, &[0xff; 40]), Ok(vec![0xff; 16]), "a longer -1 is -1");
        assert!(decimal(38, &10_i128.pow(38).to_be_bytes()).is_err());
        assert_eq!(decimal(38, &(10_i128.pow(38) - 1).to_be_bytes()), Ok((10_i128.pow(38) - 1).to_le_bytes().to_vec()));
        let mut largest = Wide::of_digits(76, false).to_le_bytes();
        largest.reverse();
        assert!(decimal(76, &largest).is_ok());
        let mut next = Wide::from_i128(1).shifted(76).expect("256 bits").to_le_bytes();
        next.reverse();
        assert!(decimal(76, &next).is_err(), "10^76 has 77 digits");
        assert_eq!(decimal(9, &[]), Ok(vec![0; 4]), "no bytes are zero");
    }

    #[test]
    fn an_unsigned_bigint_is_read_to_its_maximum() {
        let read = |bytes: &[u8]| append(Scalar::UInt(64), Decode::Unsigned64, &sized(bytes));
        assert_eq!(read(&[0, 255, 255, 255, 255, 255, 255, 255, 255]), Ok(vec![255; 8]));
        assert!(read(&[1, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(read(&[0xff]).is_err(), "-1");
    }

    #[test]
    fn a_failed_row_is_taken_back() {
        let mut text = Column::new(ColumnType { scalar: Scalar::String, nullable: true, low_cardinality: true });
        text.push_text(b"one");
        text.push_null();
        text.truncate(1);
        assert_eq!(text.rows(), 1);
        let [nulls, data, _] = text.into_chunks();
        assert_eq!((nulls.as_ref(), data.as_ref()), (&[0_u8][..], &b"\x03one"[..]));
        let mut floats = Column::new(ColumnType::plain(Scalar::Floats));
        for value in [[1_f32, 2.0], [3.0, 4.0]] {
            let mut avro = vec![4];
            value.iter().for_each(|item| wire::put_float(&mut avro, *item));
            avro.push(0);
            floats.append(&Decode::Floats, &mut avro.as_slice()).expect("floats");
        }
        floats.truncate(1);
        let [_, ends, values] = floats.into_chunks();
        assert_eq!((ends.as_ref(), values.len()), (&2_u64.to_le_bytes()[..], 8));
    }

    #[test]
    fn a_point_without_wkb_gets_it_from_its_coordinates() {
        let mut avro = Vec::new();
        wire::put_double(&mut avro, 1.5);
        wire::put_double(&mut avro, -2.0);
        avro.push(0);
        let bytes = append(Scalar::String, Decode::Geometry { point: true }, &avro).expect("a point");
        assert_eq!(bytes.len(), 22);
        assert_eq!(bytes[1..6], [1, 1, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn a_decimal_of_64_bits_is_as_a_longer_one(value: i64, shift in 0..64, spare in 0_usize..12, precision in 1_u8..=20) {
            let value: i64 = value >> shift;
            let short = value.to_be_bytes();
            let mut long = vec![if value < 0 { 0xff } else { 0 }; spare + 1];
            long.extend_from_slice(&short);
            let append = |bytes: &[u8]| append(Scalar::Decimal(precision, 0), Decode::Decimal { precision }, &sized(bytes));
            let fill = if value < 0 { 0xff } else { 0 };
            let start = short.windows(2).take_while(|pair| pair[0] == fill && (pair[1] & 0x80 != 0) == (value < 0)).count();
            prop_assert_eq!(append(&short[start..]), append(&long));
            prop_assert_eq!(append(&short), append(&long));
        }

        #[test]
        fn a_decimal_is_its_number(value: i128, spare in 0_usize..20) {
            let mut bytes = vec![if value < 0 { 0xff } else { 0 }; spare];
            bytes.extend_from_slice(&value.to_be_bytes());
            let read = append(Scalar::Decimal(76, 0), Decode::Decimal { precision: 76 }, &sized(&bytes)).expect("39 digits");
            let mut expected = [if value < 0 { 0xff } else { 0 }; 32];
            expected[..16].copy_from_slice(&value.to_le_bytes());
            prop_assert_eq!(read, expected.to_vec());
        }
    }
}
