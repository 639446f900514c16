//! A row of a SELECT in MySQL's binary protocol, and its values one after the other, without a copy of any.
//!
//! Layout: MySQL's source documentation, "Binary Protocol Resultset Row". The bytes come from the wire: every length is checked.

use std::sync::Arc;

use bytes::Bytes;
use mysql_async::Value;

use crate::binlog::reader::{EventError, Reader};

/// How a column's values lie in a row, by the type and the flags in the result's description of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// No value at all: always NULL.
    Null,
    /// An integer of so many bytes, little-endian.
    Int {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// Whether it is UNSIGNED.
        unsigned: bool,
    },
    /// FLOAT
    Float,
    /// DOUBLE
    Double,
    /// DATE, DATETIME or TIMESTAMP.
    Date,
    /// TIME
    Time,
    /// A length and so many bytes: everything else.
    Bytes,
}

impl ValueKind {
    /// Of a column's type (`include/field_types.h`) and its flags, of which UNSIGNED is one.
    #[must_use]
    pub fn of(type_code: u8, flags: u16) -> Self {
        let int = |bytes| Self::Int { bytes, unsigned: flags & 0x20 != 0 };
        match type_code {
            1 => int(1),
            2 | 13 => int(2),
            3 | 9 => int(4),
            4 => Self::Float,
            5 => Self::Double,
            6 => Self::Null,
            7 | 10 | 12 | 14 | 17 | 18 => Self::Date,
            8 => int(8),
            11 | 19 => Self::Time,
            _ => Self::Bytes,
        }
    }
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "the fields of a date and of a time")]
pub enum Cell<'a> {
    /// NULL
    Null,
    /// An integer.
    Int(i64),
    /// An integer above [`i64::MAX`].
    UInt(u64),
    /// FLOAT
    Float(f32),
    /// DOUBLE
    Double(f64),
    /// Text, or bytes.
    Bytes(&'a [u8]),
    /// DATE, DATETIME or TIMESTAMP.
    Date { year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8, us: u32 },
    /// TIME
    Time { negative: bool, days: u32, hours: u8, minutes: u8, seconds: u8, us: u32 },
}

impl From<Cell<'_>> for Value {
    fn from(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::NULL,
            Cell::Int(value) => Self::Int(value),
            Cell::UInt(value) => Self::UInt(value),
            Cell::Float(value) => Self::Float(value),
            Cell::Double(value) => Self::Double(value),
            Cell::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Cell::Date { year, month, day, hour, minute, second, us } => Self::Date(year, month, day, hour, minute, second, us),
            Cell::Time { negative, days, hours, minutes, seconds, us } => Self::Time(negative, days, hours, minutes, seconds, us),
        }
    }
}

/// A row as it came.
#[derive(Debug, Clone)]
pub struct ResultRow {
    packet: Bytes,
    kinds: Arc<[ValueKind]>,
}

impl ResultRow {
    /// Of a row's packet and the kinds of its values.
    #[must_use]
    pub fn new(packet: Bytes, kinds: Arc<[ValueKind]>) -> Self {
        Self { packet, kinds }
    }

    /// How many values it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether it has no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Its values, in order.
    ///
    /// # Errors
    /// A packet too short for the bitmap of what is NULL.
    pub fn cells(&self) -> Result<Cells<'_>, EventError> {
        let mut reader = Reader::new(&self.packet);
        reader.u8("row's header")?;
        // Two bits stand before those of the columns.
        let nulls = reader.bytes((self.kinds.len() + 2).div_ceil(8), "null bitmap")?;
        Ok(Cells { reader, nulls, kinds: self.kinds.iter(), bit: 2 })
    }

    /// All its values, copied.
    ///
    /// # Errors
    /// Bytes that aren't such a row.
    pub fn values(&self) -> Result<Vec<Value>, EventError> {
        self.cells()?.map(|cell| cell.map(Value::from)).collect()
    }
}

/// The values of a row. After an error there is none that means anything.
#[derive(Debug)]
pub struct Cells<'a> {
    reader: Reader<'a>,
    nulls: &'a [u8],
    kinds: std::slice::Iter<'a, ValueKind>,
    bit: usize,
}

impl<'a> Iterator for Cells<'a> {
    type Item = Result<Cell<'a>, EventError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.kinds.next()?;
        let bit = self.bit;
        self.bit += 1;
        if self.nulls.get(bit / 8).is_none_or(|byte| byte >> (bit % 8) & 1 == 1) {
            return Some(Ok(Cell::Null));
        }
        Some(value(kind, &mut self.reader))
    }
}

#[inline]
fn value<'a>(kind: ValueKind, reader: &mut Reader<'a>) -> Result<Cell<'a>, EventError> {
    match kind {
        ValueKind::Null => Ok(Cell::Null),
        ValueKind::Int { bytes, unsigned } => {
            let raw = reader.uint(usize::from(bytes), "integer")?;
            if unsigned {
                return Ok(i64::try_from(raw).map_or(Cell::UInt(raw), Cell::Int));
            }
            let unused = 64 - 8 * u32::from(bytes);
            Ok(Cell::Int((raw << unused).cast_signed() >> unused))
        }
        ValueKind::Float => Ok(Cell::Float(f32::from_le_bytes(reader.array("FLOAT")?))),
        ValueKind::Double => Ok(Cell::Double(f64::from_le_bytes(reader.array("DOUBLE")?))),
        ValueKind::Date => date(reader),
        ValueKind::Time => time(reader),
        ValueKind::Bytes => {
            let len = reader.packed_len("length")?;
            Ok(Cell::Bytes(reader.bytes(len, "value")?))
        }
    }
}

/// Fields at the end that are all zero are left out.
fn date<'a>(reader: &mut Reader<'a>) -> Result<Cell<'a>, EventError> {
    const PART: &str = "date";
    let len = reader.u8(PART)?;
    let (mut year, mut month, mut day) = (0, 0, 0);
    let (mut hour, mut minute, mut second, mut us) = (0, 0, 0, 0);
    match len {
        0 | 4 | 7 | 11 => {}
        _ => return Err(EventError::Invalid(PART)),
    }
    if len >= 4 {
        year = reader.u16(PART)?;
        [month, day] = reader.array(PART)?;
    }
    if len >= 7 {
        [hour, minute, second] = reader.array(PART)?;
    }
    if len == 11 {
        us = reader.u32(PART)?;
    }
    Ok(Cell::Date { year, month, day, hour, minute, second, us })
}

fn time<'a>(reader: &mut Reader<'a>) -> Result<Cell<'a>, EventError> {
    const PART: &str = "time";
    let len = reader.u8(PART)?;
    if len == 0 {
        return Ok(Cell::Time { negative: false, days: 0, hours: 0, minutes: 0, seconds: 0, us: 0 });
    }
    if len != 8 && len != 12 {
        return Err(EventError::Invalid(PART));
    }
    let negative = reader.u8(PART)? == 1;
    let days = reader.u32(PART)?;
    let [hours, minutes, seconds] = reader.array(PART)?;
    let us = if len == 12 { reader.u32(PART)? } else { 0 };
    Ok(Cell::Time { negative, days, hours, minutes, seconds, us })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [ValueKind; 9] = [
        ValueKind::Int { bytes: 1, unsigned: false },
        ValueKind::Int { bytes: 8, unsigned: true },
        ValueKind::Int { bytes: 8, unsigned: true },
        ValueKind::Float,
        ValueKind::Bytes,
        ValueKind::Date,
        ValueKind::Time,
        ValueKind::Bytes,
        ValueKind::Date,
    ];

    fn packet() -> Vec<u8> {
        // The eighth value is NULL, whose bit is the tenth.
        let mut packet = vec![0, 0, 0b10];
        packet.push(0xff);
        packet.extend(u64::MAX.to_le_bytes());
        packet.extend(5_u64.to_le_bytes());
        packet.extend(0.5_f32.to_le_bytes());
        packet.extend(b"\x02ab");
        packet.extend([11, 0xe8, 0x07, 2, 29, 1, 2, 3, 4, 0, 0, 0]);
        packet.extend([8, 1, 34, 0, 0, 0, 22, 59, 58]);
        packet.push(0);
        packet
    }

    #[test]
    fn values_come_in_the_forms_of_their_kinds() {
        let row = ResultRow::new(packet().into(), KINDS.to_vec().into());
        let expected = [
            Value::Int(-1),
            Value::UInt(u64::MAX),
            Value::Int(5),
            Value::Float(0.5),
            Value::Bytes(b"ab".to_vec()),
            Value::Date(2024, 2, 29, 1, 2, 3, 4),
            Value::Time(true, 34, 22, 59, 58, 0),
            Value::NULL,
            Value::Date(0, 0, 0, 0, 0, 0, 0),
        ];
        assert_eq!(row.values().unwrap(), expected);
    }

    #[test]
    fn a_row_that_ends_too_early_is_an_error() {
        let whole = packet();
        for len in 0..whole.len() {
            let row = ResultRow::new(Bytes::copy_from_slice(&whole[..len]), KINDS.to_vec().into());
            assert!(row.values().is_err(), "{len}");
        }
    }

    #[test]
    fn a_date_of_another_length_is_an_error() {
        for kind in [ValueKind::Date, ValueKind::Time] {
            let row = ResultRow::new(vec![0, 0, 5, 0, 0, 0, 0, 0].into(), vec![kind].into());
            assert!(row.values().is_err(), "{kind:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(codes in proptest::collection::vec(any::<(u8, u16)>(), 0..20), bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let kinds: Vec<ValueKind> = codes.into_iter().map(|(code, flags)| ValueKind::of(code, flags)).collect();
            let _ = ResultRow::new(bytes.into(), kinds.into()).values();
        }
    }
}
